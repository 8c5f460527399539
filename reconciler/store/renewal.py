"""The database made anew: from what is still open, from what can be read of a damaged one, from memory."""

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from reconciler.store.changes import Change
from reconciler.store.database import Database
from reconciler.store.opening import BESIDE, Files, files_of, open_database

DRAFT = ".draft"
KEPT = 5
"""Databases set aside that are kept; the oldest go."""
TABLES = ("meta", "documents", "servers", "instances", "events", "requests", "ports", "sources")


def draft_copy(source: sqlite3.Connection, path: Path) -> Path:
    """Everything an open connection still sees, in a file beside the database. Raises sqlite3.Error, OSError."""
    return _drafted(path, source.backup)


def draft_salvaged(source: sqlite3.Connection | None, changes: Sequence[Change], path: Path) -> Path:
    """What can be read of a damaged database, and over that what is known. Raises sqlite3.Error, OSError."""

    def fill(target: sqlite3.Connection) -> None:
        open_database(path.with_name(path.name + DRAFT)).close()
        target.execute("BEGIN IMMEDIATE")
        for table in TABLES if source is not None else ():
            _salvage(source, target, table)
        for change in changes:
            change.run(target)
        target.execute("COMMIT")

    return _drafted(path, fill)


def _drafted(path: Path, fill: Callable[[sqlite3.Connection], None]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + DRAFT)
    _remove(draft)
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as target:
            fill(target)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
    except BaseException:
        _remove(draft)
        raise
    return draft


def _remove(path: Path) -> None:
    for suffix in (*BESIDE, "-journal"):
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{suffix}")  # noqa: PTH108 - a suffix of the whole name


def _salvage(source: sqlite3.Connection | None, target: sqlite3.Connection, table: str) -> None:
    """Copy the rows that can be read, from both ends: a damaged page ends the walk."""
    assert source is not None
    columns = [row[1] for row in target.execute(f"pragma table_info({table})")]
    there = set()
    with suppress(sqlite3.DatabaseError):
        there = {row[1] for row in source.execute(f"pragma table_info({table})")}
    names = ", ".join(column for column in columns if column in there)
    if not names:
        return
    marks = ", ".join("?" for column in columns if column in there)
    for order in ("rowid", "rowid desc"):
        with suppress(sqlite3.DatabaseError):
            for row in source.execute(f"select {names} from {table} order by {order}"):  # noqa: S608 - names of ours
                with suppress(sqlite3.IntegrityError, sqlite3.InterfaceError):
                    target.execute(f"insert or ignore into {table} ({names}) values ({marks})", tuple(row))  # noqa: S608
            return


def set_aside(path: Path, what: str, wall: float, ours: Files = ()) -> Path | None:
    """Move a database away, under a name that tells what it is and when (UTC); None when there is none.

    Files that are `ours` do not belong to it.
    """
    moment = datetime.fromtimestamp(wall, UTC).strftime("%Y%m%dT%H%M%SZ")
    aside, number = path.with_name(f"{path.name}.{what}-{moment}"), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.{what}-{moment}-{number}")
    moved = False
    for suffix, file in zip(BESIDE, files_of(path), strict=True):
        if file in ours:
            continue
        with suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")  # noqa: PTH104 - as above
            moved = moved or not suffix
    asides = [one for one in path.parent.glob(f"{path.name}.{what}-*") if not one.name.endswith(BESIDE[1:])]
    for old in sorted(asides, key=lambda one: one.lstat().st_ctime_ns)[:-KEPT]:
        _remove(old)
    return aside if moved else None


def put_in_place(draft: Path, path: Path) -> Database:
    """Make the draft the database, and open it. Raises sqlite3.Error, OSError."""
    for suffix in BESIDE[1:]:
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{suffix}")  # noqa: PTH108 - as above
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return open_database(path)
