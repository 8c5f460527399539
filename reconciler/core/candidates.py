"""What a look found, by name: the documents that are declared once, and what is wrong with the others."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from reconciler.core.kinds import OTHER_KINDS, OtherDocument, key_of
from reconciler.core.model import Document, Problem

NAMED = 3
"""Most places of a name's other documents that a problem names."""
_Any = TypeVar("_Any", Document, OtherDocument)
Problems = dict[str, list[Problem]]


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
    others: tuple[OtherDocument, ...] = ()
    """Documents of the other kinds."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a look declares, and all problems that have a name: servers by theirs, other kinds by their keys."""

    servers: dict[str, Document]
    others: dict[str, OtherDocument]
    problems: Problems
    other_problems: Problems

    def __contains__(self, key: str) -> bool:
        return any(key in found for found in (self.servers, self.others, self.problems, self.other_problems))


def candidates(seen: Seen) -> Candidates:
    """The documents whose name is declared once, and all named problems."""
    problems: Problems = defaultdict(list)
    other_problems: Problems = defaultdict(list)
    for problem in seen.problems:
        if problem.server and problem.kind in OTHER_KINDS:
            other_problems[key_of(problem.kind, problem.server)].append(problem)
        elif problem.server:
            problems[problem.server].append(problem)
    servers = _once([(document.name, document) for document in seen.documents], problems)
    others = _once([(document.key, document) for document in seen.others], other_problems)
    return Candidates(servers, others, problems, other_problems)


def _once(found: Iterable[tuple[str, _Any]], problems: Problems) -> dict[str, _Any]:
    places: dict[str, list[_Any]] = defaultdict(list)
    for key, document in found:
        places[key].append(document)
    for key, documents in places.items():
        if len(documents) > 1:
            problems[key].extend(_duplicate(document, documents) for document in documents)
    return {key: documents[0] for key, documents in places.items() if len(documents) == 1 and key not in problems}


def _duplicate(document: Document | OtherDocument, documents: Sequence[Document | OtherDocument]) -> Problem:
    few = [other for other in documents[: NAMED + 1] if other is not document][:NAMED]
    others = ", ".join(f"{other.file}:{other.line}" for other in few)
    others += f" and {len(documents) - 1 - len(few)} more places" if len(documents) - 1 > len(few) else ""
    remedy = "names must be unique over all manifests"
    if len({other.origin for other in documents}) > 1:
        remedy = "remove one of the two, the one in the manifests folder or the one in Git"
    return problem_of(document, f"the name '{document.name}' is declared at {others} too; {remedy}", "metadata.name")


def key_of_problem(problem: Problem) -> str:
    """The name of the server that it is about, or the key of another document; empty where there is none."""
    is_other = problem.server and problem.kind in OTHER_KINDS
    return key_of(problem.kind, problem.server) if is_other else problem.server


def problem_of(document: Document | OtherDocument, message: str, field: str) -> Problem:
    """What is wrong with a document; at its beginning where the field's place is not known."""
    place = (document.line, 1) if isinstance(document, Document) else _place(document, field)
    return Problem(document.file, message, *place, field, document.name, document.kind, labels=document.labels)


def _place(document: OtherDocument, field: str) -> tuple[int, int]:
    while field:
        if field in document.places:
            return document.places[field]
        field = field.rpartition(".")[0]
    return document.line, 1
