"""The database made anew: a complete new file beside it, then one rename.

A draft is filled and brought to the disk, and renamed to `state.db.new`. From that moment on it is what holds: what is
at the path is set aside, and the new one is renamed to it. Whoever finds a `state.db.new` at the start finishes that.
"""

import os
import sqlite3
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from reconciler.store.opening import BESIDE, Files, files_of

DRAFT = ".draft"
NEW = ".new"
KEPT = 5
"""Databases set aside that are kept; the oldest go."""


class Lost(StrEnum):
    """Why the file at the path is not to be used any more, to be read after its name."""

    DAMAGED = "was damaged"
    TAKEN = "was deleted or replaced by another"
    UNFINISHED = "was being made anew when the controller ended"


def new_one(path: Path) -> Path:
    """Where the new file of an unfinished renewal is, if there is one."""
    return path.with_name(path.name + NEW)


def is_unfinished(path: Path) -> bool:
    """Whether a renewal waits to be finished."""
    return os.path.exists(new_one(path))  # noqa: PTH110 - a Path raises where the folder may not be entered


def renew(source: sqlite3.Connection, path: Path, lost: Lost, ours: Files = ()) -> Path | None:
    """Put all that an open connection sees at the path; what was set aside. Raises sqlite3.Error, OSError.

    Files that are `ours` are replaced; others are set aside.
    """
    path.parent.mkdir(exist_ok=True)  # without parents: see controller.lock
    draft = path.with_name(path.name + DRAFT)
    _remove(draft)
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as target:
            source.backup(target)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
    except BaseException:
        _remove(draft)
        raise
    draft.replace(new_one(path))
    _sync(path.parent)
    return finish(path, lost, ours)


def finish(path: Path, lost: Lost = Lost.UNFINISHED, ours: Files = ()) -> Path | None:
    """Put the new file in place; what was set aside. Raises OSError."""
    there = files_of(path)
    is_others = there[0] is not None and there[0] not in ours
    for suffix, file in zip(BESIDE[1:], there[1:], strict=True):
        if file in ours or not is_others:
            with suppress(FileNotFoundError):
                os.unlink(f"{path}{suffix}")  # noqa: PTH108 - a suffix of the whole name
    aside = _set_aside(path, "broken" if lost is Lost.DAMAGED else "replaced") if is_others else None
    new_one(path).replace(path)
    _sync(path.parent)
    return aside


def forget(path: Path) -> None:
    """Drop the new file: what is at the path can be used again. Raises OSError."""
    new_one(path).unlink(missing_ok=True)


def _set_aside(path: Path, what: str) -> Path:
    """Move a database away, under a name that tells what it is and when (UTC)."""
    moment = datetime.fromtimestamp(time.time(), UTC).strftime("%Y%m%dT%H%M%SZ")
    aside, number = path.with_name(f"{path.name}.{what}-{moment}"), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.{what}-{moment}-{number}")
    for suffix in BESIDE:
        with suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")  # noqa: PTH104 - as above
    asides = [one for one in path.parent.glob(f"{path.name}.{what}-*") if not one.name.endswith(BESIDE[1:])]
    for old in sorted(asides, key=lambda one: one.lstat().st_ctime_ns)[:-KEPT]:
        _remove(old)
    return aside


def _remove(path: Path) -> None:
    for suffix in (*BESIDE, "-journal"):
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{suffix}")  # noqa: PTH108 - as above


def _sync(folder: Path) -> None:
    """Have renames on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
