"""What `profile use` does: edits `spec.active`, and follows the servers until they run or have ended."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from reconciler.cli.controller import Controller, open_controller
from reconciler.cli.drafts import Draft
from reconciler.cli.editing import Foreseen, foresee, refuse, tell
from reconciler.cli.failure import BAD_INPUT, Failure
from reconciler.cli.follow import conclude, follow
from reconciler.cli.invocation import Invocation
from reconciler.cli.judging import as_declared, begun
from reconciler.cli.output import say
from reconciler.cli.sources import followed
from reconciler.cli.standing import opened
from reconciler.cli.targets import Target
from reconciler.cli.terminal import clean
from reconciler.cli.waiting import BEGIN_TIMEOUT, UNATTENDED
from reconciler.core.kinds import PROFILE, ProfileDocument
from reconciler.core.source import GIT, PREFIX
from reconciler.installation import holds_one
from reconciler.store import read

ACTIVE = ("spec", "active")


def switch(invocation: Invocation, wanted: str, timeout: float | None, *, dry_run: bool) -> int:
    """Make a profile the active one; empty: none. `timeout` is in seconds; None: do not wait. Raises Failure."""
    draft = Draft(invocation.existing_or_new())
    _edit(draft, wanted)
    foreseen = foresee(draft) if draft.targets else Foreseen()
    refuse(foreseen.problems)
    tell(draft, foreseen)
    if dry_run:
        say("dry run: nothing was written")
        return 0
    return _put_in_force(draft, wanted, timeout)


def _edit(draft: Draft, wanted: str) -> None:
    """Draft the edits: two that are active for a moment change nothing, and none for a moment would start all."""
    _refuse_git(draft, wanted)
    declared = [one for one in _declared(draft) if isinstance(one, ProfileDocument)]
    if wanted:
        target = Target(PROFILE, wanted)
        draft.find(target)
        if not any(one.name == wanted and one.spec.active for one in declared):
            draft.respec(target, [(ACTIVE, True)])
    for one in declared:
        if one.spec.active and one.name != wanted:
            draft.respec(Target(PROFILE, one.name), [(ACTIVE, False)])


def _declared(draft: Draft) -> list[Any]:
    return [document for source in draft.sources(edited=False) for document in source.parse().others]


def _refuse_git(draft: Draft, wanted: str) -> None:
    """What a repository declares can only be changed there. Raises Failure."""
    for item in _known(draft.state):
        name, source = item["metadata"]["name"], item["metadata"]["source"]
        if source["origin"] != GIT or not (name == wanted or item["spec"].get("active")):
            continue
        if name == wanted and item["status"]["active"]:
            continue
        value = "true" if name == wanted else "false"
        where = followed(draft.state, draft.settings)
        file = f"{str(source['file']).removeprefix(PREFIX)}{f' in {where}' if where else ''}"
        message = f"profile '{name}' comes from Git; set spec.active to {value} there: {file}"
        hint = "commit the change, and then: reconciler sync; until then there is: reconciler stop NAME"
        raise Failure(message, hint, exit_code=BAD_INPUT)


def _known(state: Path) -> list[dict[str, Any]]:
    """The profiles of an installation; none where there is none yet."""
    if not holds_one(state):
        return []
    try:
        with opened(state) as db:
            return read.profiles(db)
    except read.ReadError as error:
        raise Failure(str(error)) from None


def _put_in_force(draft: Draft, wanted: str, timeout: float | None) -> int:
    before = draft.present()
    with open_controller(draft.state, lambda: draft.settings, "profile", timeout) as controller:
        if wanted and wanted not in (item["metadata"]["name"] for item in _known(draft.state)):
            controller.reconcile()  # it may be written a moment ago, and not be looked at yet
        # Committed before the edit, it is there when the files are read: no guard asks whether that is meant.
        controller.request("profile", [wanted])
        with _taken_back(controller):
            written = draft.write()
        for path in written:
            say(clean(f"written to {draft.shown(path)}"))
        answer = controller.reconcile()
        with _taken_back(controller):
            _refuse_held(draft.state, wanted, answer)
        names = sorted(draft.present())
        if timeout is None:
            return _leave(draft.state, names, controller)
        judge = as_declared({})
        outcome = follow(draft.state, names, judge, timeout=timeout, known=before, began=controller.began)
        if controller.is_here:
            say(UNATTENDED, err=True)
    return conclude(names, before, outcome)


@contextmanager
def _taken_back(controller: Controller) -> Iterator[None]:
    """What was asked for is meant of this edit: where that fails, the next one is guarded again."""
    try:
        yield
    except BaseException:
        with suppress(Failure):  # the controller lets it lapse, too
            controller.request("profile", [])
        raise


def _refuse_held(state: Path, wanted: str, answer: Mapping[str, Any]) -> None:
    """Raise Failure where another selection is in force than the one that was written."""
    active = [item["metadata"]["name"] for item in _known(state) if item["status"]["active"]]
    if active == ([wanted] if wanted else []):
        return
    ours = [problem["text"] for problem in answer["problems"] if problem.get("kind") == PROFILE]
    why = ours[0] if ours else str(answer["folderProblem"]) or "another selection is in force still"
    asked = f"the profile '{wanted}' is" if wanted else "all servers are"
    raise Failure(f"{asked} not in force: {why}", "correct that, and give the command again")


def _leave(state: Path, names: Sequence[str], controller: Controller) -> int:
    if not controller.is_here:
        say("asked for; see how it goes with: reconciler get servers -w")
        return 0
    # What waits for an end or a turn would never be done without this command.
    follow(state, names, begun(as_declared({})), timeout=BEGIN_TIMEOUT)
    say(UNATTENDED, err=True)
    return 0
