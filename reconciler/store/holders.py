"""Which program keeps a database locked, as far as the kernel tells (proc(5), /proc/locks)."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shlex import quote

LOCKS = Path("/proc/locks")
BESIDE = ("", "-shm")
"""What is locked: the file itself, and for a log's writer the shared memory."""
WRITER = 120
"""The byte of the shared memory that who writes has locked (sqlite.org/walformat.html)."""


def who_holds(path: Path) -> str:
    """What holds the database locked, and how to be rid of it."""
    pid = next(_writers(path), None)
    if pid is None:
        # `fuser` lists the controller too, which has the file open.
        return (
            f"another program holds {quote(str(path))} locked; see which, and end it (not the controller, pid "
            f"{os.getpid()}): fuser -v {quote(str(path))}"
        )
    name = "a program"
    with suppress(OSError):
        name = Path(f"/proc/{pid}/comm").read_text().strip() or name
    return f"another program holds {quote(str(path))} locked: pid {pid} ({name}); let it finish, or end it: kill {pid}"


def _writers(path: Path) -> Iterator[int]:
    """Processes but ours that have locked it for writing."""
    with suppress(OSError, ValueError):
        places = {}
        for suffix in BESIDE:
            with suppress(FileNotFoundError):
                found = os.stat(f"{path}{suffix}")  # noqa: PTH116 - the name is no path's sibling
                places[f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"] = suffix
        for line in LOCKS.read_text().splitlines():
            # `1: POSIX  ADVISORY  WRITE 4242 08:01:131 120 120`; who only waits has `->` behind the number.
            fields = line.split()
            if "->" in fields or fields[3] != "WRITE" or fields[5] not in places:
                continue
            first, last = int(fields[6]), fields[7]
            covers = first <= WRITER and (last == "EOF" or int(last) >= WRITER)
            pid = int(fields[4])
            if pid > 0 and pid != os.getpid() and (covers or not places[fields[5]]):
                yield pid
