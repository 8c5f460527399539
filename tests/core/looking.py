"""A manifest folder as acceptance sees it, look by look."""

from dataclasses import dataclass, field
from typing import Any

from reconciler.core.accept import Acceptance, Seen, accept
from reconciler.core.model import Document, Problem
from reconciler.core.pruning import Memory
from tests.core.worlds import document_of


@dataclass
class Folder:
    """A manifest folder that is looked at again and again."""

    accepted: dict[str, Document] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    now: float = 100.0

    def look(
        self, *documents: Document, problems: tuple[Problem, ...] = (), failed: str = "", confirmed: str = ""
    ) -> Acceptance:
        seen = Seen(documents, problems, failed)
        found = accept(self.accepted, seen, self.memory, self.now, frozenset(confirmed.split()))
        self.accepted, self.memory = dict(found.documents), found.memory
        return found

    def look_later(self, seconds: float, *documents: Document, **more: Any) -> Acceptance:
        self.now += seconds
        return self.look(*documents, **more)


def folder_with(*documents: Document) -> Folder:
    folder = Folder()
    folder.look(*documents)
    return folder


def several(count: int) -> list[Document]:
    return [document_of(f"s{number}") for number in range(count)]


A, B = document_of("a"), document_of("b")
BROKEN = Problem("a.yaml", "expected a number", 6, 9, "spec.ctx", "a")
UNNAMED = Problem("junk.yaml", "this is not YAML", 1, 1)
