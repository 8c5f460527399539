"""Which model a process has in use: its path may lead to another file by now."""

import os
import stat
from contextlib import suppress
from typing import NamedTuple

MOST_LINKS = 40
SLACK = 1.0
"""Seconds by which a process's start may be told too early: it is counted from a boot that is told in whole seconds."""


class Mapped(NamedTuple):
    """A model's file in a process's memory."""

    inode: int
    path: str
    """As it is now: `… (deleted)` when it is gone."""


def mapped_models(pid: int) -> tuple[Mapped, ...]:
    """The `.gguf` files among its mappings (proc(5)); none where it reads them otherwise, or may not be looked at."""
    found = set()
    with suppress(OSError), open(f"/proc/{pid}/maps", "rb") as file:  # noqa: PTH123 - as everything of /proc
        for line in file:
            parts = line.split(None, 5)
            if len(parts) == 6 and b".gguf" in parts[5]:  # range, rights, offset, device, inode, path
                found.add(Mapped(int(parts[4]), os.fsdecode(parts[5].rstrip(b"\n"))))
    return tuple(sorted(found))


def model_in_use(path: str, mapped: tuple[Mapped, ...], since: float) -> str:
    """The real path of the model that a process has in use which was started at `since` (Unix time) with this path.

    Empty when it is unknown: the file, or a link on the way to it, has changed since then.
    """
    real = os.path.realpath(path)
    try:
        inode = os.stat(real).st_ino  # noqa: PTH116 - anything may stand on a command line
        if mapped:
            return real if any(one.inode == inode for one in mapped) else mapped[0].path
        return real if _changed_at(path) <= since + SLACK else ""
    except (OSError, ValueError):
        return mapped[0].path if mapped else ""


def _changed_at(path: str) -> float:
    """When the file, or the newest of the links that lead to it, became what it is."""
    latest = os.stat(path).st_ctime  # noqa: PTH116 - as above
    for _ in range(MOST_LINKS):
        link = _first_link(path)
        if link is None:
            break
        latest = max(latest, os.lstat(link).st_ctime)
        rest = path[len(link) :]
        path = os.path.join(os.path.dirname(link), os.readlink(link)) + rest  # noqa: PTH115, PTH118, PTH120
    return latest


def _first_link(path: str) -> str | None:
    end = 0
    while end < len(path):
        end = path.find("/", end + 1)
        prefix = path if end < 0 else path[:end]
        if prefix and stat.S_ISLNK(os.lstat(prefix).st_mode):
            return prefix
        if end < 0:
            break
    return None
