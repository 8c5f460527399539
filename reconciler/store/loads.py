"""What the history tells of a server's load: its command line, and how long the last one took."""

import json
import sqlite3
from collections.abc import Mapping
from typing import Any, NamedTuple

MOST = 20
"""Starts that are looked through for one that became Ready."""


class Load(NamedTuple):
    """What one instance loads."""

    argv: tuple[str, ...] = ()
    """Empty where it is not known."""
    usual: float | None = None
    """Seconds from start to Ready of the last one with the same model."""


def load_of(db: sqlite3.Connection, uid: str) -> Load:
    """What is known of an instance's load."""
    row = db.execute("select server, row, launch from instances where uid = ?", [uid]).fetchone()
    if row is None:
        return Load()
    launch = _object(row["launch"])
    argv = tuple(str(word) for word in launch.get("argv", ()))
    return Load(argv, _usual(db, row["server"], uid, _model(_object(row["row"]))))


def _usual(db: sqlite3.Connection, server: str, uid: str, model: Any) -> float | None:
    query = "select row from instances where server = ? and uid <> ? order by started_at desc, rowid desc limit ?"
    for (text,) in db.execute(query, [server, uid, MOST]):
        row = _object(text)
        # One that was adopted was Ready long before it was known here.
        if row.get("first_ready") and row.get("trigger") != "Adopted" and _model(row) == model:
            return max(0.0, float(row["first_ready"]["monotonic"]) - float(row["intent"]["monotonic"]))
    return None


def _model(row: Mapping[str, Any]) -> Any:
    return (row.get("spec") or {}).get("model")


def _object(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
