"""Which missing documents count as gone. What an accident may have taken stays, until a person confirms it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import inf

from reconciler.core.model import Document
from reconciler.core.source import LOCAL

PRUNE_DELAY = 2.0
"""Seconds for which the missing documents must be the same ones before they count as gone.

Files vanish for moments during a rename, and a folder that is emptied or filled file by file is judged as a whole.
"""
LONGEST_DELAY = 60.0
"""Seconds after which a missing document counts as gone though others still come and go."""
RENAME_WINDOW = 5.0
"""A document that appeared so many seconds before or after another went missing may be its new name."""
PRUNE_WINDOW = 60.0
"""Seconds over which removals are judged together."""
GUARDED_SIZE = 4
"""From this many wanted servers on, losing more than half of them at once is held."""
CONFIRM = "if this is meant, confirm it with: reconciler apply --prune"
_DOUBT = (
    "held by the prune guard: it went missing together with most servers, or while its folder was unreadable, empty or "
    f"another file system's; {CONFIRM}"
)


@dataclass(frozen=True, slots=True)
class Memory:
    """What acceptance remembers from look to look: monotonic times by name."""

    missing: Mapping[str, float] = field(default_factory=dict)
    """Since the first look that could have seen the document and did not."""
    arrived: Mapping[str, float] = field(default_factory=dict)
    stirred: float = -inf
    """When a document last went missing, or came back."""
    doubted: frozenset[str] = frozenset()
    """Missing ones that an accident may have taken: only a person's word removes them."""
    returning: bool = False
    """Some came back: the accident is being undone, and is no renaming."""
    guarded: frozenset[str] = frozenset()
    """Those that the guard held at the last look."""
    pruned: Mapping[str, float] = field(default_factory=dict)
    """Wanted servers that were lately removed without anybody's word."""
    devices: Mapping[str, int] = field(default_factory=dict)
    """The file systems that the folders of the last look were on."""


@dataclass(frozen=True, slots=True)
class Missing:
    """What one look says about the documents in force that it did not find."""

    in_force: Mapping[str, Document]
    absent: Collection[str]
    unsure: Mapping[str, str]
    """Those of which the look says nothing, with the reason."""
    newcomers: Collection[str]
    """Documents that are in force for the first time."""
    folder_problem: str
    """What is wrong with the folder as a whole."""
    devices: Mapping[str, int]
    """The file system of each folder, by its name as shown."""


@dataclass(frozen=True, slots=True)
class Pruning:
    """Which of them go, and which stay for what reason."""

    removed: tuple[str, ...]
    held: Mapping[str, str]
    prunable: tuple[str, ...]
    memory: Memory
    wake_at: float | None


def prune(found: Missing, memory: Memory, now: float, confirmed: frozenset[str]) -> Pruning:
    """Judge the missing documents. `now` is monotonic; `confirmed` are names whose removal a person confirmed."""
    absent = found.absent
    sure = {name: memory.missing.get(name, now) for name in absent if name not in found.unsure}
    stirred = memory.stirred if sure.keys() == memory.missing.keys() else now
    pruned = _still_counted(memory, found.in_force, now)
    arrived = {**memory.arrived, **{name: now for name in found.newcomers if name not in memory.pruned}}
    guarded = _guarded(found.in_force, sure, arrived, pruned)
    returning = _returning(absent, memory)
    doubted = frozenset() if _renamed(absent, arrived, now) and not returning else _doubted(found, sure, memory, now)
    held = {**dict.fromkeys(doubted, _DOUBT), **guarded, **found.unsure}
    prunable = {name for name, why in held.items() if why.endswith(CONFIRM)}
    ripe = {name for name, since in sure.items() if now >= _ripe_at(since, stirred)} - held.keys()
    meant = {name for name in confirmed.intersection(absent) if name not in held or name in prunable}
    removed = tuple(name for name in absent if name in ripe or name in meant)
    stopped = [name for name in removed if name not in meant and not found.in_force[name].spec.suspend]
    waiting = [_ripe_at(since, stirred) for name, since in sure.items() if name not in held and name not in removed]
    return Pruning(
        removed,
        {name: held[name] for name in absent if name in held and name not in removed},
        tuple(sorted(prunable.difference(removed))),
        Memory(
            {name: since for name, since in sure.items() if name not in removed},
            {name: at for name, at in arrived.items() if absent or pruned or stopped or now - at < RENAME_WINDOW},
            stirred,
            doubted.difference(removed),
            returning,
            frozenset(guarded),
            {**pruned, **dict.fromkeys(stopped, now)},
            {**memory.devices, **found.devices},
        ),
        min(waiting, default=None),
    )


def _ripe_at(since: float, stirred: float) -> float:
    return min(stirred + PRUNE_DELAY, since + LONGEST_DELAY)


def _still_counted(memory: Memory, in_force: Mapping[str, Document], now: float) -> dict[str, float]:
    """Lately removed ones that did not come back."""
    return {name: at for name, at in memory.pruned.items() if name not in in_force and now - at < PRUNE_WINDOW}


def _returning(absent: Collection[str], memory: Memory) -> bool:
    held = memory.doubted | memory.guarded
    return bool(held) and (memory.returning or not held.issubset(absent))


def _renamed(absent: Collection[str], arrived: Mapping[str, float], now: float) -> bool:
    """Whether there is a new name for each that is missing."""
    return sum(now - at <= RENAME_WINDOW for at in arrived.values()) >= len(absent)


def _doubted(found: Missing, sure: Mapping[str, float], memory: Memory, now: float) -> frozenset[str]:
    """Missing ones that were doubted before, that the guard held, or whose folder failed, was emptied or unmounted."""
    before = memory.devices
    moved = {folder for folder, device in found.devices.items() if before.get(folder, device) != device}
    late = now > max(sure.values(), default=now) + RENAME_WINDOW
    doubted = memory.doubted | (memory.guarded if late or _returning(found.absent, memory) else frozenset())
    return frozenset(
        name
        for name in found.absent
        if name in doubted
        or (found.folder_problem and found.unsure.get(name) == found.folder_problem)
        or (found.in_force[name].origin == LOCAL and found.in_force[name].file.rpartition("/")[0] in moved)
    )


def _guarded(
    in_force: Mapping[str, Document],
    missing: Mapping[str, float],
    arrived: Mapping[str, float],
    pruned: Mapping[str, float],
) -> dict[str, str]:
    """All the missing ones, when all would stop, or more than half of many; renames do not count."""
    lost = [name for name in missing if not in_force[name].spec.suspend]
    if not lost:
        return {}
    times = [*missing.values(), *pruned.values()]
    first, last = min(times) - RENAME_WINDOW, max(times) + RENAME_WINDOW
    wanted = {name for name, document in in_force.items() if not document.spec.suspend}
    new = {name for name, since in arrived.items() if name in wanted and first <= since <= last}
    new -= set(lost)
    net, before = len(lost) + len(pruned) - len(new), len(wanted - new) + len(pruned)
    if len(lost) < len(wanted) and not (before >= GUARDED_SIZE and net * 2 > before):
        return {}
    names = ", ".join(sorted(lost)[:5]) + (", …" if len(lost) > 5 else "")
    lately = f", after {len(pruned)} within the last minute" if pruned else ""
    why = f"held by the prune guard: {len(lost)} of {len(wanted)} servers would stop ({names}){lately}; {CONFIRM}"
    return dict.fromkeys(missing, why)
