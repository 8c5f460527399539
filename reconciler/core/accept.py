"""Which documents are in force: the newest valid ones, else the last accepted ones. Bad input removes nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from reconciler.core.beside import NOTHING, Beside
from reconciler.core.candidates import Candidates, Seen, candidates, key_of_problem, problem_of
from reconciler.core.choosing import Chooser
from reconciler.core.judgement import Judged, judge
from reconciler.core.kinds import OtherDocument, Others
from reconciler.core.model import Document, Problem
from reconciler.core.profiles import active_of, may_select
from reconciler.core.pruning import Memory, Missing, Pruning, prune
from reconciler.core.selection import Selection
from reconciler.core.source import GIT
from reconciler.core.unsure import bare_origins, removal_clash, unsure_of

__all__ = ["Acceptance", "Beside", "Seen", "accept", "comes_from_git", "overlay"]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The documents in force, and what is wrong with the newest text."""

    documents: Mapping[str, Document]
    changed: tuple[Document, ...] = ()
    """New or changed ones, to be saved."""
    removed: tuple[str, ...] = ()
    problems: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    """By name, for all named problems of servers; names without a document in force included."""
    general: tuple[Problem, ...] = ()
    """Problems of text whose name could not be read."""
    held: Mapping[str, str] = field(default_factory=dict)
    """Missing documents that stay in force, and why; those of other kinds by their keys."""
    prunable: tuple[str, ...] = ()
    """Those of the held ones that a confirmed prune would remove."""
    folder_problem: str = ""
    memory: Memory = field(default_factory=Memory)
    wake_at: float | None = None
    others: Others = field(default_factory=dict)
    """The documents of other kinds in force."""
    others_changed: tuple[OtherDocument, ...] = ()
    others_removed: tuple[str, ...] = ()
    """Their keys."""
    other_problems: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    """By key."""
    selection: Selection = field(default_factory=Selection)
    """Which servers are wanted."""
    postponed: Mapping[str, Problem] = field(default_factory=dict)
    """New servers that are valid, but not put in force before something else is mended."""

    def parked(self, name: str) -> str:
        """Why a server is declared, but not to run now; empty when it is."""
        return self.selection.parked(name)

    def names(self, name: str) -> bool:
        """Whether a server that may not be in force is wanted, or would be, for all that can be read of it."""
        active = active_of(self.others.values())
        if self.selection.wants(name) or self.selection.held or active is None:
            return self.selection.wants(name)
        return any(may_select(active, problem) for problem in self.problems.get(name, ()))


def accept(
    accepted: Mapping[str, Document],
    seen: Seen,
    memory: Memory,
    now: float,
    confirmed: frozenset[str] = frozenset(),
    beside: Beside = NOTHING,
) -> Acceptance:
    """Judge one look at the manifests. `now` is monotonic; `confirmed` are names whose removal a person confirmed."""
    chooser = Chooser(beside, memory.leaving, now, is_first=not accepted)
    found = candidates(seen)
    judged = judge(accepted, beside, found, chooser)
    pruning = _prune(accepted, beside, seen, (found, judged), (memory, now, confirmed))
    if gone := frozenset(pruning.removed) & beside.others.keys():
        found = candidates(seen)
        left = {key: one for key, one in beside.others.items() if key not in gone}
        judged = judge(accepted, replace(beside, others=left), found, chooser)
    in_force = {name: one for name, one in _in_force(accepted, judged).items() if name not in pruning.removed}
    waiting = {name: document for name, (document, _) in judged.postponed.items()}
    choice = chooser.choose_beside(active_of(judged.others.values()), in_force, waiting)
    bare = bare_origins({**accepted, **beside.others}, found, seen)
    return Acceptance(
        documents=in_force,
        changed=tuple(document for document in judged.changed if document.name not in pruning.removed),
        removed=tuple(name for name in pruning.removed if name not in gone),
        problems=_told(judged.problems),
        general=tuple(problem for problem in seen.problems if not problem.server),
        held=pruning.held,
        prunable=pruning.prunable,
        folder_problem="; ".join(filter(None, (seen.failed, *bare.values()))),
        memory=replace(pruning.memory, leaving=choice.leaving),
        wake_at=min((at for at in (pruning.wake_at, choice.wake_at) if at is not None), default=None),
        others=judged.others,
        others_changed=tuple(_renumbered(beside.others, judged.others)),
        others_removed=tuple(gone),
        other_problems=_told(judged.other_problems),
        selection=choice.selection,
        postponed={name: why for name, (_, why) in judged.postponed.items()},
    )


def _in_force(accepted: Mapping[str, Document], judged: Judged) -> dict[str, Document]:
    return {**accepted, **{document.name: document for document in judged.changed}}


def _told(problems: Mapping[str, list[Problem]]) -> dict[str, tuple[Problem, ...]]:
    return {name: tuple(dict.fromkeys(found)) for name, found in problems.items() if found}


def _renumbered(accepted: Others, effective: Others) -> Iterable[OtherDocument]:
    return (document for key, document in effective.items() if document is not accepted.get(key))


def _prune(
    accepted: Mapping[str, Document],
    beside: Beside,
    seen: Seen,
    judgement: tuple[Candidates, Judged],
    moment: tuple[Memory, float, frozenset[str]],
) -> Pruning:
    """Which of the missing documents, of all kinds, are gone."""
    found, judged = judgement
    servers = _in_force(accepted, judged)
    in_force = {**servers, **judged.others}
    absent = [key for key in (*accepted, *beside.others) if key not in found]
    active = active_of(judged.others.values())
    clash = removal_clash(accepted, servers, beside.others, active, found) if active and active.key in absent else {}
    unsure = {**clash, **unsure_of(in_force, absent, seen, judged.broken)}
    # With nothing accepted before, nothing can have been renamed.
    newcomers = [document.name for document in judged.changed if accepted and document.name not in accepted]
    parked = frozenset(name for name in servers if not judged.choice.selection.wants(name))
    bare = bare_origins({**accepted, **beside.others}, found, seen)
    return prune(Missing(in_force, absent, unsure, newcomers, bare, seen.devices, parked), *moment)


def overlay(seen: Seen, documents: Mapping[str, Document], git: str = "", others: Others | None = None) -> Seen:
    """What would be seen with these documents in place of, or beside, those of the same name.

    What comes from Git can only be changed there: `git` is that place in words. `others` are of other kinds, by key.
    """
    others = others or {}
    theirs = {one.name: one.file for one in seen.documents if one.origin == GIT and one.name in documents}
    theirs |= {one.key: one.file for one in seen.others if one.origin == GIT and one.key in others}
    every = {**documents, **others}
    kept = tuple(one for one in seen.documents if one.name not in documents or one.name in theirs)
    kept_others = tuple(one for one in seen.others if one.key not in others or one.key in theirs)
    given = every.keys() - theirs.keys()
    problems = tuple(problem for problem in seen.problems if key_of_problem(problem) not in given)
    refused = tuple(comes_from_git(every[key], file, git) for key, file in theirs.items())
    return replace(
        seen,
        documents=(*kept, *(one for name, one in documents.items() if name not in theirs)),
        problems=(*problems, *refused),
        others=(*kept_others, *(one for key, one in others.items() if key not in theirs)),
    )


def comes_from_git(document: Document | OtherDocument, file: str, git: str) -> Problem:
    """What is wrong with a document that is declared in that file of a Git repository."""
    where = f" in {git}" if git else ""
    what = "server" if isinstance(document, Document) else document.kind
    message = f"{what} '{document.name}' comes from Git; change it there: {file}{where}"
    return problem_of(document, message, "metadata.name")
