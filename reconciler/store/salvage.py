"""What can be read of a damaged database, row by row, into one in memory."""

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from reconciler.store.changes import Change
from reconciler.store.database import Database
from reconciler.store.opening import empty_in_memory, read_apart
from reconciler.store.trouble import TROUBLES

TABLES = ("meta", "documents", "servers", "instances", "events", "requests", "ports", "sources", "generations")
_UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)


def salvaged_file(path: Path) -> Database:
    """What can be read of the file at a path, which stays as it is."""
    memory = empty_in_memory(path)
    memory.conn.execute("BEGIN")
    with suppress(*TROUBLES):
        read_apart(path, lambda source: _salvage(source, memory.conn))
    memory.conn.execute("COMMIT")
    return memory


def salvaged(source: sqlite3.Connection, known: Sequence[Change], path: Path) -> Database:
    """What can be read through an open connection, and over that what is known."""
    memory = empty_in_memory(path)
    memory.conn.execute("BEGIN")
    _salvage(source, memory.conn)
    for change in known:
        change.run(memory.conn)
    memory.conn.execute("COMMIT")
    return memory


def _salvage(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    source.text_factory = lambda raw: raw.decode(errors="replace")  # one bad byte must not hide the rest
    for table in TABLES:
        _salvage_table(source, target, table)
    # A wrong id would disown the processes: the file `installation` has the right one.
    target.execute("delete from meta where instr(key || value, char(65533))")


def _salvage_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> None:
    """Copy the rows that can be read, from both ends: a damaged page ends the walk."""
    columns = [row[1] for row in target.execute(f"pragma table_info({table})")]
    there = set()
    with suppress(*_UNREADABLE):
        there = {row[1] for row in source.execute(f"pragma table_info({table})")}
    names = ", ".join(column for column in columns if column in there)
    if not names:
        return
    marks = ", ".join("?" for column in columns if column in there)
    for order in ("rowid", "rowid desc"):
        with suppress(*_UNREADABLE):
            for row in source.execute(f"select {names} from {table} order by {order}"):  # noqa: S608 - names of ours
                with suppress(sqlite3.IntegrityError, sqlite3.InterfaceError):
                    target.execute(f"insert or ignore into {table} ({names}) values ({marks})", tuple(row))  # noqa: S608
            return
