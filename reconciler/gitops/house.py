"""What a source asks of its controller."""

from collections.abc import Mapping
from typing import Protocol

from reconciler.core.accept import Beside, Seen
from reconciler.core.actions import Event
from reconciler.core.model import Document
from reconciler.core.source import SourceRecord


class House(Protocol):
    """A controller, as a source sees it."""

    def record(self) -> SourceRecord | None:
        """What was remembered of the source."""
        ...

    def remember(self, record: SourceRecord, events: list[Event]) -> None:
        """Commit what is now known of it, and tell of it. Raises sqlite3.Error."""
        ...

    def is_suspended(self) -> bool:
        """Whether a person suspended it."""
        ...

    def accepted(self) -> Mapping[str, Document]:
        """The documents in force."""
        ...

    def judged_with(self) -> Beside:
        """Documents of other kinds in force, and what else their judgement needs."""
        ...

    def others(self) -> Seen:
        """What the manifests folder says."""
        ...

    def poke(self) -> None:
        """The source says something new."""
        ...
