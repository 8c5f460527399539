"""The state folder, which is its owner's alone: it says what this machine runs, and holds what servers wrote."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reconciler.installation import DATABASE

ENTRIES = (
    DATABASE,
    f"{DATABASE}-wal",
    f"{DATABASE}-shm",
    "installation",
    "lock",
    "holder.json",
    "logs",
    "helps",
    "git",
    "token",
)
"""What a controller keeps there for longer than it lives."""
OTHERS = 0o077
"""Mode bits of everybody but the owner."""
OTHERS_WRITE = 0o022


@contextmanager
def private(state: Path) -> Iterator[int]:
    """Make the folder, and keep others out; new files are their owner's alone for as long as the context lasts.

    Yields the caller's umask, for the servers to keep.
    """
    state.parent.mkdir(parents=True, exist_ok=True)
    before = os.umask(OTHERS)
    try:
        state.mkdir(mode=0o700, exist_ok=True)
        _keep_out(state)
        yield before
    finally:
        os.umask(before)


def _keep_out(state: Path) -> None:
    """What was made by hand, or by a version that left it to the umask, is closed. Others' files are left alone.

    The folder itself may be one that holds more than the state: it stays readable, but nobody else may put a database
    there. In a sticky folder they cannot replace ours.
    """
    found = state.stat()
    if found.st_uid == os.geteuid() and found.st_mode & OTHERS_WRITE and not found.st_mode & stat.S_ISVTX:
        with suppress(OSError):
            state.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS_WRITE)
    for name in ENTRIES:
        with suppress(OSError):
            _close(state / name)


def _close(path: Path) -> None:
    """Raises OSError when it is not there."""
    found = path.lstat()
    is_plain = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
    if is_plain and found.st_uid == os.geteuid() and found.st_mode & OTHERS:
        path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS)
