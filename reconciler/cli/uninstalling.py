"""What `uninstall` calls and removes."""

import shlex
from pathlib import Path

import click

from reconciler.cli.failure import Failure
from reconciler.cli.invocation import Invocation
from reconciler.cli.output import say
from reconciler.cli.services import Place, Step, call, carry_out, place_of, program, require_systemd
from reconciler.cli.units import NAME, written


def uninstall_service(
    invocation: Invocation, *, scope: str | None, root: str | None, dry_run: bool, stop_servers: bool
) -> int:
    """Take it away; the exit code. Raises Failure."""
    place = place_of(scope, root)
    unit = place.within(place.unit)
    if not unit.exists():
        click.echo(f"nothing to remove: there is no {unit}")
        return 0
    config, user = _of(unit, invocation, place)
    if not dry_run:
        require_systemd(place, config)
    ask = [*program(), "--config", str(config)]
    steps = [_stop(ask, user)] if stop_servers and not place.root else []
    disable = ["disable", NAME] if place.root else ["disable", "--now", NAME]
    steps += [call(place.systemctl(*disable)), Step(f"remove {unit}", unit.unlink)]
    if not place.root:
        steps.append(call(place.systemctl("daemon-reload")))
    carry_out(steps, dry_run=dry_run)
    if dry_run:
        return 0
    as_user = ["sudo", "-u", user] if user else []
    if stop_servers:
        say(f"the servers are stopped, and stay so until: {shlex.join([*as_user, *ask, 'start', '--all'])}")
    elif not place.root:
        say(f"the servers run on; to stop them: {shlex.join([*as_user, *ask, 'stop', '--all'])}")
    say(f"settings, manifests, models and state are left: {config}")
    return 0


def _stop(ask: list[str], user: str) -> Step:
    """As whom they run: nothing in the state folder may come to be another's."""
    before = ["runuser", "-u", user, "--"] if user else []
    hint = "nothing was removed; see how they are, or leave --stop-servers out"
    return call([*before, *ask, "stop", "--all"], hint)


def _of(unit: Path, invocation: Invocation, place: Place) -> tuple[Path, str]:
    """The settings that a unit names, and whom it runs as."""
    try:
        command, user = written(unit.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError) as error:
        raise Failure(f"{unit} cannot be read: {error}", f"remove it, then: systemctl daemon-reload ({unit})") from None
    named = command[command.index("--config") + 1 :] if "--config" in command else ()
    return Path(invocation.config or next(iter(named), str(place.config))), user
