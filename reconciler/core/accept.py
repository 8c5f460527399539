"""Which documents are in force: the newest valid ones, else the last accepted ones. Bad input removes nothing."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.core.clashes import without_port_clashes
from reconciler.core.guard import CONFIRM, Held
from reconciler.core.model import Document, Problem
from reconciler.core.pruning import Memory, Missing, prune
from reconciler.core.source import GIT, LOCAL, PREFIX

NAMED = 3
"""Most places of a name's other documents that a problem names."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at the manifest folder found."""

    documents: tuple[Document, ...] = ()
    problems: tuple[Problem, ...] = ()
    failed: str = ""
    """Why the folder could not be read, if so."""
    empty: frozenset[str] = frozenset()
    """Files that are there, but hold nothing at all."""
    devices: Mapping[str, int] = field(default_factory=dict)
    """The file system of each folder, by its name as shown."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The documents in force, and what is wrong with the newest text."""

    documents: Mapping[str, Document]
    changed: tuple[Document, ...] = ()
    """New or changed ones, to be saved."""
    removed: tuple[str, ...] = ()
    problems: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    """By name, for all named problems; names without a document in force included."""
    general: tuple[Problem, ...] = ()
    """Problems of text whose name could not be read."""
    held: Mapping[str, str] = field(default_factory=dict)
    """Missing documents that stay in force, and why."""
    prunable: tuple[str, ...] = ()
    """Those of the held ones that a confirmed prune would remove."""
    folder_problem: str = ""
    memory: Memory = field(default_factory=Memory)
    wake_at: float | None = None


def accept(
    accepted: Mapping[str, Document], seen: Seen, memory: Memory, now: float, confirmed: frozenset[str] = frozenset()
) -> Acceptance:
    """Judge one look at the manifests. `now` is monotonic; `confirmed` are names whose removal a person confirmed."""
    candidates, problems = _by_name(seen)
    effective = without_port_clashes(accepted, candidates, problems)
    changed = tuple(_generations(accepted, effective))
    in_force = {**accepted, **{document.name: document for document in changed}}
    absent = [name for name in accepted if name not in candidates and name not in problems]
    general = tuple(problem for problem in seen.problems if not problem.server)
    bare = _bare(accepted, absent, seen)
    unsure = {
        **_emptied(in_force, absent, seen.empty),
        **_unsure(in_force, absent, problems, general, seen.failed),
    }
    # With nothing accepted before, nothing can have been renamed.
    newcomers = [document.name for document in changed if accepted and document.name not in accepted]
    missing = Missing(in_force, absent, unsure, newcomers, bare, seen.devices)
    pruning = prune(missing, memory, now, confirmed)
    return Acceptance(
        documents={name: document for name, document in in_force.items() if name not in pruning.removed},
        changed=tuple(document for document in changed if document.name not in pruning.removed),
        removed=pruning.removed,
        problems={name: tuple(found) for name, found in problems.items()},
        general=general,
        held=pruning.held,
        prunable=pruning.prunable,
        folder_problem="; ".join(filter(None, (seen.failed, *bare.values()))),
        memory=pruning.memory,
        wake_at=pruning.wake_at,
    )


def _by_name(seen: Seen) -> tuple[dict[str, Document], dict[str, list[Problem]]]:
    """The documents whose name is declared once, and all named problems."""
    problems: dict[str, list[Problem]] = defaultdict(list)
    for problem in seen.problems:
        if problem.server:
            problems[problem.server].append(problem)
    places = defaultdict(list)
    for document in seen.documents:
        places[document.name].append(document)
    for name, documents in places.items():
        if len(documents) > 1:
            problems[name].extend(_duplicate(document, documents) for document in documents)
    return {
        name: documents[0] for name, documents in places.items() if len(documents) == 1 and name not in problems
    }, problems


