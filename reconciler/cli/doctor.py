"""`doctor`: whether this machine has all that servers need."""

from collections import Counter
from collections.abc import Mapping, Sequence

import click

from reconciler.cli.doctoring import Check, Examine, examined
from reconciler.cli.folding import fold_behind
from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.output import list_of, plural, print_json, print_yaml, say, show
from reconciler.cli.terminal import paint, width

_EXAMPLES = (
    ("reconciler doctor", "what is wrong with this machine, and what to do about it"),
    ("reconciler doctor -o json | jq -r '.items[] | select(.status != \"ok\") | .message'", "for scripts"),
    ("reconciler doctor --network", "whether the Git source's remote can be reached, too"),
)
_EXIT_CODES = {
    0: "nothing keeps servers from running; there may be warnings",
    1: "something does: a check failed",
    2: "the command line has errors",
}
_COLOURS = {"ok": "Ready", "warn": "BackOff", "fail": "Failed"}
"""The phases whose colours are used."""


@click.command(
    cls=Verb, short_help="Check this machine for all that servers need.", examples=_EXAMPLES, exit_codes=_EXIT_CODES
)
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="Print it as data.")
@click.option("--network", is_flag=True, help="Ask the Git source's remote too.")
@pass_invocation
def doctor(invocation: Invocation, output: str | None, network: bool) -> int:
    """Check the llama-server, GPUs, memory, folders, the database, ports, the controller, those it tells, permissions.

    Nothing is changed, and nothing is waited for longer than 3 s. It works without an installation, and with a broken
    one.
    """
    from reconciler.cli.doctoring_program import end_all  # noqa: PLC0415 - as below
    from reconciler.cli.doctoring_scene import scene_of  # noqa: PLC0415 - slow to import, and the help needs none of it

    try:
        checks = examined(_checks(), scene_of(invocation, network=network))
    finally:
        end_all()
    if output:
        (print_json if output == "json" else print_yaml)(list_of("CheckList", [one.data for one in checks]))
    else:
        show("\n".join(_lines(checks, width())))
        say(_summary(checks))
    return int(any(one.status == "fail" for one in checks))


def _checks() -> Mapping[str, Examine]:
    """By the name that each is shown with."""
    from reconciler.cli import doctoring_binary as binary  # noqa: PLC0415 - as above
    from reconciler.cli import doctoring_clock as clock  # noqa: PLC0415
    from reconciler.cli import doctoring_control as control  # noqa: PLC0415
    from reconciler.cli import doctoring_folders as folders  # noqa: PLC0415
    from reconciler.cli import doctoring_machine as machine  # noqa: PLC0415
    from reconciler.cli import doctoring_ports as ports  # noqa: PLC0415
    from reconciler.cli import doctoring_state as state  # noqa: PLC0415
    from reconciler.cli import doctoring_surfaces as surfaces  # noqa: PLC0415

    return {
        "python": machine.python,
        "settings": control.settings,
        "llama-server": binary.llama_server,
        "gpu": binary.gpu,
        "memory": machine.memory,
        "models": folders.models,
        "manifests": folders.manifests,
        "source": control.source,
        "state": state.folder,
        "database": state.database,
        "ports": ports.ports,
        "controller": control.controller,
        "interface": surfaces.interface,
        "notify": surfaces.notify,
        "clock": clock.clock,
        "permissions": control.permissions,
        "limits": machine.limits,
    }


def _lines(checks: Sequence[Check], columns: int | None) -> list[str]:
    """Each finding, and below it what to do."""
    room = max(len(one.name) for one in checks)
    lines = []
    for one in checks:
        head = f"{one.status:4}  {one.name:{room}}  "
        painted = head.replace(one.status, paint(one.status, _COLOURS[one.status]), 1)
        lines += fold_behind(painted, one.message, columns)
        if one.remedy:
            # Not below the message: commands need room to stay whole.
            lines += fold_behind("      → ", one.remedy, columns)
    return lines


def _summary(checks: Sequence[Check]) -> str:
    counts = Counter(one.status for one in checks)
    told = [f"{counts['ok']} ok", plural(counts["warn"], "warning"), plural(counts["fail"], "failure")]
    return ", ".join(text for text in told if not text.startswith("0 "))
