"""What `suspend` and `resume` do: edit `spec.suspend` of servers, or ask the controller to leave a source."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.controller import open_controller
from reconciler.cli.drafts import Draft
from reconciler.cli.editing import apply_edit
from reconciler.cli.failure import BAD_INPUT, Failure
from reconciler.cli.follow import snapshot
from reconciler.cli.invocation import Invocation
from reconciler.cli.output import say
from reconciler.cli.sources import refuse_without_source
from reconciler.cli.sync import leave, outcome, removals_held, revision_known, tell
from reconciler.cli.targets import SERVER, Target, targets_of
from reconciler.cli.terminal import clean
from reconciler.core.source import GIT
from reconciler.installation import is_controller_running
from reconciler.manifests.changing import REMOVED

if TYPE_CHECKING:
    from reconciler.settings import Settings

_FIELD = ("spec", "suspend")
_SOURCE = ("source", "sources")


def suspend(invocation: Invocation, names: Sequence[str], timeout: float | None, *, dry_run: bool) -> int:
    """Suspend servers, or the source. `timeout` is in seconds; None: do not wait. Raises Failure."""
    if _is_source(names, dry_run):
        _suspend_source(invocation, names)
        return 0
    draft = Draft(invocation.existing_or_new())
    for target in _servers(names):
        draft.respec(target, [(_FIELD, True)])
    return apply_edit(draft, "suspend", dry_run=dry_run, timeout=timeout)


def resume(invocation: Invocation, names: Sequence[str], timeout: float | None, *, dry_run: bool) -> int:
    """Take a suspension back. `timeout` is in seconds; None: do not wait. Raises Failure."""
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
