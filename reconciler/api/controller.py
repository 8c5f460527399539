"""What the interface asks of the controller."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Controller(Protocol):
    """What the interface asks of the controller."""

    def describe(self) -> dict[str, Any]:
        """Who it is."""
        ...

    def database(self) -> bytes:
        """All that it knows, as a database's file."""
        ...

    async def reconcile(self) -> dict[str, Any]:
        """Look at everything now; answer when the pass is done."""
        ...

    async def request(self, kind: str, servers: Sequence[str]) -> list[int]:
        """Commit what a person asks for. Raises UnknownServersError, StateUnwritableError."""
        ...

    async def preview(self, texts: Sequence[Mapping[str, str]], against: str | None = None) -> dict[str, Any]:
        """What would happen; with `against` in force of the Git source. Raises NoSourceError, BadRevisionError."""
        ...

    async def sync(self) -> dict[str, Any]:
        """Ask the source's remote now; the source's item after that, its errors in it. Raises NoSourceError."""
        ...

    async def suspend_source(self, name: str, suspended: bool) -> dict[str, Any]:
        """Commit that a source rests or goes on; its item after that. Raises NoSourceError, StateUnwritableError."""
        ...
