"""The prune guard: losing every server of an origin, or most of many, is held until a person confirms it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from reconciler.core.kinds import OtherDocument
from reconciler.core.model import Document

RENAME_WINDOW = 5.0
"""A document that appeared so many seconds before or after another went missing may be its new name."""
GUARDED_SIZE = 4
"""From this many wanted servers on, losing more than half of them at once is held."""
CONFIRM = "if this is meant, confirm it with: reconciler apply --prune"


@dataclass(frozen=True, slots=True)
class Held:
    """Why a missing document stays in force."""

    why: str
    prunable: bool = False
    """A person's word removes it."""
    unless_named: bool = False
    """A person's word on this very one removes it; it is not among those that one word on all of them confirms."""
    lasting: bool = False
    """Nothing but that word does: an accident may have taken it."""


DOUBT = Held(
    "held by the prune guard: it went missing together with most servers, or while its folder was unreadable, empty or "
    f"another file system's; {CONFIRM}",
    prunable=True,
    lasting=True,
)


class Remembered(Protocol):
    """What is known of the last minute."""

    @property
    def arrived(self) -> Mapping[str, float]:
        """When new documents came."""
        ...

    @property
    def pruned(self) -> Mapping[str, tuple[str, float]]:
        """Wanted servers that were removed: their origins, and when they went."""
        ...


@dataclass(frozen=True, slots=True)
class Loss:
    """What one origin lost. Servers that are suspended or left out by the active profile do not count."""

    origin: str
    missing: Collection[str] = ()
    lost: frozenset[str] = frozenset()
    wanted: int = 0
    lately: int = 0
    """Removed within the last minute."""
    net: int = 0
    """Lost now and lately, less the new ones that may be their new names."""
    before: int = 0
    """What was wanted before all that."""

    @classmethod
    def of(
        cls,
        origin: str,
        in_force: Mapping[str, Document | OtherDocument],
        running: frozenset[str],
        sure: Mapping[str, float],
        memory: Remembered,
    ) -> "Loss":
        """Compare what is missing with what was declared; `running` are to run."""
        wanted = {name for name in running if in_force[name].origin == origin}
        lost, arrived = wanted & sure.keys(), memory.arrived
        lately = [at for where, at in memory.pruned.values() if where == origin]
        times = {*(sure[name] for name in lost), *lately}
        new = {
            name
            for name in (arrived.keys() & wanted) - lost
            if any(abs(arrived[name] - at) <= RENAME_WINDOW for at in times)
        }
        return cls(
            origin,
            [name for name in sure if in_force[name].origin == origin],
            frozenset(lost),
            len(wanted),
            len(lately),
            len(lost) + len(lately) - len(new),
            len(wanted) + len(lately) - len(new),
        )


def guarded(loss: Loss, bare: Mapping[str, str]) -> dict[str, Held]:
    """All the missing ones, when all would stop, or more than half of many."""
    if loss.origin in bare:
        return dict.fromkeys(loss.missing, Held(bare[loss.origin], prunable=True))
    most = len(loss.lost) == loss.wanted or (loss.before >= GUARDED_SIZE and loss.net * 2 > loss.before)
    if not loss.lost or not most:
        return {}
    names = ", ".join(sorted(loss.lost)[:5]) + (", …" if len(loss.lost) > 5 else "")
    lately = f", after {loss.lately} within the last minute" if loss.lately else ""
    why = f"held by the prune guard: {len(loss.lost)} of {loss.wanted} servers would stop ({names}){lately}; {CONFIRM}"
    return dict.fromkeys(loss.missing, Held(why, prunable=True))
