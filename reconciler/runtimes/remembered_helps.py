"""Helps of programs in the state folder, from controller to controller."""

import errno
import json
import os
import stat
from contextlib import suppress
from pathlib import Path

MOST_KEPT = 32
"""Helps that are remembered."""
LARGEST = 8 * 1024 * 1024
"""Most bytes of a file that are read: a help is at most 1 MiB, and a character of it takes up to six."""


def remembered(folder: Path, key: str, stamp: str) -> str | None:
    """What a program printed when it had this stamp; None where that is not known, or the file is no such one."""
    try:
        data = json.loads(_content(folder / f"{key}.json"))
        text = data["help"] if data["stamp"] == stamp else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return text if isinstance(text, str) else None


def remember(folder: Path, key: str, stamp: str, binary: str, text: str) -> None:
    """Keep what a program printed; the oldest of too many are removed."""
    draft = folder / f".{key}.draft"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        draft.write_text(json.dumps({"binary": binary, "stamp": stamp, "help": text}))
        draft.replace(folder / f"{key}.json")
        kept = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in kept[:-MOST_KEPT]:
            path.unlink()


def _content(path: Path) -> bytes:
    """Of a file that is one: a pipe is waited for by nobody. Raises OSError, also where it is too large."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            raise OSError(errno.EINVAL, "it is no file, or too large")
        return file.read()
