"""`suspend`, `resume`: whether a source is followed, and whether a server is declared to run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.controller import open_controller
from reconciler.cli.drafts import Draft
from reconciler.cli.editing import apply_edit
from reconciler.cli.failure import BAD_INPUT, Failure
from reconciler.cli.follow import snapshot
from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.output import say
from reconciler.cli.sources import refuse_without_source
from reconciler.cli.sync import leave, outcome, removals_held, revision_known, tell
from reconciler.cli.targets import EXIT_CODES, SERVER, Target, targets_of
from reconciler.cli.terminal import clean
from reconciler.cli.waiting import may_wait
from reconciler.core.source import GIT
from reconciler.installation import is_controller_running
from reconciler.manifests.changing import REMOVED

if TYPE_CHECKING:
    from reconciler.settings import Settings

_FIELD = ("spec", "suspend")
_SOURCE = ("source", "sources")


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
    if _is_source(names, dry_run):
        _suspend_source(invocation, names)
        return 0
    draft = Draft(invocation.existing_or_new())
    for target in _servers(names):
        draft.respec(target, [(_FIELD, True)])
    return apply_edit(draft, "suspend", dry_run=dry_run, timeout=timeout)


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
    if _is_source(names, dry_run):
        return _resume_source(invocation, names)
    draft = Draft(invocation.existing_or_new())
    targets = _servers(names)
    for target in targets:
        draft.respec(target, [(_FIELD, REMOVED)])
    # Where the defaults of several servers say it, only its own word helps.
    resting = {one.name for one in draft.checked(edited=True).documents if one.spec.suspend}
    for target in targets:
        if target.name in resting:
            draft.respec(target, [(_FIELD, False)])
    return apply_edit(draft, "resume", dry_run=dry_run, timeout=timeout)


def _servers(names: Sequence[str]) -> list[Target]:
    """The servers that are named. Raises Failure for anything else."""
    targets = targets_of(names)
    for target in targets:
        if target.kind != SERVER:
            message = f"{target} cannot be suspended: only servers and the source can"
            raise Failure(message, "for a profile there is: reconciler profile use NAME", exit_code=BAD_INPUT)
    return targets


def _is_source(names: Sequence[str], dry_run: bool) -> bool:
    found = names[0] in _SOURCE or names[0].startswith("source/")
    if found and dry_run:
        raise click.UsageError("--dry-run is for servers; for the source there is: reconciler diff --against BRANCH")
    return found


def _suspend_source(invocation: Invocation, names: Sequence[str]) -> None:
    settings, name = _settings(invocation), _source_name(names)
    with open_controller(Path(settings.state), lambda: settings, "suspend") as controller:
        source = controller.suspend_source(name, suspended=True)
    own, status = source["metadata"]["name"], source["status"]
    say(clean(f"{own}: {outcome(own, status, '')}"))
    for text in (*status["problems"], status["lastError"]):
        if text:
            click.echo(f"warning: {clean(text)}", err=True)


def _resume_source(invocation: Invocation, names: Sequence[str]) -> int:
    settings, name = _settings(invocation), _source_name(names)
    state = Path(settings.state)
    before = snapshot(state, None, controller=is_controller_running(state))
    known = revision_known(state)
    with open_controller(state, lambda: settings, "resume") as controller:
        source = controller.suspend_source(name, suspended=False)
        code = tell(source, known, removals_held(state), "resumed: ")
        if controller.is_here:
            leave(controller, before)
    return code


def _settings(invocation: Invocation) -> "Settings":
    """Of an installation that can have a source. Raises Failure."""
    settings = invocation.existing_or_new()
    refuse_without_source(Path(settings.state), lambda: settings)
    return settings


def _source_name(names: Sequence[str]) -> str:
    """The one source that is meant: `source`, `source git` or `source/git`, as `get sources -o name` prints it."""
    given = [name.removeprefix("source/") for name in names if name not in _SOURCE]
    if len(given) > 1:
        raise click.UsageError("there is one source at most: name it once, or leave its name out")
    return given[0] if given else GIT
