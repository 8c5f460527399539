"""Whether the kernel killed a process for want of memory: SIGKILL itself does not tell who sent it.

The kernel's log names its victims, but few users may read it. Its counters can be read by all, and tell whether anybody
was killed since they were read last, in a memory cgroup or on the machine. The machine's alone prove only that it was
not the kernel: where they rose, it may have been another that was killed.
"""

import os
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from reconciler.runtimes.kernel_log import KERNEL_LOG, KernelLog, Killed

_NONE: Mapping[int, int] = {}
SPACING = 10.0
"""Seconds between the readings that are kept: a kill is counted a moment before its victim is seen to have ended."""
SELDOM = 10
"""At each so many-th fresh look it is looked anew in which memory cgroup a process is."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the kernel tells."""

    proc: str = "/proc"
    groups: str = "/sys/fs/cgroup"
    log: str = KERNEL_LOG


@dataclass(slots=True)
class _Count:
    """A counter of kills: its last two readings, at least `SPACING` apart."""

    older: int
    older_at: float
    newer: int
    newer_at: float

    def note(self, value: int, now: float) -> None:
        if now - self.newer_at >= SPACING:
            self.older, self.older_at = self.newer, self.newer_at
            self.newer, self.newer_at = value, now

    def claim(self) -> None:
        """One of the kills is accounted for."""
        self.older += 1
        self.newer = max(self.newer, self.older)


class MemoryKills:
    """What the kernel killed for want of memory while somebody looked."""

    def __init__(self, places: Places | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = places or Places()
        self._clock = clock
        self._log = KernelLog(self._places.log)
        self._machine: _Count | None = None
        self._counts: dict[str, _Count] = {}
        """By the file in which a memory cgroup counts."""
        self._files: dict[int, str] = {}
        """That of each process, by pid; empty: there is none."""
        self._looks = 0
        """Fresh ones so far."""
        self._alive: set[int] = set()
        """At the last fresh look."""
        self._parents: dict[int, int] = {}
        """Of processes that were seen to belong to a script, by pid."""

    def look(self, pids: Collection[int], *, fresh: bool, children: Mapping[int, int] = _NONE) -> None:
        """Read the counters of these live processes: of new ones, and where `fresh` of all.

        `children`: those of them that a script began in its place, with the script's pid.
        """
        self._parents.update(children)
        new = set(pids) if fresh else set(pids) - self._files.keys()
        if not new and self._machine is not None:
            return
        now = self._clock()
        self._log.read(now)
        for pid in set(pids) - self._files.keys():
            self._log.killed.pop(pid, None)  # of another process, which had that number
        machine = _kills_in(f"{self._places.proc}/vmstat")
        self._machine = _noted(self._machine, machine, now)
        unresolved = new
        if fresh:
            unresolved = {pid for pid in new if self._is_to_be_resolved(pid)}
            self._looks += 1
            # What has ended since the last time is judged after this look.
            kept, self._alive = new | self._alive, new
            self._files = {pid: file for pid, file in self._files.items() if pid in kept}
            self._parents = {pid: parent for pid, parent in self._parents.items() if parent in kept}
        self._files |= {pid: self._count_of(pid) for pid in unresolved}
        for file in set(self._files.values()) - {""} if fresh else {self._files[pid] for pid in new} - {""}:
            if (count := _noted(self._counts.get(file), _kills_in(file), now)) is not None:
                self._counts[file] = count
        self._counts = {file: count for file, count in self._counts.items() if file in self._files.values()}

    def _is_to_be_resolved(self, pid: int) -> bool:
        """Who has just begun may be moved into another cgroup yet; later that is rare, and asking costs much."""
        return pid not in self._files or pid not in self._alive or pid % SELDOM == self._looks % SELDOM

    def _count_of(self, pid: int) -> str:
        """The file in which the memory cgroup of a process counts kills, as far as there is one."""
        with suppress(OSError, ValueError):
            for line in _read(f"{self._places.proc}/{pid}/cgroup").splitlines():
                _, controllers, path = line.split(":", 2)
                name = "memory.events" if not controllers else "memory/{}/memory.oom_control"
                if controllers and "memory" not in controllers.split(","):
                    continue
                inner = name.format(path.strip("/")) if controllers else f"{path.strip('/')}/{name}"
                if os.access(file := f"{self._places.groups}/{inner}", os.R_OK):
                    return file
        return ""

    def named(self, pid: int) -> str | None:
        """What the kernel's own log says of its having killed this one; None where it says nothing."""
        self._log.read(self._clock())
        killed = self._log.killed.pop(pid, None)
        if killed is None:
            return None
        self._claim(pid)
        return _told(killed)

    def evidence(self, pid: int, *, is_itself: bool = True) -> str | None:
        """How it is known that the kernel killed it for want of memory; empty: it did not; None: that cannot be told.

        `is_itself`: it died by the signal itself; otherwise a child of it may have.
        """
        if named := self.named(pid):
            return named
        machine, count = self._machine, self._counts.get(self._files.get(pid, ""))
        rise = _rise(machine, f"{self._places.proc}/vmstat")
        if machine is None or not rise:
            return None if rise is None else ""
        others = [victim for victim, killed in self._log.killed.items() if killed.read_at >= machine.older_at]
        if others and not is_itself:
            mine = [victim for victim in others if self._is_child(victim, self._log.killed[victim], pid)]
            return self.named(mine[-1]) if mine else None
        if is_itself and len(others) >= rise:
            return ""
        file = self._files.get(pid, "")
        within = _rise(count, file)
        if not within:
            return None  # somebody was killed, but not where this one was seen last, or nobody knows where
        self._claim(pid)
        return f"the kernel has killed for want of memory in its memory cgroup ({file}): oom_kill rose by {within}"

    def _is_child(self, victim: int, killed: Killed, pid: int) -> bool:
        """Whether one that the kernel killed was seen to belong to this one, or stood with it in a group of their own.

        Where this program stands in the group too, so may anybody.
        """
        return self._parents.get(victim) == pid or (pid in killed.beside and os.getpid() not in killed.beside)

    def _claim(self, pid: int) -> None:
        file = self._files.get(pid, "")
        for count, counts in ((self._machine, f"{self._places.proc}/vmstat"), (self._counts.get(file), file)):
            if count is not None and _rise(count, counts):
                count.claim()

    def close(self) -> None:
        """Read no more."""
        self._log.close()


def _told(killed: Killed) -> str:
    full = f"its memory cgroup {killed.group} was full" if killed.group else "the machine's memory was full"
    return f"the kernel killed it: {full}, and it held {killed.held / 1024:.0f} MiB"


def _noted(count: _Count | None, value: int | None, now: float) -> _Count | None:
    if value is None or count is None:
        return count if value is None else _Count(value, now, value, now)
    count.note(value, now)
    return count


def _rise(count: _Count | None, file: str) -> int | None:
    value = _kills_in(file) if count is not None else None
    return None if count is None or value is None else max(0, value - count.older)


def _kills_in(file: str) -> int | None:
    """The line `oom_kill` of a file of counters; None where there is none."""
    with suppress(OSError, ValueError):
        for line in reversed(_read(file).splitlines()):
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return None


def _read(file: str) -> str:
    with open(file, "rb", buffering=0) as opened:  # noqa: PTH123 - a Path costs more than the read
        return opened.read().decode(errors="replace")
