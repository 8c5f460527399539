"""The database's files: opened for writing, known by their inodes, read once more when they cannot be written."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from reconciler.store.database import Database
from reconciler.store.migrations import migrations
from reconciler.store.trouble import DamagedError

OPEN_PATIENCE = 5.0
"""Seconds for another program to let go of the database when it is opened."""
COMMIT_PATIENCE = 0.25
"""Seconds for the same at a commit: the event loop waits meanwhile."""
BESIDE = ("", "-wal", "-shm")
"""What SQLite appends to the database's name for the files it consists of."""

Files = tuple[tuple[int, int] | None, ...]
_UNSEEN = (0, 0)
"""In place of the inode of a file that cannot be looked at."""


class NewerDatabaseError(Exception):
    """The database was written by a newer version of the program."""


def open_database(path: Path, patience: float = OPEN_PATIENCE) -> Database:
    """The database, made or migrated where need be. Raises NewerDatabaseError, sqlite3.Error, OSError."""
    path.parent.stat()  # SQLite has no word for a folder that is gone
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        database = prepared(connection, path)
        be_patient(connection, COMMIT_PATIENCE)
    except UnicodeDecodeError as error:
        connection.close()
        raise DamagedError(str(error)) from error
    except BaseException:
        connection.close()
        raise
    return database


def be_patient(connection: sqlite3.Connection, seconds: float) -> None:
    """How long to wait for another program's lock."""
    connection.execute(f"PRAGMA busy_timeout={seconds * 1000:.0f}")


def prepared(connection: sqlite3.Connection, path: Path) -> Database:
    """A connection with our tables in it."""
    connection.execute("PRAGMA foreign_keys=ON")
    db = Database(connection)
    _refuse_newer(db, path)
    db.enable_wal()
    # FULL: a commit that was followed by a spawn must survive a power cut (0.2 ms a commit).
    connection.execute("PRAGMA synchronous=FULL")
    migrations.apply(db)
    return db


def _refuse_newer(db: Database, path: Path) -> None:
    known = {migration.name for migration in migrations._migrations}  # noqa: SLF001 - it has no public listing
    unknown = [migration.name for migration in migrations.applied(db) if migration.name not in known]
    if unknown:
        message = (
            f"{path} was written by a newer reconciler (it has '{unknown[-1]}'); nothing was changed. "
            "Install that version again, or name another state folder with --state."
        )
        raise NewerDatabaseError(message)


def files_of(path: Path) -> Files:
    """Device and inode of the files that a database consists of; None for one that is not there."""
    return tuple(_inode(f"{path}{suffix}") for suffix in BESIDE)


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - asked before every commit: a Path costs more than the look
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        # It cannot be seen, which is not being gone: what is open can still be written.
        return _UNSEEN
    return found.st_dev, found.st_ino


def is_displaced(files: Files, path: Path) -> bool:
    """Whether what is at the path is not what was opened."""
    seen = zip(files, files_of(path), strict=False)
    return any(was not in (None, _UNSEEN) and now not in (was, _UNSEEN) for was, now in seen)


def is_missing(path: Path) -> bool:
    """Whether there is no database: an empty file is none either, one that cannot be seen may be one."""
    try:
        return path.stat().st_size == 0
    except OSError as error:
        return isinstance(error, FileNotFoundError)


def empty_in_memory(path: Path) -> Database:
    """Our tables with nothing in them, in memory only."""
    return prepared(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False), path)


def copy_in_memory(path: Path) -> Database:
    """All that a database holds which can be read but not written. Raises sqlite3.Error, OSError."""
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    read_apart(path, lambda source: source.backup(memory))
    return prepared(memory, path)


def read_apart(path: Path, take: Callable[[sqlite3.Connection], None]) -> None:
    """Have a database read by way of a copy, as SQLite writes beside what it reads. Raises sqlite3.Error, OSError."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            copied = Path(folder, path.name)
            for suffix in BESIDE[:2]:
                if os.path.exists(f"{path}{suffix}"):  # noqa: PTH110 - as above
                    shutil.copyfile(f"{path}{suffix}", f"{copied}{suffix}")
            with closing(sqlite3.connect(copied, isolation_level=None)) as connection:
                take(connection)
    except (OSError, sqlite3.OperationalError):
        # No room for temporary files either: what is in the write-ahead log waits until the file can be opened.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            take(connection)


def check(path: Path) -> None:
    """Read all of the database. Raises sqlite3.DatabaseError where it is damaged.

    Through SQLite alone: closing a descriptor of ours would drop its locks (fcntl(2)).
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=COMMIT_PATIENCE)) as db:
        db.execute("select 1 from meta").fetchone()  # an empty file is a sound database
        found = [row[0] for row in db.execute("pragma quick_check(1)")]
    if found != ["ok"]:
        raise DamagedError("; ".join(found))