def _duplicate(document: Document, documents: Sequence[Document]) -> Problem:
    few = [other for other in documents[: NAMED + 1] if other is not document][:NAMED]
    others = ", ".join(f"{other.file}:{other.line}" for other in few)
    others += f" and {len(documents) - 1 - len(few)} more places" if len(documents) - 1 > len(few) else ""
    remedy = "names must be unique over all manifests"
    if len({other.origin for other in documents}) > 1:
        remedy = "remove one of the two, the one in the manifests folder or the one in Git"
    message = f"the name '{document.name}' is declared at {others} too; {remedy}"
    return _problem(document, "metadata.name", message, (document.line, 1))


def _problem(document: Document, place: str, message: str, position: tuple[int, int]) -> Problem:
    return Problem(document.file, message, *position, field=place, server=document.name, kind=document.kind)


def _generations(accepted: Mapping[str, Document], effective: Mapping[str, Document]) -> Iterable[Document]:
    """Those that differ from what is in force, numbered; a moved file alone is no new generation."""
    for name, document in effective.items():
        before = accepted.get(name)
        if before is None:
            yield replace(document, generation=1)
        elif not document.says_the_same(before):
            yield replace(document, generation=before.generation + 1)
        elif document.place != before.place:
            yield replace(document, generation=before.generation)


def _bare(accepted: Mapping[str, Document], absent: Iterable[str], seen: Seen) -> dict[str, str]:
    """Origins that declare nothing any more, and that in words. An unreadable folder says nothing of itself."""
    left = {document.origin for document in seen.documents} | {_origin(problem) for problem in seen.problems}
    bare = {}
    for origin in {accepted[name].origin for name in absent} - left - ({LOCAL} if seen.failed else set()):
        count, where = sum(one.origin == origin for one in accepted.values()), " in Git" if origin == GIT else ""
        bare[origin] = f"no manifest is left{where}, but {count} were accepted: nothing is stopped; {CONFIRM}"
    return bare


def _emptied(in_force: Mapping[str, Document], missing: Iterable[str], empty: frozenset[str]) -> dict[str, Held]:
    """An empty file is a half-written one, or an accident: who means it removes the file, or confirms."""
    return {
        name: Held(f"{in_force[name].file} is empty: write the document again or remove the file; {CONFIRM}", True)
        for name in missing
        if in_force[name].file in empty
    }


def _unsure(
    in_force: Mapping[str, Document],
    missing: Iterable[str],
    problems: Mapping[str, Iterable[Problem]],
    general: tuple[Problem, ...],
    failed: str,
) -> dict[str, Held]:
    """Missing documents that this look says nothing about: they stay in force.

    What cannot be read of the manifests folder may have declared what was declared there, and nothing of Git's.
    """
    broken = {problem.file for found in problems.values() for problem in found}
    unreadable = {_origin(problem): problem for problem in reversed(general)}
    unsure = {}
    for name in missing:
        document = in_force[name]
        if failed and document.origin == LOCAL:
            unsure[name] = Held(failed, lasting=True)
        elif document.origin in unreadable:
            unsure[name] = Held(f"not removed while a manifest cannot be read: {unreadable[document.origin]}")
        elif document.file in broken:
            unsure[name] = Held(f"not removed while its file has an error: {document.file}")
    return unsure


def _origin(problem: Problem) -> str:
    return GIT if problem.file.startswith(PREFIX) else LOCAL


def overlay(seen: Seen, documents: Mapping[str, Document], git: str = "") -> Seen:
    """What would be seen with these documents in place of, or beside, those of the same name.

    What comes from Git can only be changed there: `git` is that place in words.
    """
    theirs = {one.name: one.file for one in seen.documents if one.origin == GIT and one.name in documents}
    given = {name: document for name, document in documents.items() if name not in theirs}
    kept = tuple(document for document in seen.documents if document.name not in given)
    problems = tuple(problem for problem in seen.problems if problem.server not in given)
    refused = tuple(comes_from_git(documents[name], file, git) for name, file in theirs.items())
    return replace(seen, documents=(*kept, *given.values()), problems=(*problems, *refused))


def comes_from_git(document: Document, file: str, git: str) -> Problem:
    """What is wrong with a document whose server is declared in that file of a Git repository."""
    where = f" in {git}" if git else ""
    message = f"server '{document.name}' comes from Git; change it there: {file}{where}"
    return _problem(document, "metadata.name", message, (document.line, 1))
