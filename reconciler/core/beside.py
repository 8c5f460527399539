"""What a look at the manifests is judged with, beside the documents of servers that are in force."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.core.defaults import Check
from reconciler.core.kinds import Others
from reconciler.core.selection import Selection
from reconciler.core.spec import DEFAULT_HOST


@dataclass(frozen=True, slots=True)
class Beside:
    """What is in force beside the documents of servers, and what else their judgement needs."""

    others: Others = field(default_factory=dict)
    """Accepted documents of the other kinds."""
    selection: Selection = field(default_factory=Selection)
    """Which servers were wanted last."""
    asked: str | None = None
    """The profile that a person asked for ('' for none), while that is not done."""
    check: Check = lambda _: ()
    """What the engine refuses in a spec."""
    known: frozenset[str] = frozenset()
    """Servers that are declared elsewhere, so that a profile may name them."""
    counted: Mapping[str, int] = field(default_factory=dict)
    """The highest generation that is known of documents that were gone: servers by name, others by key."""
    server_host: str = DEFAULT_HOST
    """Where servers listen that neither say so nor take it over from defaults."""
    nothing_runs: bool = False
    """The documents are judged by themselves, as before any start: there is nothing that an accident could end."""


NOTHING = Beside()
