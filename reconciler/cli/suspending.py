"""`suspend`, `resume`: whether a source is followed, and whether a server is declared to run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.targets import EXIT_CODES
from reconciler.cli.waiting import may_wait

_OF_RESUME = {
    0: "done, or it was so already; of a source: what the remote has is in force",
    1: "it could not be done; with --wait also: a server is not as declared; of a source: what the remote has is not "
    "in force, or servers that it removes are held by the prune guard",
    2: "the command line has errors, or the manifest would have, or what the source's remote has",
}


def _verb(
    short_help: str, examples: Sequence[tuple[str, str]], exit_codes: Mapping[int, str]
) -> Callable[[Callable[..., Any]], click.Command]:
    """The arguments that both take."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        for decorator in (
            pass_invocation,
            may_wait,
            click.option("--dry-run", is_flag=True, help="Only show what would happen to the servers."),
            click.argument("names", metavar="NAME…|source", nargs=-1, required=True),
        ):
            function = decorator(function)
        command = click.command(cls=Verb, short_help=short_help, examples=examples, exit_codes=exit_codes)
        return command(function)

    return decorate


@_verb(
    "Suspend servers in their manifests, or what is followed of a source.",
    (
        ("reconciler suspend coder", "write `suspend: true` into its manifest: it is stopped, and stays declared"),
        ("reconciler suspend source", "leave the Git revision that is in force until it is resumed"),
    ),
    EXIT_CODES,
)
def suspend(invocation: Invocation, names: tuple[str, ...], dry_run: bool, timeout: float | None) -> int:
    """Suspend the named servers: their manifests then say `suspend: true`, wherever those go.

    A stop that only this machine should know of is `reconciler stop NAME`. With `source` in place of names, the
    revision of the Git source that is in force stays, whatever the remote has. Both hold over restarts.
    """
    from reconciler.cli import resting  # noqa: PLC0415 - it takes longer than the help may

    return resting.suspend(invocation, names, timeout, dry_run=dry_run)


@_verb(
    "Take a suspension back, of servers or of a source.",
    (
        ("reconciler resume coder --wait", "run it again, and wait until it is Ready"),
        ("reconciler resume source", "follow the Git source's remote again, and ask it at once"),
    ),
    _OF_RESUME,
)
def resume(invocation: Invocation, names: tuple[str, ...], dry_run: bool, timeout: float | None) -> int:
    """Take `suspend` out of the manifests of the named servers, so that they run again.

    With `source` in place of names the Git source's remote is followed again, and asked at once.
    """
    from reconciler.cli import resting  # noqa: PLC0415 - as above

    return resting.resume(invocation, names, timeout, dry_run=dry_run)
