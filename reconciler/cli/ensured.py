"""What `ensure` is about: what was asked for, what is seen of a server, and the server once it is Ready."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.cli.failure import Failure
from reconciler.cli.invocation import Invocation
from reconciler.cli.judging import Item, uid_of
from reconciler.cli.probing import Answer, Subject
from reconciler.core.durations import describe_duration


@dataclass(frozen=True)
class Task:
    """What was asked for."""

    invocation: Invocation
    state: Path
    name: str
    until: float
    """Monotonic."""
    timeout: float
    may_start: bool

    @property
    def left(self) -> float:
        """Seconds. Raises Failure where there are none."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise Failure(f"{self.name} is not Ready within {describe_duration(self.timeout)}", self.why)
        return left

    @property
    def why(self) -> str:
        """Where to look."""
        return f"see why with: reconciler describe server {self.name}"


@dataclass(frozen=True)
class Seen:
    """What the database and the process table say of it."""

    item: Item
    """As its controller wrote it."""
    is_alive: bool
    asked: frozenset[str]
    launch: Mapping[str, Any] | None

    @property
    def start(self) -> tuple[str | None, int, str]:
        """Tells one start from another."""
        return uid_of(self.item), self.item["status"]["restarts"], self.phase

    @property
    def phase(self) -> str:
        """As its controller wrote it."""
        return str(self.item["status"]["phase"])

    @property
    def words(self) -> str:
        """The phase and its message."""
        message = self.item["status"]["message"]
        return f"{self.phase}: {message}" if message else self.phase


@dataclass(frozen=True)
class Found:
    """A server that is Ready."""

    seen: Seen
    subject: Subject
    answer: Answer
    was_asked: str
    """What was asked of the controller to have it so: `restart`, `start` or nothing."""
