"""Putting an edit of manifests in force: checked as a whole first, told as `diff` tells it, then written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from reconciler.cli.controller import open_controller
from reconciler.cli.documents import Source
from reconciler.cli.drafts import Draft, OvertakenError
from reconciler.cli.failure import BAD_INPUT, Failure
from reconciler.cli.follow import conclude, follow
from reconciler.cli.foreseeing import preview, print_change
from reconciler.cli.judging import Item, Judge, as_declared, briefly
from reconciler.cli.output import plural, print_problems, say, show
from reconciler.cli.sources import followed
from reconciler.cli.targets import SERVER, Target
from reconciler.cli.terminal import clean
from reconciler.cli.waiting import UNATTENDED
from reconciler.core.model import Document, Problem
from reconciler.core.spec import dump_spec
from reconciler.core.worsening import worsened as worsened_by
from reconciler.installation import is_controller_running
from reconciler.manifests.placing import is_published

_TRIES = 5
"""So many times an edit is made anew, where others were faster."""


@dataclass(frozen=True)
class Foreseen:
    """What an edit would lead to."""

    problems: Sequence[str] = ()
    """What is wrong with it; nothing is written then."""
    changes: Sequence[Mapping[str, Any]] = ()
    """As `diff -o json` has them."""
    documents: Sequence[Document] = ()
    """The servers as they would be declared."""
    warnings: Sequence[str] = ()
    """What is wrong with other documents, and was before; and what would be wrong with another profile."""

    @property
    def restarted(self) -> list[str]:
        """The servers that something happens to."""
        return [str(change["server"]) for change in self.changes if change["action"] != "unchanged"]


def foresee(draft: Draft) -> Foreseen:
    """Check all manifests as they would be, and ask what would happen. Raises Failure where that cannot be asked."""
    checked = draft.checked(edited=True)
    if new := _new(checked.problems, draft):
        return Foreseen([str(problem) for problem in new])
    answer = preview(draft.settings, _texts(draft))
    ours = _names(draft)
    problems = [
        problem["text"] for problem in answer["problems"] if (problem.get("kind"), problem.get("server")) in ours
    ]
    if problems:
        return Foreseen(problems)
    only = {target.name for target in draft.targets if target.kind == SERVER}
    every = any(target.kind != SERVER for target in draft.targets)
    changes = [change for change in answer["changes"] if change["server"] in only or (every and _tells(change))]
    warnings = [*checked.problems, *(one for one in checked.warnings if (one.kind, one.server) in ours)]
    return Foreseen((), changes, checked.documents, [str(problem) for problem in warnings])


def apply_edit(
    draft: Draft,
    verb: str,
    *,
    dry_run: bool = False,
    timeout: float | None = None,
    again: Callable[[], Draft] | None = None,
) -> int:
    """Check an edit, tell what it leads to, write it, and have the controller act on it. Returns the exit code.

    `timeout`: seconds to wait until the servers are as they are declared then; None: do not wait. `again`: makes the
    same edit of what the files say by then, where somebody else was faster. Raises Failure: the edit is refused, or a
    file cannot be written.
    """
    foreseen = foresee(draft)
    refuse(foreseen.problems)
    tell(draft, foreseen)
    if dry_run:
        say("dry run: nothing was written")
        return 0
    before = draft.present() if timeout is not None else {}
    draft, foreseen, written = _written(draft, foreseen, again)
    for path in written:
        say(clean(f"written to {draft.shown(path)}" if path.exists() else f"{draft.shown(path)} removed"))
    if timeout is not None:
        return _wait(draft, foreseen, before, timeout)
    _take_up(draft, foreseen, verb, is_changed=bool(written))
    return 0


def _written(
    draft: Draft, foreseen: Foreseen, again: Callable[[], Draft] | None
) -> tuple[Draft, Foreseen, Sequence[Path]]:
    """What was written in the end, and the files. Raises Failure."""
    for _ in range(_TRIES if again else 0):
        try:
            return draft, foreseen, draft.write()
        except OvertakenError:
            assert again is not None
            draft, told = again(), foreseen.changes
            foreseen = foresee(draft)
            refuse(foreseen.problems)
            if foreseen.changes != told:
                tell(draft, foreseen)
    return draft, foreseen, draft.write()


def refuse(problems: Sequence[str]) -> None:
    """Raise Failure where an edit leads to errors, all of which are told first."""
    if problems:
        print_problems(problems)
        message = f"that leads to {plural(len(problems), 'error')}; nothing was changed"
        hint = "correct it, and give the command again; lines are told as they would be then"
        raise Failure(message, hint, exit_code=BAD_INPUT)


def tell(draft: Draft, foreseen: Foreseen) -> None:
    """What would happen to each server, in the words of `diff`."""
    for change in foreseen.changes:
        print_change(change) if _tells(change) else show(f"  {change['server']}  unchanged")
    known = {str(change["server"]) for change in foreseen.changes}
    for target in draft.targets:
        if target.kind != SERVER and not foreseen.restarted:
            show(f"  {target}  no server changes")
        elif target.kind == SERVER and target.name not in known:
            show(f"  {target.name}  unchanged")
    for path in filter(is_published, draft.changed):
        message = f"{draft.shown(path)} leads to {path.resolve()}, which whoever put it there may write over"
        click.echo(clean(f"warning: {message}"), err=True)
    for warning in foreseen.warnings:
        click.echo(clean(f"warning: {warning}"), err=True)


def names_of(targets: Sequence[Target], foreseen: Foreseen) -> list[str]:
    """The servers that an edit is about."""
    own = {target.name for target in targets if target.kind == SERVER}
    more = foreseen.restarted if any(target.kind != SERVER for target in targets) else ()
    return sorted(own.union(more))


def worsened(draft: Draft) -> list[Problem]:
    """What an edit would make wrong that is right now, as far as files tell."""
    return _new(draft.checked(edited=True).problems, draft)


def _names(draft: Draft) -> set[tuple[str, str]]:
    return {(target.kind, target.name) for target in draft.targets}


def _new(problems: Sequence[Problem], draft: Draft) -> list[Problem]:
    """Those of the edited documents, and those that were not there before the edit."""
    return worsened_by(draft.checked(edited=False).problems, problems, _names(draft)) if problems else []


def _texts(draft: Draft) -> list[Source]:
    texts = ((path, draft.after(path)) for path in draft.changed)
    return [Source(draft.shown(path), text.encode()) for path, text in texts if text is not None]


def _tells(change: Mapping[str, Any]) -> bool:
    return change["action"] not in ("unchanged", "invalid")


def _take_up(draft: Draft, foreseen: Foreseen, verb: str, *, is_changed: bool) -> None:
    """Have a running controller act on it now, and say how it goes on."""
    names = " ".join(names_of(draft.targets, foreseen)[:3])
    if not is_changed:
        return
    if not is_controller_running(draft.state):
        say(f"no controller is running: put it in force with: reconciler apply {names}".rstrip(), err=True)
        return
    with open_controller(draft.state, lambda: draft.settings, verb) as controller:
        controller.reconcile()
    if foreseen.restarted:
        say(f"see how it goes with: reconciler get servers {names} -w")


def _wait(draft: Draft, foreseen: Foreseen, before: Mapping[str, Item], timeout: float) -> int:
    names = names_of(draft.targets, foreseen)
    # Where none runs, this command does the work that `apply` would.
    with open_controller(draft.state, lambda: draft.settings, "apply", timeout) as controller:
        answer = controller.reconcile()
        # What comes from Git may add to what the files here say.
        documents = () if followed(draft.state, draft.settings) else foreseen.documents
        judge = _judge(documents, str(answer["folderProblem"]))
        result = follow(draft.state, names, judge, timeout=timeout, known=before, began=controller.began)
        if controller.is_here:
            say(UNATTENDED, err=True)
    return conclude(names, before, result)


def _judge(documents: Sequence[Document], folder_problem: str) -> Judge:
    return briefly(as_declared({document.name: dump_spec(document.spec) for document in documents}), folder_problem)
