"""What a revision declares, and whether it may be put in force: as a whole, or not at all."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.core.accept import Beside, Seen, accept
from reconciler.core.clean import escaped
from reconciler.core.kinds import OtherDocument, say_the_same
from reconciler.core.model import Document, Problem
from reconciler.core.pruning import Memory
from reconciler.core.source import GIT, PREFIX, Revision
from reconciler.gitops.cache import Blob, Cache
from reconciler.gitops.git import GitError
from reconciler.manifests.parse import Check, Parsed, parse

MOST_DOCUMENTS = 2000
"""Documents that a revision may hold: each is judged at every look."""
LONGEST = 20.0
"""Seconds of computing that reading a revision may take; the next look goes on from there."""
LONGEST_FILE = 5.0
"""Seconds of computing that reading a file may take: what takes longer was made to."""
NOTHING_BESIDE = Beside()
_UNREAD = "reading the revision takes more than {:g} s: the next look goes on with {}; fewer manifests are read faster"
_SLOW = "reading it takes longer than {:g} s: split it, or write it more simply"


@dataclass(frozen=True, slots=True)
class Declared:
    """A revision and what it declares. Its documents bear no commit: most stay the same from one to the next."""

    revision: Revision
    blobs: tuple[Blob, ...] = ()
    documents: tuple[Document, ...] = ()
    problems: tuple[Problem, ...] = ()
    others: tuple[OtherDocument, ...] = ()
    """Documents of the other kinds."""


@dataclass(slots=True)
class Reader:
    """Reads revisions, and parses a file's content once."""

    cache: Cache
    folder: str
    """The one in the repository that holds the manifests."""
    check: Check
    _parsed: dict[tuple[str, bytes], Parsed] = field(default_factory=dict)
    _stopped: bool = False

    def stop(self) -> None:
        """End what is read; each further reading raises GitError."""
        self._stopped = True

    def read(self, commit: str) -> Declared:
        """A revision that the cache holds. Raises GitError."""
        tree = self.cache.tree(commit, self.folder)
        parsed = {}
        if len(self._parsed) > 2 * len(tree.blobs):
            kept = {(blob.path, blob.content) for blob in tree.blobs}
            self._parsed = {key: known for key, known in self._parsed.items() if key in kept}
        late = time.thread_time() + LONGEST
        for blob in tree.blobs:
            key = (blob.path, blob.content)
            parsed[key] = self._parsed[key] = self._parsed.get(key) or self._parse(blob, late)
        problems = [replace(problem, file=f"{PREFIX}{problem.file}") for problem in tree.problems]
        problems += [problem for one in parsed.values() for problem in one.problems]
        documents = tuple(document for one in parsed.values() for document in one.documents)
        others = tuple(document for one in parsed.values() for document in one.others)
        if (count := len(documents) + len(others)) > MOST_DOCUMENTS:
            message = f"{count} documents, and a revision may hold {MOST_DOCUMENTS}; name a folder with fewer"
            problems, documents, others = [Problem(shown_file(self.folder, ""), message), *problems], (), ()
        return Declared(self.cache.revision(commit), tree.blobs, documents, tuple(problems), others)

    def _parse(self, blob: Blob, late: float) -> Parsed:
        """What a file says. Raises GitError at the thread's time up to which all files are to be read."""
        file, most = shown_file(self.folder, blob.path), time.thread_time() + LONGEST_FILE

        def go_on() -> None:
            if self._stopped:
                raise GitError("Stopped", "the controller is ending: the next one looks again")
            if time.thread_time() > min(late, most):
                raise TimeoutError

        try:
            found = parse(blob.content, file, self.check, go_on)
        except TimeoutError:
            if most < late:
                return Parsed(problems=(Problem(file, _SLOW.format(LONGEST_FILE)),))
            raise GitError("ReadingSlow", _UNREAD.format(LONGEST, file)) from None
        others = tuple(replace(document, origin=GIT) for document in found.others)
        return replace(found, documents=tuple(replace(one, origin=GIT) for one in found.documents), others=others)


def shown_file(folder: str, path: str) -> str:
    """A file of the repository on one line, whatever its name holds."""
    return escaped(f"{PREFIX}{folder}/{path}" if folder else f"{PREFIX}{path}")


def refusals(
    declared: Declared, others: Seen, accepted: Mapping[str, Document], beside: Beside = NOTHING_BESIDE
) -> tuple[Problem, ...]:
    """Why a revision may not be put in force; empty when it may.

    `others` is what stands beside it in the manifests folder. An error between the two counts only where the revision
    says something new: it must not be refused for what has come to be wrong without it.
    """
    seen = Seen((*others.documents, *declared.documents), others.problems, others=(*others.others, *declared.others))
    acceptance = accept(accepted, seen, Memory(), 0.0, beside=beside)
    new = {document.name for document in declared.documents if _is_new(document, accepted.get(document.name))}
    new |= {one.key for one in declared.others if _is_other_new(one, beside.others.get(one.key))}
    between = [
        problem
        for key, found in (*acceptance.problems.items(), *acceptance.other_problems.items())
        for problem in found
        if key in new and problem.file.startswith(PREFIX)
    ]
    return tuple(_in_order({*declared.problems, *between}))


def _is_new(document: Document, before: Document | None) -> bool:
    if before is None or before.origin != document.origin:
        return True
    # What defaults make of it is theirs to answer for.
    return not _as_written(document).says_the_same(_as_written(before))


def _as_written(document: Document) -> Document:
    return replace(document, spec=document.written, own=None)


def _is_other_new(document: OtherDocument, before: OtherDocument | None) -> bool:
    return before is None or before.origin != document.origin or not say_the_same(document, before)


def _in_order(problems: set[Problem]) -> Sequence[Problem]:
    return sorted(problems, key=lambda one: (one.file, one.line, one.column, one.message))
