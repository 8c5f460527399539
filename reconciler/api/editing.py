"""What the interface asks of the controller about manifests. What is refused is an EditRefusedError."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from reconciler.manifests.changing import Change

Answer = dict[str, Any]
Allowed = Callable[[str | None], bool]
"""Whether a file of this digest may be written over; None: there is none."""


class Editing(Protocol):
    """Edits of the manifests folder. They answer what was (or, with `dry_run`, would be) written, and what follows."""

    async def manifests(self) -> list[Answer]:
        """All manifest files: what they declare, and what is wrong with them."""
        ...

    async def manifest(self, name: str) -> Answer:
        """One of them with its `text`, and the `digest` that stands for it."""
        ...

    async def plan(self, texts: Mapping[str, str | None]) -> Answer:
        """What would happen with these texts of files; None: without the file."""
        ...

    async def put(self, name: str, text: str | None, allowed: Allowed, *, dry_run: bool) -> Answer:
        """Write a whole file, or remove it."""
        ...

    async def respec(self, server: str, changes: Sequence[Change], *, dry_run: bool) -> Answer:
        """Set and remove fields of a server's document. Raises UnknownServersError."""
        ...

    async def suspend(self, server: str, *, suspended: bool, dry_run: bool) -> Answer:
        """Have a server's document say whether it rests. Raises UnknownServersError."""
        ...

    async def apply(self, text: str, *, dry_run: bool) -> Answer:
        """Put documents into the folder, each in the place of the one of its name."""
        ...

    async def use(self, profile: str, *, dry_run: bool) -> Answer:
        """Make a profile the active one; empty: none. Raises UnknownServersError."""
        ...
