"""`suspend`, `resume`: whether a source is followed; a request that is kept until it is taken back."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.controller import open_controller
from reconciler.cli.failure import BAD_INPUT, Failure
from reconciler.cli.follow import snapshot
from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.sources import refuse_without_source
from reconciler.cli.sync import leave, outcome, removals_held, revision_known, tell
from reconciler.cli.terminal import clean
from reconciler.core.source import GIT
from reconciler.installation import is_controller_running

if TYPE_CHECKING:
    from reconciler.settings import Settings

_WHAT_CAN = {
    "suspend": "only sources can: reconciler suspend source; for servers there is: reconciler stop NAME",
    "resume": "only sources can: reconciler resume source; for servers there is: reconciler start NAME",
}


def _verb(short_help: str) -> Callable[[Callable[..., Any]], click.Command]:
    """The arguments that both take."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        for decorator in (
            pass_invocation,
            click.argument("name", default=GIT),
            click.argument("resource", metavar="source"),
        ):
            function = decorator(function)
        return click.command(cls=Verb, short_help=short_help)(function)

    return decorate


@_verb("Leave what a source has in force until it is resumed.")
def suspend(invocation: Invocation, resource: str, name: str) -> None:
    """Leave the revision that is in force, whatever the remote has, until the source is resumed.

    That holds over restarts of the controller. NAME is git where it is left out.
    """
    settings = _settings("suspend", invocation, resource)
    with open_controller(Path(settings.state), lambda: settings, "suspend") as controller:
        source = controller.suspend_source(_plain(name), suspended=True)
    own, status = source["metadata"]["name"], source["status"]
    click.echo(clean(f"{own}: {outcome(own, status, '')}"))
    for text in (*status["problems"], status["lastError"]):
        if text:
            click.echo(f"warning: {clean(text)}", err=True)


@_verb("Follow a source again that was suspended.")
def resume(invocation: Invocation, resource: str, name: str) -> int:
    """Follow the remote again, and ask it at once. NAME is git where it is left out.

    Exit code: 0 what the remote has is in force, 1 not, or servers that it removes are held by the prune guard, 2 it
    has errors.
    """
    settings = _settings("resume", invocation, resource)
    state = Path(settings.state)
    before = snapshot(state, None, controller=is_controller_running(state))
    known = revision_known(state)
    with open_controller(state, lambda: settings, "resume") as controller:
        source = controller.suspend_source(_plain(name), suspended=False)
        code = tell(source, known, removals_held(state), "resumed: ")
        if controller.is_here:
            leave(controller, before)
    return code


def _settings(verb: str, invocation: Invocation, resource: str) -> "Settings":
    """Of an installation that can have a source. Raises Failure."""
    if resource not in ("source", "sources"):
        raise Failure(f"there is no {verb} for '{resource}'", _WHAT_CAN[verb], exit_code=BAD_INPUT)
    settings = invocation.existing_or_new()
    refuse_without_source(Path(settings.state), lambda: settings)
    return settings


def _plain(name: str) -> str:
    """`source/git` is understood too, as `get sources -o name` prints it."""
    return name.removeprefix("source/")
