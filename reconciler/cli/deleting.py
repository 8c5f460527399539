"""Taking documents out of their files, and seeing their servers end."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from reconciler.cli.controller import Controller, open_controller
from reconciler.cli.drafts import Draft
from reconciler.cli.editing import refuse, worsened
from reconciler.cli.failure import FAILED, Failure, say_error
from reconciler.cli.follow import Followed, follow
from reconciler.cli.foreseeing import preview, print_change
from reconciler.cli.invocation import Invocation
from reconciler.cli.judging import Item, Judgement, Verdict, begun
from reconciler.cli.output import plural, say, show
from reconciler.cli.selecting import labels_of
from reconciler.cli.servers import condition
from reconciler.cli.sources import is_from_git
from reconciler.cli.targets import SERVER, Target
from reconciler.cli.terminal import clean
from reconciler.cli.waiting import BEGIN_TIMEOUT
from reconciler.core.durations import describe_duration
from reconciler.core.label_selector import LabelSelector
from reconciler.installation import is_controller_running


def delete_all(
    invocation: Invocation, targets: Sequence[Target], *, dry_run: bool = False, timeout: float | None = None
) -> int:
    """Remove these. `timeout`: seconds to wait for their ends; None: do not. Returns the exit code. Raises Failure."""
    draft = Draft(invocation.existing_or_new())
    before = draft.present()
    _remove(draft, targets, before)
    refuse([str(problem) for problem in worsened(draft)])
    _tell(draft, targets, before)
    if dry_run:
        say("dry run: nothing was written")
        return 0
    for path in draft.write():
        say(clean(f"written to {draft.shown(path)}" if path.exists() else f"{draft.shown(path)} removed"))
    return _end(draft, targets, before, timeout)


def labelled(invocation: Invocation, labels: LabelSelector) -> list[Target]:
    """The servers with these labels. Raises Failure where there are none."""
    present = Draft(invocation.existing_or_new()).present()
    found = [Target(SERVER, name) for name, item in sorted(present.items()) if labels.fits(labels_of(item))]
    if not found:
        raise Failure("no server has these labels", "see which there are with: reconciler get servers -o json")
    return found


def _remove(draft: Draft, targets: Sequence[Target], before: Mapping[str, Item]) -> None:
    """Draft the removal. Raises Failure for what is not declared here, unless it is one whose document is gone."""
    for target in targets:
        if draft.declaring(target):
            draft.remove(target)
        elif target.kind != SERVER or target.name not in before or is_from_git(before[target.name]):
            draft.find(target)


def _tell(draft: Draft, targets: Sequence[Target], before: Mapping[str, Item]) -> None:
    others = _of_others(draft, targets)
    for target in targets:
        if target.kind != SERVER:
            show(f"- {target}  removed{'' if others else '; no server changes'}")
            continue
        item = before.get(target.name)
        runs = item is not None and item["status"]["instance"] is not None
        reason = "its document is removed" if runs else "its document is removed; it does not run"
        print_change({"server": target.name, "action": "stop", "reason": reason, "fields": []})
    for change in others:
        print_change(change)
    for problem in draft.checked(edited=True).problems if before else ():
        if not problem.server:
            click.echo(clean(f"warning: no server goes before this is corrected: {problem}"), err=True)


def _of_others(draft: Draft, targets: Sequence[Target]) -> list[Mapping[str, Any]]:
    """What becomes of servers that stay, as `diff -o json` has it: without a profile or defaults. Raises Failure."""
    if all(target.kind == SERVER for target in targets):
        return []
    changes = preview(draft.settings, (), without=targets)["changes"]
    named = {target.name for target in targets if target.kind == SERVER}
    return [one for one in changes if one["server"] not in named and one["action"] not in ("unchanged", "invalid")]


def _end(draft: Draft, targets: Sequence[Target], before: Mapping[str, Item], timeout: float | None) -> int:
    """See the servers that are known to the installation end."""
    names = [target.name for target in targets if target.kind == SERVER and target.name in before]
    if not names and not is_controller_running(draft.state):
        return 0
    with open_controller(draft.state, lambda: draft.settings, "delete", timeout) as controller:
        if not names:
            # It goes once several looks at the folder agree, which takes a moment.
            say("waiting until the controller has taken that up")
            _confirm_others(controller, targets)
            took = describe_duration(time.monotonic() - controller.began)
            say(f"{plural(len(targets), 'document')} deleted in {took}")
            return 0
        _confirm(controller, draft, names)
        _confirm_others(controller, targets)
        if timeout is not None:
            return _finish(names, follow(draft.state, names, _gone, timeout=timeout, began=controller.began))
        if controller.is_here:
            # Whoever is to end a server that takes its time ends with this command.
            follow(draft.state, names, begun(_gone), timeout=BEGIN_TIMEOUT)
        else:
            say("asked for; see how it goes with: reconciler get servers -w")
    return 0


def _confirm(controller: Controller, draft: Draft, names: Sequence[str]) -> None:
    """Ask for the removal, so that neither guard nor delay holds it. Raises Failure where something else does."""
    try:
        controller.request("prune", names)
    except Failure:
        # It may have seen the removal itself, and be done with it.
        left = [name for name in names if name in draft.present()]
        if left == names:
            raise
        if left:
            _confirm(controller, draft, left)
        return
    answer: Mapping[str, Any] = controller.reconcile()
    again = [name for name in names if name in answer["prunable"] or name in answer["held"]]
    if again:
        controller.request("prune", again)


def _confirm_others(controller: Controller, targets: Sequence[Target]) -> None:
    """The same for documents that are no servers; what nothing holds goes without anybody's word."""
    keys = {target.key for target in targets if target.kind != SERVER}
    if held := sorted(keys & controller.reconcile()["held"].keys() if keys else ()):
        controller.request("prune", held)


def _gone(name: str, item: Item | None) -> Judgement:
    """Nothing of it is left."""
    del name
    if item is None:
        return Judgement(Verdict.DONE, "deleted")
    status, reconciled = item["status"], condition(item, "Reconciled")
    if is_from_git(item):
        return Judgement(Verdict.FAILED, f"{status['phase']}: stays, for it is declared in Git too")
    if reconciled["reason"] == "PruneHeld":
        return Judgement(Verdict.STUCK, f"{status['phase']}: {reconciled['message']}")
    message = f"{status['phase']}: {status['message']}" if status["message"] else str(status["phase"])
    return Judgement(Verdict.WAITING, message)


def _finish(names: Sequence[str], followed: Followed) -> int:
    failed = followed.failed
    if len(names) > 1:
        say(f"{len(names) - len(failed)} deleted in {describe_duration(followed.seconds)}")
    if not failed:
        return 0
    hint = f"see why with: reconciler describe server {failed[0]}"
    say_error(f"{plural(len(failed), 'server')} not deleted", hint)
    return FAILED
