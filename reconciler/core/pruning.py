"""Which missing documents count as gone. What an accident may have taken stays, until a person confirms it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf

from reconciler.core.guard import DOUBT, RENAME_WINDOW, Held, Loss, guarded
from reconciler.core.kinds import OtherDocument
from reconciler.core.model import Document
from reconciler.core.selection import NOBODY, Leaving
from reconciler.core.source import GIT, LOCAL

PRUNE_DELAY = 2.0
"""Seconds for which the missing documents must be the same ones before they count as gone.

Files vanish for moments during a rename, and a folder that is emptied or filled file by file is judged as a whole.
"""
LONG_DELAY = 10.0
"""The same where the manifests folder lost more than one within the last minute, or a folder in it is gone."""
LONGEST_DELAY = 60.0
"""Seconds after which a missing document counts as gone though others still come and go."""
PRUNE_WINDOW = 60.0
"""Seconds over which removals are judged together."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What acceptance remembers from look to look: monotonic times by name."""

    missing: Mapping[str, float] = field(default_factory=dict)
    """Since the first look that could have seen the document and did not."""
    arrived: Mapping[str, float] = field(default_factory=dict)
    stirred: float = -inf
    """When a document last went missing, or came back; or their folder did, after it was empty."""
    bare: frozenset[str] = frozenset()
    """Origins that declared nothing at the last look: that is an error, and no look that agrees with the next."""
    doubted: frozenset[str] = frozenset()
    """Missing ones that an accident may have taken: only a person's word removes them."""
    guarded: frozenset[str] = frozenset()
    """Those that the guard held at the last look; for a few seconds new names may still explain them."""
    pruned: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    """Wanted servers that were lately removed without anybody's word: where they came from, and when they went."""
    devices: Mapping[str, int] = field(default_factory=dict)
    """The file system that each folder was last seen on."""
    leaving: Leaving = NOBODY
    """Whom the active profile's selector lost."""


@dataclass(frozen=True, slots=True)
class Missing:
    """What one look says about the documents in force that it did not find."""

    in_force: Mapping[str, Document | OtherDocument]
    """Servers by name, documents of other kinds by key."""
    absent: Collection[str]
    unsure: Mapping[str, Held]
    """Those of which the look says nothing."""
    newcomers: Collection[str]
    """Documents that are in force for the first time."""
    bare: Mapping[str, str]
    """Origins that declare nothing any more, and that in words."""
    devices: Mapping[str, int]
    """The file system of each folder, by its name as shown."""
    parked: frozenset[str] = frozenset()
    """Servers that the active profile leaves out: losing them stops nobody."""

    def is_wanted(self, name: str) -> bool:
        """Whether it is to run."""
        return self.in_force[name].is_wanted and name not in self.parked


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
    sure = {name: memory.missing.get(name, now) for name in found.absent if name not in found.unsure}
    memory = _noted(found, memory, sure, now)
    wanted = frozenset(name for name in found.in_force if found.is_wanted(name))
    losses = [Loss.of(origin, found.in_force, wanted, sure, memory) for origin in (LOCAL, GIT)]
    guard = {name: why for loss in losses for name, why in guarded(loss, found.bare).items()}
    doubted = _doubted(found, memory, now)
    held = {**dict.fromkeys(doubted, DOUBT), **guard, **found.unsure}
    held = {**_with_servers(found, held), **held}
    delay = LONG_DELAY if _goes_on(losses, doubted) or _folder_gone(found, memory) else PRUNE_DELAY
    ripe_at = {name: min(memory.stirred + delay, at + LONGEST_DELAY) for name, at in sure.items() if name not in held}
    meant = {name for name in confirmed.intersection(found.absent) if name not in held or _yields(held[name])}
    removed = tuple(name for name in found.absent if name in meant or now >= ripe_at.get(name, inf))
    return Pruning(
        removed,
        {name: held[name].why for name in found.absent if name in held and name not in removed},
        tuple(sorted(name for name, why in held.items() if why.prunable and name not in removed)),
        _kept(found, replace(memory, doubted=doubted, guarded=frozenset(guard)), removed, meant, now),
        min((at for name, at in ripe_at.items() if name not in removed), default=None),
    )


