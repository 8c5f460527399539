"""What the interface asks of the controller."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from reconciler.api.editing import Editing
from reconciler.api.tokens import Tokens
from reconciler.core.counts import Counts


class Meter(Protocol):
    """Figures of servers."""

    def wanted(self) -> None:
        """Somebody looks: for a minute from now on they are looked at more often."""
        ...

    def latest(self) -> Mapping[str, Mapping[str, Any]]:
        """By server, as `usage` of `top -o json` has it, with `healthSeconds`; what is not known is None."""
        ...

    def cpu_seconds(self) -> Mapping[str, float]:
        """CPU time that each server's process has taken since its start, as of the last look."""
        ...

    def series(self, name: str) -> Mapping[str, Any]:
        """One server's last hour: `interval` (s), `at` (Unix times) and `series`, each with one value for each time."""
        ...


class Controller(Protocol):
    """What the interface asks of the controller."""

    @property
    def tokens(self) -> Tokens:
        """Who may act."""
        ...

    @property
    def counts(self) -> Counts:
        """What was counted since the controller began."""
        ...

    @property
    def meter(self) -> Meter | None:
        """Figures of servers; None where nobody is shown them."""
        ...

    def served(self) -> Mapping[str, str]:
        """`url` of the dashboard; `problem` where it is empty: why, and what to do."""
        ...

    def shortcomings(self) -> Sequence[str]:
        """Why nobody should rely on this controller now; nothing where all is well."""
        ...

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

    @property
    def editing(self) -> Editing:
        """Edits of the manifests folder."""
        ...

    def refuse_resting(self, name: str, kind: str) -> None:
        """Raise EditRefusedError for a server that this request does not have run."""
        ...

    async def sync(self) -> dict[str, Any]:
        """Ask the source's remote now; the source's item after that, its errors in it. Raises NoSourceError."""
        ...

    async def suspend_source(self, name: str, suspended: bool) -> dict[str, Any]:
        """Commit that a source rests or goes on; its item after that. Raises NoSourceError, StateUnwritableError."""
        ...

    @property
    def folder(self) -> Path:
        """The state folder."""
        ...

    def is_writable(self) -> bool:
        """Whether what is in the state folder is all that is known."""
        ...

    def on_commit(self, tell: Callable[[], None]) -> None:
        """Have it called whenever something was committed; it must be quick."""
        ...

    def known_names(self) -> frozenset[str]:
        """Servers that are declared, or not gone yet."""
        ...

    def told(self, server: str, text: str, spec: Mapping[str, Any]) -> str:
        """What a server wrote, without the secrets that it is given, and was given when it was started by this spec."""
        ...

    async def configuration(self) -> dict[str, Any]:
        """The settings in force, and where each came from; no secrets."""
        ...
