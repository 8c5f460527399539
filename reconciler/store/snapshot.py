"""The database as the controller knows it, for those who read while the file cannot be written or is gone."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from reconciler.store.changes import Change
from reconciler.store.opening import prepared

MOST = 32 * 1024 * 1024
"""Bytes of a database that is given whole: the loop waits meanwhile (0.1 s)."""
_FORMAT = slice(18, 20)
"""Where a database's file says that it has a write-ahead log, which one in memory cannot have."""


def snapshot(
    connection: sqlite3.Connection, waiting: Iterable[Change], known: Callable[[], Sequence[Change]], path: Path
) -> bytes:
    """A database's bytes: what is on disk, and what waits to be written there.

    Without what has ended and was told before, where that cannot be read, or is more than MOST.
    """
    try:
        with closing(_copy(connection)) as copy:
            return _with(copy, waiting)
    except (sqlite3.Error, OverflowError):
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as empty:
            prepared(empty, path)
            return _with(empty, [*known(), *waiting])


def _copy(connection: sqlite3.Connection) -> sqlite3.Connection:
    pages, size = (connection.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "page_size"))
    if pages * size > MOST:
        raise OverflowError
    content = bytearray(connection.serialize())
    content[_FORMAT] = b"\1\1"
    copy = sqlite3.connect(":memory:", isolation_level=None)
    copy.deserialize(content)
    return copy


def _with(copy: sqlite3.Connection, changes: Iterable[Change]) -> bytes:
    for change in changes:
        with suppress(sqlite3.Error, ValueError):  # one that the database will never take
            change.run(copy)
    return copy.serialize()