def _yields(held: Held) -> bool:
    """To a person's word on this one."""
    return held.prunable or held.unless_named


def _with_servers(found: Missing, held: Mapping[str, Held]) -> dict[str, Held]:
    """What servers are told by goes with them, and not before."""
    waits = {found.in_force[name].origin for name in held if isinstance(found.in_force[name], Document)}
    others = [name for name in found.absent if not isinstance(found.in_force[name], Document)]
    why = Held("not removed while servers are held that went missing too")
    return {name: why for name in others if found.in_force[name].origin in waits}


def _noted(found: Missing, memory: Memory, sure: Mapping[str, float], now: float) -> Memory:
    """With what went and what came since the last look."""
    arrived = dict.fromkeys(set(found.newcomers) - memory.pruned.keys(), now)
    lately = {
        name: (origin, at)
        for name, (origin, at) in memory.pruned.items()
        if name not in found.in_force and now - at < PRUNE_WINDOW
    }
    bare = frozenset(found.bare)
    stirred = memory.stirred if sure.keys() == memory.missing.keys() and memory.bare <= bare else now
    return replace(
        memory, missing=sure, stirred=stirred, bare=bare, arrived={**arrived, **memory.arrived}, pruned=lately
    )


def _kept(found: Missing, memory: Memory, removed: Collection[str], meant: Collection[str], now: float) -> Memory:
    """What the next look has to know, when these were removed, some of them by a person's word."""
    ended = {name: found.in_force[name] for name in removed if name not in meant}
    pruned = {name: (one.origin, now) for name, one in ended.items() if found.is_wanted(name)}
    arrived = {name: at for name, at in memory.arrived.items() if name in found.in_force and name not in removed}
    waits = found.absent or memory.pruned or pruned
    return replace(
        memory,
        missing={name: since for name, since in memory.missing.items() if name not in removed},
        arrived=arrived if waits else {name: at for name, at in arrived.items() if now - at < RENAME_WINDOW},
        doubted=memory.doubted.difference(removed),
        guarded=memory.guarded.difference(removed),
        pruned={**memory.pruned, **pruned},
        devices={**memory.devices, **found.devices},
    )


def _doubted(found: Missing, memory: Memory, now: float) -> frozenset[str]:
    """Missing ones that an accident may have taken, of whatever look. New documents explain none of them.

    What the guard held belongs to them when others of it come back, or when it was missing for longer than a new name
    lets wait for itself.
    """
    back = not (memory.doubted | memory.guarded).issubset(found.absent)
    return frozenset(
        name
        for name in found.absent
        if name in memory.doubted
        or (name in memory.guarded and (back or now > memory.missing.get(name, now) + RENAME_WINDOW))
        or (name in found.unsure and found.unsure[name].lasting)
        or (found.in_force[name].origin == LOCAL and _is_unmounted(found.in_force[name].file, memory, found.devices))
    )


def _is_unmounted(file: str, memory: Memory, devices: Mapping[str, int]) -> bool:
    """Whether a folder above is on another file system than before, or was a file system's root and is gone."""
    for folder in _above(file):
        before = memory.devices.get(folder)
        if before is None:
            continue
        if devices.get(folder, before) != before:
            return True
        if folder not in devices and memory.devices.get(folder.rpartition("/")[0], before) != before:
            return True
    return False


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _goes_on(losses: Collection[Loss], doubted: Collection[str]) -> bool:
    """Whether the manifests folder lost more than one lately. A revision from Git is put in force whole."""
    return any(loss.origin == LOCAL and loss.net - len(loss.lost.intersection(doubted)) > 1 for loss in losses)


def _folder_gone(found: Missing, memory: Memory) -> bool:
    """Whether something is missing together with its folder."""
    gone = memory.devices.keys() - found.devices.keys()
    return bool(gone) and any(found.in_force[name].file.rpartition("/")[0] in gone for name in memory.missing)
