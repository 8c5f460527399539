"""The kernel's own words about processes that it killed for want of memory, as far as they may be read."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

KERNEL_LOG = "/dev/kmsg"
MOST_RECORDS = 20_000
"""Read at one go; a kernel's log holds hardly more."""
MOST_KEPT = 256
LONGEST_RECORD = 8192
_FIRST_NAMESPACE = 0xEFFFFFFC
"""Inode of the pid namespace that a machine begins with: only there are pids those of the kernel's log."""
_CHOICE = re.compile(r"oom-kill:constraint=(?P<why>\w+),.*?(?:oom_memcg=(?P<group>[^,]*),.*)?pid=(?P<pid>\d+)")
_LIST, _LISTED = re.compile(r"Tasks state \(memory values"), re.compile(r"\[ *(?P<pid>\d+)\] +\d+ +\d+ +\d+ ")
_KILL = re.compile(r"Killed process (?P<pid>\d+) .*?anon-rss:(?P<held>\d+)kB")


@dataclass(frozen=True, slots=True)
class Killed:
    """One process that the kernel killed for want of memory."""

    group: str
    """The memory cgroup that was full; empty: the machine's memory was."""
    held: int
    """KiB of memory of its own."""
    read_at: float
    """Monotonic time at which it was read."""
    beside: frozenset[int] = frozenset()
    """The pids of all that were in the memory cgroup that was full, as far as the kernel lists them."""


class KernelLog:
    """What is new in the kernel's log since it was opened."""

    def __init__(self, path: str = KERNEL_LOG) -> None:
        self._file: int | None = None
        self.killed: dict[int, Killed] = {}
        """By pid, oldest first."""
        self._groups: dict[int, tuple[str, frozenset[int]]] = {}
        self._listed: set[int] = set()
        self._file = _open(path)

    @property
    def is_readable(self) -> bool:
        """Whether it would tell of a kill."""
        return self._file is not None

    def read(self, now: float) -> None:
        """Take in what was written since; `now` is the monotonic time."""
        for record in self._records():
            if _LIST.search(record):
                self._listed = set()
            elif found := _LISTED.search(record):
                self._listed.add(int(found["pid"]))
            elif found := _CHOICE.search(record):
                group = found["group"] or ""
                self._groups = {int(found["pid"]): (group, frozenset(self._listed) if group else frozenset())}
                self._listed = set()
            elif found := _KILL.search(record):
                pid = int(found["pid"])
                self.killed.pop(pid, None)
                group, beside = self._groups.get(pid, ("", frozenset()))
                self.killed[pid] = Killed(group, int(found["held"]), now, beside)
        for pid in list(self.killed)[:-MOST_KEPT]:
            del self.killed[pid]

    def _records(self) -> Iterator[str]:
        if (file := self._file) is None:
            return
        for _ in range(MOST_RECORDS):
            try:
                record = os.read(file, LONGEST_RECORD)
            except BrokenPipeError:
                continue  # what was to be read next is overwritten: it goes on with the oldest that is left
            except OSError:
                return
            if not record:
                return
            yield record.decode(errors="replace")

    def __del__(self) -> None:
        """Whoever reads is not always told that it is over."""
        self.close()

    def close(self) -> None:
        """Read no more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _open(path: str) -> int | None:
    """None where it may not be read, or tells of pids that are others here."""
    with suppress(OSError):
        if os.stat("/proc/self/ns/pid").st_ino != _FIRST_NAMESPACE:  # noqa: PTH116 - a link to no file
            return None
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with suppress(OSError):
            os.lseek(file, 0, os.SEEK_END)
        return file
    return None
