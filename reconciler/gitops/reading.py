"""What a revision declares, and whether it may be put in force: as a whole, or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.core.accept import Memory, Seen, accept
from reconciler.core.clean import escaped
from reconciler.core.model import Document, Problem
from reconciler.core.source import GIT, Revision
from reconciler.gitops.cache import Blob, Cache
from reconciler.manifests.parse import Check, Parsed, parse

PREFIX = f"{GIT}:"
"""What the name of a file in the repository begins with where people are shown it."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A revision and what it declares. Its documents bear no commit: most stay the same from one to the next."""

    revision: Revision
    blobs: tuple[Blob, ...] = ()
    documents: tuple[Document, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class Reader:
    """Reads revisions, and parses a file's content once."""

    cache: Cache
    folder: str
    """The one in the repository that holds the manifests."""
    check: Check
    _parsed: dict[tuple[str, bytes], Parsed] = field(default_factory=dict)

    def read(self, commit: str) -> Declared:
        """A revision that the cache holds. Raises GitError."""
        tree = self.cache.tree(commit, self.folder)
        parsed = {}
        for blob in tree.blobs:
            key = (blob.path, blob.content)
            parsed[key] = self._parsed.get(key) or self._parse(blob)
        self._parsed = {**self._parsed, **parsed} if len(self._parsed) < 2 * len(parsed) else parsed
        problems = [replace(problem, file=f"{PREFIX}{problem.file}") for problem in tree.problems]
        problems += [problem for one in parsed.values() for problem in one.problems]
        documents = tuple(document for one in parsed.values() for document in one.documents)
        return Declared(self.cache.revision(commit), tree.blobs, documents, tuple(problems))

    def _parse(self, blob: Blob) -> Parsed:
        found = parse(blob.content, shown_file(self.folder, blob.path), self.check)
        return replace(found, documents=tuple(replace(document, origin=GIT) for document in found.documents))


def shown_file(folder: str, path: str) -> str:
    """A file of the repository on one line, whatever its name holds."""
    return escaped(f"{PREFIX}{folder}/{path}" if folder else f"{PREFIX}{path}")


def refusals(declared: Declared, others: Seen, accepted: Mapping[str, Document]) -> tuple[Problem, ...]:
    """Why a revision may not be put in force; empty when it may.

    `others` is what stands beside it in the manifests folder. An error between the two counts only where the revision
    says something new: it must not be refused for what has come to be wrong without it.
    """
    seen = Seen((*others.documents, *declared.documents), others.problems)
    acceptance = accept(accepted, seen, Memory(), 0.0)
    new = {document.name for document in declared.documents if _is_new(document, accepted.get(document.name))}
    between = [
        problem
        for name, found in acceptance.problems.items()
        for problem in found
        if name in new and problem.file.startswith(PREFIX)
    ]
    return tuple(_in_order({*declared.problems, *between}))


def _is_new(document: Document, before: Document | None) -> bool:
    return before is None or before.origin != document.origin or not document.says_the_same(before)


def _in_order(problems: set[Problem]) -> Sequence[Problem]:
    return sorted(problems, key=lambda one: (one.file, one.line, one.column, one.message))
