"""What all sources of manifests say together: the manifests folder, and a Git source where there is one."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from reconciler.core.accept import Seen
from reconciler.core.kinds import OtherDocument
from reconciler.core.model import Document
from reconciler.core.source import LOCAL
from reconciler.manifests.folder import Folder, Look


class Following(Protocol):
    """A source whose revisions are put in force whole."""

    @property
    def look(self) -> Look:
        """What is in force of it. The same object as long as nothing changes."""
        ...


class Manifests:
    """Looks at all sources. With a Git source the manifests folder may be missing, as long as it declared nothing."""

    def __init__(self, root: Path, folder: Folder, accepted: Callable[[], Iterable[Document | OtherDocument]]) -> None:
        self._root = root
        self._folder = folder
        self._accepted = accepted
        self._source: Following | None = None
        self._on_change: Callable[[], None] = lambda: None
        self._parts: tuple[Look, Look] | None = None
        self._joined = Look()

    def follow(self, source: Following, on_change: Callable[[], None]) -> None:
        """Join what a source says; `on_change` is called when the manifests folder says something new."""
        self._source, self._on_change = source, on_change

    def look(self, now: float) -> Look:
        """What they say; `now` is monotonic, in seconds. The same object as long as nothing changes."""
        local = self._folder.look(now)
        if self._source is None:
            return local
        if local.failed and self._may_be_missing():
            local = _EMPTY
        return self._join(local, self._source.look)

    def local(self, now: float) -> Seen:
        """What the manifests folder alone says."""
        look = self._folder.look(now)
        return Seen(look.documents, look.problems, others=look.others)

    def _join(self, local: Look, other: Look) -> Look:
        before = self._parts
        if before is None or before[0] is not local or before[1] is not other:
            self._parts, self._joined = (local, other), joined(local, other)
        if before is not None and before[0] is not local:
            self._on_change()
        return self._joined

    def _may_be_missing(self) -> bool:
        if self._root.exists():
            return False
        return not any(document.origin == LOCAL for document in self._accepted())


_EMPTY = Look()


def joined(local: Look, other: Look) -> Look:
    """Both looks in one."""
    return replace(
        local,
        documents=local.documents + other.documents,
        problems=local.problems + other.problems,
        files_seen=local.files_seen | other.files_seen,
        others=local.others + other.others,
        failed="; ".join(filter(None, (local.failed, other.failed))),
    )


def in_force_of_git(look: Look, revision: Look) -> Look:
    """What would be seen with another revision of the Git source in force."""
    documents = tuple(document for document in look.documents if document.origin == LOCAL)
    others = tuple(document for document in look.others if document.origin == LOCAL)
    return joined(replace(look, documents=documents, others=others), revision)
