"""What `apply` does: puts documents into the manifests, has everything brought to what they say, and waits for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.controller import Controller, open_controller
from reconciler.cli.documents import (
    Checked,
    Source,
    check_together,
    read_files,
    read_sources,
    shown_folder,
)
from reconciler.cli.failure import BAD_INPUT, Failure, database_trouble, refuse_unknown, say_error
from reconciler.cli.follow import conclude, follow, snapshot
from reconciler.cli.foreseeing import counted, is_refused, preview, print_preview
from reconciler.cli.judging import Item, Judge, as_declared, begun, briefly
from reconciler.cli.output import plural, print_problems, say
from reconciler.cli.sources import followed, held, is_from_git
from reconciler.cli.standing import opened
from reconciler.cli.terminal import clean
from reconciler.cli.waiting import BEGIN_TIMEOUT, UNATTENDED
from reconciler.core.accept import comes_from_git
from reconciler.core.kinds import OtherDocument, key_of
from reconciler.core.model import Document, Problem
from reconciler.core.spec import dump_spec
from reconciler.installation import is_controller_running
from reconciler.manifests import edit
from reconciler.store import read

if TYPE_CHECKING:
    from reconciler.settings import Settings

INVALID_FLAG = "InvalidFlag"
"""Why a start would be blocked, where `validate` calls that an error."""


@dataclass(frozen=True)
class _Task:
    """What is to be applied, all of it checked."""

    settings: "Settings"
    given: Sequence[Source]
    checked: Checked
    named: Sequence[str]
    """Servers that count for the result; empty: all."""
    before: Mapping[str, Item]

    @property
    def state(self) -> Path:
        return Path(self.settings.state)


def foretell(settings: "Settings", names: Sequence[str], paths: Sequence[str]) -> int:
    """Print what would change, of the named servers (else of all); the exit code. Raises Failure."""
    answer = preview(settings, _given(paths))
    every: Sequence[Mapping[str, Any]] = answer["changes"]
    if not is_refused(answer):
        refuse_unknown(names, [change["server"] for change in every], exit_code=BAD_INPUT)
    shown = [change for change in every if not names or change["server"] in names]
    print_preview({**answer, "changes": shown})
    if others := [change for change in every if change not in shown and change["action"] != "unchanged"]:
        say(f"all manifests come into force, so of the servers that are not named: {counted(others)}")
    wrong = [change["server"] for change in shown if change.get("blockedReason") == INVALID_FLAG]
    if wrong and not is_refused(answer):
        message = f"{plural(len(wrong), 'server')} with flags that the llama-server does not take: {', '.join(wrong)}"
        say_error(message, "correct them where this says: reconciler validate")
    return BAD_INPUT if wrong or is_refused(answer) else 0


def apply(
    settings: "Settings", names: Sequence[str], paths: Sequence[str], timeout: float | None, *, prune: bool
) -> int:
    """Do it, and return the exit code. `timeout` is in seconds; None: do not wait. Raises Failure."""
    task = _check(settings, _given(paths), names)
    _write(task)
    with open_controller(task.state, lambda: settings, "apply", timeout) as controller:
        answer = controller.reconcile()
        if prune:
            answer = _prune(controller, answer, names)
        _tell(answer)
        if timeout is None:
            return _leave(task, answer, controller)
        return _wait(task, answer, timeout, controller.began)


def _given(paths: Sequence[str]) -> list[Source]:
    """The manifests of -f. Raises Failure."""
    given = read_sources(paths)
    if paths and not given:
        raise Failure(f"no manifests in {', '.join(paths)}", "manifests end in .yaml or .yml", exit_code=BAD_INPUT)
    return given


def _check(settings: "Settings", given: Sequence[Source], names: Sequence[str]) -> _Task:
    """Check everything before anything is touched. Raises Failure."""
    state = Path(settings.state)
    git = followed(state, settings)
    before = snapshot(state, None, controller=is_controller_running(state))
    from_git = [name for name, item in before.items() if is_from_git(item)]
    checked = check_together(given, _present(settings, needed=not given and not git), from_git)
    parsed = [source.parse() for source in given]
    ours = {document.name: document for each in parsed for document in each.documents}
    others = [document for each in parsed for document in each.others]
    problems = [*checked.problems, *(_of_git(ours, before, git) if git else ())]
    problems += _others_of_git(others, state, git) if git and others else ()
    if problems:
        print_problems([str(problem) for problem in problems])
        message = f"{plural(len(problems), 'error')} in the manifests; nothing was changed"
        raise Failure(message, "correct them, and apply again", exit_code=BAD_INPUT)
    declared = [document.name for document in checked.documents]
    refuse_unknown(names, [*declared, *before], exit_code=BAD_INPUT)
    return _Task(settings, given, checked, names or sorted(ours), before)


def _present(settings: "Settings", *, needed: bool) -> Sequence[Source]:
    """What is in the manifests folder. Raises Failure."""
    folder = Path(settings.manifests)
    if folder.is_dir():
        return read_files(folder, shown_folder(settings.manifests))
    if needed:
        message = f"the manifests folder {folder} does not exist"
        hint = "make it, name another with --manifests, or: reconciler apply -f FILE"
        raise Failure(message, hint, exit_code=BAD_INPUT)
    return []


def _of_git(ours: Mapping[str, Document], before: Mapping[str, Item], git: str) -> Sequence[Problem]:
    """The given documents whose servers come from that repository, and are not held after their removal there."""
    return [
        comes_from_git(document, str(before[name]["metadata"]["source"]["file"]), git)
        for name, document in ours.items()
        if name in before and is_from_git(before[name]) and not held(before[name])
    ]


def _others_of_git(others: Sequence[OtherDocument], state: Path, git: str) -> Sequence[Problem]:
    """The same for documents of other kinds."""
    with database_trouble(state), opened(state) as db:
        items = (*read.profiles(db), *read.defaults(db))
    files = {
        key_of(item["kind"], item["metadata"]["name"]): item["metadata"]["source"]["file"]
        for item in items
        if is_from_git(item) and not item["status"]["held"]
    }
    return [comes_from_git(one, str(files[one.key]), git) for one in others if one.key in files]


def _write(task: _Task) -> None:
    """Put each given document into the manifests folder. Raises Failure."""
    root = Path(task.settings.manifests)
    for source in task.given:
        parsed = source.parse()
        for document in (*parsed.others, *parsed.documents):
            try:
                path = edit.put(root, source.text_of(document), document, task.checked.documents)
            except (OSError, ValueError) as error:
                message = f"'{document.name}' cannot be written into {root}: {error}"
                raise Failure(message, "what was written before it stays; apply again") from None
            say(clean(f"{document.name}  written to {shown_folder(str(path))}"))


def _prune(controller: Controller, answer: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
    """Confirm what is held; of the rest nothing, where names are given."""
    held: Sequence[str] = answer["prunable"]
    confirmed = [name for name in held if not names or name in names]
    if confirmed:
        say(f"removal confirmed: {', '.join(confirmed)}")
        controller.request("prune", confirmed)
        answer = controller.reconcile()
    if others := [name for name in held if name not in confirmed]:
        say(f"held as before, for it is not named: {', '.join(others)}", err=True)
    return answer


def _tell(answer: Mapping[str, Any]) -> None:
    # The files may have changed since they were checked.
    print_problems([problem["text"] for problem in answer["problems"]])
    if answer["folderProblem"]:
        click.echo(f"warning: {clean(answer['folderProblem'])}", err=True)


def _leave(task: _Task, answer: Mapping[str, Any], controller: Controller) -> int:
    """What is asked for is done by the controller; when that ends with this command, all is begun before."""
    if controller.is_here:
        names = sorted({*task.before, *snapshot(task.state, None, controller=True)})
        follow(task.state, names, begun(_judge(task, answer)), timeout=BEGIN_TIMEOUT, known=task.before)
        say(UNATTENDED, err=True)
    else:
        say("asked for; see how it goes with: reconciler get servers -w")
    return 0


def _judge(task: _Task, answer: Mapping[str, Any]) -> Judge:
    specs = {document.name: dump_spec(document.spec) for document in task.checked.documents}
    return briefly(as_declared(specs), str(answer["folderProblem"]))


def _wait(task: _Task, answer: Mapping[str, Any], timeout: float, began: float) -> int:
    names = list(task.named) or sorted({*task.before, *snapshot(task.state, None, controller=True)})
    judge = _judge(task, answer)
    followed = follow(task.state, names, judge, timeout=timeout, known=task.before, began=began)
    held = {name: str(answer["held"][name]) for name in names if name in answer["held"]}
    for why in sorted(set(held.values()) - {answer["folderProblem"]}):
        click.echo(f"held: {', '.join(name for name in held if held[name] == why)}: {clean(why)}", err=True)
    code = conclude(names, task.before, followed)
    return code or (BAD_INPUT if answer["problems"] else 0)
