"""Which documents are in force: the newest valid ones, else the last accepted ones. Bad input removes nothing."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from reconciler.core.model import Document, Problem
from reconciler.core.ports import hosts_overlap

PRUNE_DELAY = 2.0
"""Seconds for which a document must be missing before it counts as gone: files vanish for moments during a rename."""
RENAME_WINDOW = 5.0
"""A document that appeared so many seconds before or after another went missing may be its new name."""
GUARDED_SIZE = 4
"""From this many wanted servers on, losing more than half of them at once is held."""
CONFIRM = "if this is meant, confirm it with: reconciler apply --prune"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at the manifest folder found."""

    documents: tuple[Document, ...] = ()
    problems: tuple[Problem, ...] = ()
    failed: str = ""
    """Why the folder could not be read, if so."""
    empty: frozenset[str] = frozenset()
    """Files that are there, but hold nothing at all."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What acceptance remembers from look to look: monotonic times by name."""

    missing: Mapping[str, float] = field(default_factory=dict)
    """Since the first look that could have seen the document and did not."""
    arrived: Mapping[str, float] = field(default_factory=dict)


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
    memory: Memory = Memory()
    wake_at: float | None = None


def accept(
    accepted: Mapping[str, Document], seen: Seen, memory: Memory, now: float, confirmed: frozenset[str] = frozenset()
) -> Acceptance:
    """Judge one look at the manifests. `now` is monotonic; `confirmed` are names whose removal a person confirmed."""
    candidates, problems = _by_name(seen)
    effective = _without_port_clashes(accepted, candidates, problems)
    changed = tuple(_generations(accepted, effective))
    in_force = {**accepted, **{document.name: document for document in changed}}
    absent = [name for name in accepted if name not in candidates and name not in problems]
    general = tuple(problem for problem in seen.problems if not problem.server)
    missing = {name: memory.missing.get(name, now) for name in absent}
    # With nothing accepted before, nothing can have been renamed.
    newcomers = [document.name for document in changed if accepted and document.name not in accepted]
    arrived = {**memory.arrived, **dict.fromkeys(newcomers, now)}
    folder_problem = _folder_problem(accepted, seen)
    unsure = {
        **_emptied(in_force, missing, seen.empty),
        **_unsure(in_force, missing, problems, general, folder_problem),
    }
    sure = {name: since for name, since in missing.items() if name not in unsure}
    held = {**unsure, **_guarded(in_force, sure, arrived)}
    prunable = {name for name, why in held.items() if why.endswith(CONFIRM)}
    removed = tuple(
        name
        for name, since in missing.items()
        if (name not in held and now - since >= PRUNE_DELAY)
        or (name in confirmed and (name not in held or name in prunable))
    )
    waiting = [since + PRUNE_DELAY for name, since in missing.items() if name not in held and name not in removed]
    return Acceptance(
        documents={name: document for name, document in in_force.items() if name not in removed},
        changed=tuple(document for document in changed if document.name not in removed),
        removed=removed,
        problems={name: tuple(found) for name, found in problems.items()},
        general=general,
        held={name: why for name, why in held.items() if name not in removed},
        prunable=tuple(sorted(prunable.difference(removed))),
        folder_problem=folder_problem,
        memory=Memory(
            {name: since for name, since in sure.items() if name not in removed},
            {name: since for name, since in arrived.items() if missing or now - since < RENAME_WINDOW},
        ),
        wake_at=min(waiting, default=None),
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


def _duplicate(document: Document, documents: Iterable[Document]) -> Problem:
    others = ", ".join(f"{other.file}:{other.line}" for other in documents if other is not document)
    message = f"the name '{document.name}' is declared at {others} too; names must be unique over all manifests"
    return _problem(document, "metadata.name", message, (document.line, 1))


def _problem(document: Document, place: str, message: str, position: tuple[int, int]) -> Problem:
    return Problem(document.file, message, *position, field=place, server=document.name, kind=document.kind)


def _without_port_clashes(
    accepted: Mapping[str, Document], candidates: Mapping[str, Document], problems: dict[str, list[Problem]]
) -> dict[str, Document]:
    """What would be in force; a candidate that clashes gives way to its last accepted form, round by round."""
    effective = {**{name: accepted[name] for name in accepted if name in problems}, **candidates}
    while clashes := _clashes(effective):
        for one, other in clashes:
            for document, rival in ((one, other), (other, one)):
                found = _port_problem(document, rival)
                if found not in problems[document.name]:
                    problems[document.name].append(found)
        yielding = {
            document.name
            for pair in clashes
            for document in pair
            if not _is_unchanged(document, accepted.get(document.name))
        }
        if not yielding:
            break
        for name in yielding:
            if name in accepted:
                effective[name] = accepted[name]
            else:
                del effective[name]
    return effective


def _is_unchanged(document: Document, before: Document | None) -> bool:
    return before is not None and document.says_the_same(before)


def _clashes(documents: Mapping[str, Document]) -> list[tuple[Document, Document]]:
    by_port: dict[int, list[Document]] = defaultdict(list)
    for document in documents.values():
        if isinstance(document.spec.port, int) and not document.spec.suspend:
            by_port[document.spec.port].append(document)
    return [
        (one, other)
        for sharing in by_port.values()
        for index, one in enumerate(sharing)
        for other in sharing[index + 1 :]
        if hosts_overlap(one.spec.host, other.spec.host)
    ]


def _port_problem(document: Document, rival: Document) -> Problem:
    message = (
        f"server '{rival.name}' ({rival.file}:{rival.line}) wants port {rival.spec.port} too; "
        "give one of them another port, or port: auto"
    )
    return _problem(document, "spec.port", message, document.port_line)


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


def _folder_problem(accepted: Mapping[str, Document], seen: Seen) -> str:
    if seen.failed:
        return seen.failed
    if accepted and not seen.documents and not seen.problems:
        return f"no manifest is left, but {len(accepted)} were accepted: nothing is stopped; {CONFIRM}"
    return ""


def _emptied(in_force: Mapping[str, Document], missing: Mapping[str, float], empty: frozenset[str]) -> dict[str, str]:
    """An empty file is a half-written one, or an accident: who means it removes the file, or confirms."""
    return {
        name: f"{in_force[name].file} is empty: write the document again or remove the file; {CONFIRM}"
        for name in missing
        if in_force[name].file in empty
    }


def _unsure(
    in_force: Mapping[str, Document],
    missing: Mapping[str, float],
    problems: Mapping[str, Iterable[Problem]],
    general: tuple[Problem, ...],
    folder_problem: str,
) -> dict[str, str]:
    """Missing documents that this look says nothing about, with the reason: they stay in force."""
    if folder_problem:
        return dict.fromkeys(missing, folder_problem)
    if general:
        return dict.fromkeys(missing, f"not removed while a manifest cannot be read: {general[0]}")
    broken = {problem.file for found in problems.values() for problem in found}
    return {
        name: f"not removed while its file has an error: {in_force[name].file}"
        for name in missing
        if in_force[name].file in broken
    }


def _guarded(
    in_force: Mapping[str, Document], missing: Mapping[str, float], arrived: Mapping[str, float]
) -> dict[str, str]:
    """All the missing ones, when all would stop, or more than half of many; renames do not count."""
    lost = [name for name in missing if not in_force[name].spec.suspend]
    if not lost:
        return {}
    first, last = min(missing.values()) - RENAME_WINDOW, max(missing.values()) + RENAME_WINDOW
    wanted = {name for name, document in in_force.items() if not document.spec.suspend}
    new = {name for name, since in arrived.items() if name in wanted and first <= since <= last}
    new -= set(lost)
    net, before = len(lost) - len(new), len(wanted - new)
    if len(lost) < len(wanted) and not (before >= GUARDED_SIZE and net * 2 > before):
        return {}
    names = ", ".join(sorted(lost)[:5]) + (", …" if len(lost) > 5 else "")
    why = f"held by the prune guard: {len(lost)} of {len(wanted)} servers would stop ({names}); {CONFIRM}"
    return dict.fromkeys(missing, why)


def overlay(seen: Seen, documents: Mapping[str, Document]) -> Seen:
    """What would be seen with these documents in place of, or beside, those of the same name."""
    kept = tuple(document for document in seen.documents if document.name not in documents)
    problems = tuple(problem for problem in seen.problems if problem.server not in documents)
    return replace(seen, documents=(*kept, *documents.values()), problems=problems)
