"""Read-only questions to the state database about what has happened: generations, events, starts and their ends."""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from reconciler.store.items import Item, generation_item, restart_item, timestamp
from reconciler.store.read import knows_kinds, origin_column, understood

# ---------------------------------------------------------------- generations


def generations(db: sqlite3.Connection, name: str, kind: str = "LlamaServer") -> list[Item]:
    """What was accepted of a document, oldest first; the last one is in force unless the document is gone."""
    key = [kind, name]
    rows = []
    if knows_kinds(db):
        rows = db.execute("select * from generations where kind = ? and name = ? order by id", key).fetchall()
    own = "" if knows_kinds(db) else ", '' as own, '' as came_from"
    columns = f"*, '' as revision, {origin_column(db)}{own}"
    present = db.execute(f"select {columns} from documents where kind = ? and name = ?", key).fetchone()  # noqa: S608 - names of ours
    if present is not None and (not rows or rows[-1]["generation"] != present["generation"]):
        # Of an older version's database, or of one that was made anew.
        rows.append(present)
    return [generation_item(row, in_force=present is not None and row is rows[-1]) for row in rows]


def named_in_generations(db: sqlite3.Connection, kind: str = "LlamaServer") -> list[str]:
    """All of a kind of which something was accepted, as far back as is known."""
    asked = "select name from documents where kind = :kind"
    if knows_kinds(db):
        asked += " union select name from generations where kind = :kind"
    return [row[0] for row in db.execute(f"{asked} order by 1", {"kind": kind})]


# ---------------------------------------------------------------- events and restarts


@dataclass(frozen=True)
class EventFilter:
    """Which events are meant."""

    since: float = 0.0
    """Unix time: those that happened then or later, if only for the last time."""
    reasons: tuple[str, ...] = ()
    """In any case of letters; none: all."""
    warnings: bool = False
    """Warnings alone."""


def events(
    db: sqlite3.Connection,
    wanted: Iterable[str] | None = None,
    *,
    limit: int | None = None,
    only: EventFilter = EventFilter(),
) -> list[Item]:
    """The newest `limit` events (all: None) of the named servers (all: None), in the order of their last time."""
    where, values = _where(wanted)
    where = f"{where or 'where true'} and last_at >= ?{' and warning' if only.warnings else ''}"
    values = [*values, only.since, *(reason.lower() for reason in only.reasons)]
    if only.reasons:
        where += f" and lower(reason) in ({', '.join('?' * len(only.reasons))})"
    rows = db.execute(f"select * from events {where} order by last_at desc, id desc limit ?", [*values, _most(limit)])  # noqa: S608 - only question marks are put in
    return [event_item(row) for row in reversed(rows.fetchall())]


def event_item(row: sqlite3.Row) -> Item:
    """An event as `get events -o json` shows it."""
    return {
        "server": row["server"],
        "type": "Warning" if row["warning"] else "Normal",
        "reason": row["reason"],
        "message": row["message"],
        "count": row["count"],
        "firstAt": timestamp(row["first_at"]),
        "lastAt": timestamp(row["last_at"]),
    }


def restarts(db: sqlite3.Connection, wanted: Iterable[str] | None = None, *, limit: int | None = None) -> list[Item]:
    """The newest `limit` starts (all: None) of the named servers (all: None), one for each instance, oldest first."""
    where, values = _where(wanted)
    rows = db.execute(
        f"select server, row from instances {where} order by started_at desc, rowid desc limit ?",  # noqa: S608 - as above
        [*values, _most(limit)],
    )
    return [restart_item(row) for _, row in understood(reversed(rows.fetchall()))]


def spec_of(db: sqlite3.Connection, uid: str) -> Item:
    """What an instance was started by; empty where that is not known."""
    for _, row in understood(db.execute("select server, row from instances where uid = ?", [uid])):
        return dict(row.get("spec") or {})
    return {}


def _where(wanted: Iterable[str] | None) -> tuple[str, list[Any]]:
    if wanted is None:
        return "", []
    values = list[Any](wanted)
    return f"where server in ({', '.join('?' * len(values))})", values


def _most(limit: int | None) -> int:
    return -1 if limit is None else limit


def launch(db: sqlite3.Connection, uid: str) -> Item | None:
    """How an instance was started: `argv` and `env` without secrets; None when that is not known."""
    row = db.execute("select launch from instances where uid = ?", [uid]).fetchone()
    return json.loads(row["launch"]) if row is not None and row["launch"] else None
