"""The state database as the interface reads it: rows as they are, so that only what has changed is made anew."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeVar

from reconciler.api.controller import Controller
from reconciler.store import read

NEWEST = 100
"""Events and starts that are kept at hand."""
MOST_NEW = 1000
"""Events, or starts, that one look can bring: who wants to be told of more is told all anew."""
ENDED_WITHIN = 30.0
"""Seconds after its end in which a start's row may still change: a cause may be found later."""
_MOST_ENDED = 400
_START = "select uid, rowid, row, ended_at from instances where"
T = TypeVar("T")


class OfServer(NamedTuple):
    """What the tables have of one server, as text where it is JSON."""

    document: sqlite3.Row | None
    record: str
    instance: str
    """The open one's row; empty where there is none."""
    port: int | None


class Raw(NamedTuple):
    """What one look has brought."""

    servers: Mapping[str, OfServer]
    events: Sequence[sqlite3.Row]
    """Those that are new since the last look, or were counted on."""
    starts: Sequence[tuple[str, int, str]]
    """Uid, number in their order, and row of those that may have changed."""
    rest: Sequence[tuple[str, str]]
    """All else, each with a word for what it is: facts, sources, documents of other kinds."""
    is_whole: bool = True
    """Whether nothing was left out: more may have happened than one look brings."""


class Tables:
    """Where the state cannot be written, what the controller knows is read in its place."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        """Device and inode of what is open; None: it is no file."""
        self._seen = (0, 0.0)
        """Id and last time of the newest event."""
        self._ended = 0.0
        self._running: frozenset[str] = frozenset()
        """Uids, as of the last look."""
        self._row = 0
        """The newest start's number."""
        self._is_first = True
        self.turn = asyncio.Lock()
        """Held for what takes longer: threads beside the controller's loop would hold it up, were they many."""

    def close(self) -> None:
        """Read no more."""
        if self._db is not None:
            self._db.close()
        self._db = None

    @property
    def db(self) -> sqlite3.Connection:
        """What was looked at last; to be asked during the look."""
        return self._db or self._connection()

    def _connection(self) -> sqlite3.Connection:
        """What there is to be read now. Raises ReadError."""
        if not self._controller.is_writable():
            self.close()
            self._db, self._file = _copy(self._controller.database(), self._controller.folder), None
            return self._db
        file = _inode(self._controller.folder / read.DATABASE)
        if self._db is None or file is None or file != self._file:
            self.close()
            self._db, self._file = read.open_readonly(self._controller.folder), file
        return self._db

    def look(self) -> Raw:
        """All that may have changed since the last look. Raises ReadError, sqlite3.Error."""
        db = self._connection()
        db.execute("begin")
        try:
            events, over = self._events(db), self._over(db)
            is_whole = self._is_first or max(len(events), len(over)) < MOST_NEW
            found = Raw(_servers(db), events, self._starts(db, over), _rest(db), is_whole)
        finally:
            db.execute("rollback")
        self._is_first = False
        return found

    def _events(self, db: sqlite3.Connection) -> list[sqlite3.Row]:
        query = "select * from events where id > ? or last_at >= ? order by last_at desc, id desc limit ?"
        most = NEWEST if self._is_first else MOST_NEW  # nobody was told anything before the first look
        found = db.execute(query, [*self._seen, most]).fetchall()[::-1]
        for row in found:
            self._seen = max(self._seen[0], row["id"]), max(self._seen[1], row["last_at"])
        return found

    def _over(self, db: sqlite3.Connection) -> list[sqlite3.Row]:
        """Starts that have ended since the last look, whatever the clock says of that; nothing at first."""
        running = frozenset(uid for (uid,) in db.execute("select uid from instances where ended_at is null"))
        before, self._running = self._running, running
        row, self._row = self._row, db.execute("select coalesce(max(rowid), 0) from instances").fetchone()[0]
        if self._is_first:
            return []
        is_over = "ended_at is not null and (uid in (select value from json_each(?)) or rowid > ?)"
        query = f"{_START} {is_over} limit ?"
        return db.execute(query, [json.dumps(sorted(before - running)), row, MOST_NEW]).fetchall()

    def _starts(self, db: sqlite3.Connection, over: Sequence[sqlite3.Row]) -> list[tuple[str, int, str]]:
        """Those that run, those that are over, and of earlier ones what may still change; at first the newest."""
        most = NEWEST if self._is_first else _MOST_ENDED
        query = f"{_START} ended_at >= ? order by ended_at desc limit ?"
        ended = db.execute(query, [self._ended - ENDED_WITHIN, most]).fetchall()
        self._ended = max([self._ended, *(row["ended_at"] for row in ended)])
        running = db.execute(f"{_START} ended_at is null").fetchall()
        return list({row["uid"]: (row["uid"], row["rowid"], row["row"]) for row in (*over, *ended, *running)}.values())

    async def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Answer what takes longer, on a thread. Raises ReadError."""
        content = None if self._controller.is_writable() else self._controller.database()
        async with self.turn:
            return await asyncio.to_thread(_answer, self._controller.folder, content, question)


def _answer(folder: Path, content: bytes | None, question: Callable[[sqlite3.Connection], T]) -> T:
    with closing(read.open_readonly(folder) if content is None else _copy(content, folder)) as db:
        try:
            return question(db)
        except sqlite3.Error as error:
            raise read.ReadError(read.explain(error, folder / read.DATABASE)) from None


def _copy(content: bytes, folder: Path) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.deserialize(content)
    return read.as_known(db, folder / read.DATABASE)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _servers(db: sqlite3.Connection) -> dict[str, OfServer]:
    columns = "name, file, line, labels, annotations, spec, generation, origin, own, came_from"
    accepted = db.execute(f"select {columns} from documents where kind = 'LlamaServer'")  # noqa: S608 - names of ours
    documents = {row["name"]: row for row in accepted}
    records = dict(db.execute("select name, record from servers").fetchall())
    open_ones = db.execute("select server, row from instances where ended_at is null order by started_at").fetchall()
    instances = dict(open_ones)
    ports = dict(db.execute("select server, port from ports").fetchall())
    return {
        name: OfServer(documents.get(name), records.get(name, ""), instances.get(name, ""), ports.get(name))
        for name in sorted({*documents, *records})
    }


def _rest(db: sqlite3.Connection) -> list[tuple[str, str]]:
    facts = db.execute("select 'meta/' || key, value from meta where key <> 'manifestsMemory'").fetchall()
    sources = db.execute("select 'source/' || name, row from sources order by name").fetchall()
    columns = "labels || annotations || spec || file || line || origin || generation"
    others = db.execute(
        f"select kind || '/' || name, {columns} from documents where kind <> 'LlamaServer' order by kind, name"  # noqa: S608 - names of ours
    ).fetchall()
    return [(row[0], row[1]) for row in (*facts, *sources, *others)]
