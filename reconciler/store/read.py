"""Read-only questions to the state database, with nothing but sqlite3: the command line's speed depends on it.

Nothing is migrated for them: what a database of an older version does not have yet is answered as if it were empty.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

from reconciler.core.source import LOCAL
from reconciler.store.chosen import defaults_item, profile_item
from reconciler.store.items import (
    Item,
    Rows,
    distrust,
    server_item,
    source_item,
)
from reconciler.store.liveness import is_alive
from reconciler.store.trouble import trouble_of

DATABASE = "state.db"
MIGRATIONS = frozenset({"first_tables", "git_source", "adoption", "kinds", "fallback"})
"""Names of the migrations that this version can read (see store.migrations)."""
BUSY_TIMEOUT = 5.0
"""Seconds to wait for a lock; in WAL mode readers seldom meet one."""


class ReadError(Exception):
    """The database cannot be read; the text says why and what to do."""


def open_readonly(state: Path) -> sqlite3.Connection:
    """The database of a state folder, for reading only.

    Raises ReadError when it is missing, locked, damaged, not there yet, or of a newer version.
    """
    path = state / DATABASE
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise ReadError(f"{path} is missing; begin an installation with: reconciler run") from None
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {trouble_of(error, path).why}") from None
    try:
        return as_known(_opened(path), path)
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_IOERR")):
            raise ReadError(explain(error, path)) from None
        return _copied(path, error)
    except sqlite3.Error as error:
        raise ReadError(explain(error, path)) from None


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)


def _copied(path: Path, error: sqlite3.Error) -> sqlite3.Connection:
    """All that is in a database beside which nothing can be written, as SQLite would to read it. Raises ReadError."""
    from reconciler.store import opening  # noqa: PLC0415 - slow to import, and seldom needed

    try:
        return as_known(opening.copy_in_memory(path).conn, path)
    except opening.NewerDatabaseError as newer:
        raise ReadError(str(newer)) from None
    except (sqlite3.Error, OSError):
        raise ReadError(explain(error, path)) from None


def as_known(db: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """A connection that the questions below can be asked. Raises ReadError for a newer version's, sqlite3.Error."""
    db.row_factory = sqlite3.Row
    try:
        _refuse_newer(db, path)
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def opened(state: Path) -> Iterator[sqlite3.Connection]:
    """`open_readonly` for a while; errors of the questions asked meanwhile are ReadErrors too."""
    db = open_readonly(state)
    try:
        yield db
    except sqlite3.Error as error:
        raise ReadError(explain(error, state / DATABASE)) from None
    finally:
        db.close()


def explain(error: sqlite3.Error, path: Path) -> str:
    """What an error of the database means, and what to do about it."""
    text, name = str(error), getattr(error, "sqlite_errorname", "")
    if "no such table" in text:
        is_old = (path.parent / "installation").exists()
        lost = "has lost what was in it; make it anew, and adopt what runs, with: reconciler run"
        return f"{path} {lost if is_old else 'is only being made; try again in a moment'}"
    if "locked" in text or "busy" in text:
        return f"{path} is locked by another program; try again, and see who holds it with: fuser -v {quote(str(path))}"
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_IOERR")):
        return f"{path} cannot be read: {trouble_of(error, path).why}"
    if "readonly" in text:
        folder = quote(str(path.parent))
        return f"{path} cannot be opened: its folder must be readable and writable for you; see: ls -la {folder}"
    if isinstance(error, sqlite3.DatabaseError) and ("not a database" in text or "malformed" in text):
        return (
            f"{path} is damaged ({text}); reconciler run sets it aside, makes a new one of what can be read of it, and "
            "adopts what runs; a controller that runs already does so within a tick"
        )
    return f"{path}: {text}"


def _refuse_newer(db: sqlite3.Connection, path: Path) -> None:
    unknown = [name for name in _applied(db) if name not in MIGRATIONS]
    if unknown:
        raise ReadError(
            f"{path} was written by a newer reconciler (it has '{unknown[-1]}'); "
            "use that version, or name another state folder with --state"
        )


def _applied(db: sqlite3.Connection) -> list[str]:
    rows = db.execute("select name from _sqlite_migrations where migration_set = 'reconciler' order by rowid")
    return [name for (name,) in rows]


def knows_sources(db: sqlite3.Connection) -> bool:
    """Whether documents have an origin, and sources a table."""
    return "git_source" in _applied(db)


def origin_column(db: sqlite3.Connection) -> str:
    """What to select as the origin of documents; before there were sources all of them were local."""
    return "origin" if knows_sources(db) else f"'{LOCAL}' as origin"


def knows_kinds(db: sqlite3.Connection) -> bool:
    """Whether there are documents of other kinds, and servers tell what is their own."""
    return "kinds" in _applied(db)


def own_columns(db: sqlite3.Connection) -> str:
    """What to select as a document's own spec and as what came from defaults; empty where there were none yet."""
    return "own, came_from" if knows_kinds(db) else "'' as own, '' as came_from"


def version_of(db: sqlite3.Connection) -> int:
    """A number that changes when another connection has committed."""
    return int(db.execute("pragma data_version").fetchone()[0])


def meta(db: sqlite3.Connection) -> Item:
    """Facts about the installation: `installation` (text), `manifests` and `controller` (objects)."""
    rows = db.execute("select key, value from meta")
    return {row["key"]: json.loads(row["value"]) if row["value"].startswith("{") else row["value"] for row in rows}


# ---------------------------------------------------------------- servers


def names(db: sqlite3.Connection) -> list[str]:
    """All servers that are declared, or not gone yet."""
    rows = db.execute("select name from documents where kind = 'LlamaServer' union select name from servers order by 1")
    return [row["name"] for row in rows]


def names_in_history(db: sqlite3.Connection) -> list[str]:
    """All servers that ever were started or told of, as far back as the history goes."""
    return [row[0] for row in db.execute("select server from instances union select server from events order by 1")]


def servers(
    db: sqlite3.Connection,
    wanted: Iterable[str] | None = None,
    *,
    now: float,
    controller: bool,
    alive: Callable[[Mapping[str, Any]], bool] = is_alive,
) -> list[Item]:
    """The servers as `get servers -o json` shows them, by name; all, or the `wanted` ones that exist.

    `now` is Unix time. Without a running `controller` what it last wrote is not repeated as true: the processes
    are looked at with `alive`, which is given an identity as it was recorded.
    """
    columns = f"name, file, line, labels, annotations, spec, generation, {origin_column(db)}, {own_columns(db)}"
    accepted = db.execute(f"select {columns} from documents where kind = 'LlamaServer'")  # noqa: S608 - names of ours
    documents = {row["name"]: row for row in accepted}
    records = dict(understood(db.execute("select name, record from servers")))
    open_ones = dict(
        understood(db.execute("select server, row from instances where ended_at is null order by started_at"))
    )
    ports = {row["server"]: row["port"] for row in db.execute("select server, port from ports")}
    chosen = sorted({*documents, *records})
    if wanted is not None:
        asked = set(wanted)
        chosen = [name for name in chosen if name in asked]
    items = []
    for name in chosen:
        of_it = Rows(documents.get(name), records.get(name, {}), open_ones.get(name), ports.get(name))
        item = server_item(name, of_it, now)
        if not controller:
            distrust(item, open_ones.get(name), alive)
        items.append(item)
    return items


def understood(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Item]]:
    """Each row's object beside its name, without those that are none: the controller drops them at its next start."""
    for name, text in rows:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield name, found


# ---------------------------------------------------------------- sources


def sources(db: sqlite3.Connection) -> list[Item]:
    """The sources as `get sources -o json` shows them."""
    if not knows_sources(db):
        return []
    return [source_item(json.loads(row["row"])) for row in db.execute("select row from sources order by name")]


# ---------------------------------------------------------------- other kinds


def profiles(db: sqlite3.Connection) -> list[Item]:
    """The profiles as `get profiles -o json` shows them; with none of them active all servers are wanted."""
    phases = {row["name"]: row["phase"] for row in db.execute("select name, phase from servers")}
    servers_rows, facts = _declared(db, "LlamaServer"), meta(db)
    return [profile_item(row, servers_rows, phases, facts) for row in _declared(db, "Profile")]


def defaults(db: sqlite3.Connection) -> list[Item]:
    """The LlamaServerDefaults as `get defaults -o json` shows them."""
    servers_rows, facts = _declared(db, "LlamaServer"), meta(db)
    return [defaults_item(row, servers_rows, facts) for row in _declared(db, "LlamaServerDefaults")]


def _declared(db: sqlite3.Connection, kind: str) -> list[sqlite3.Row]:
    columns = f"kind, name, file, line, labels, annotations, spec, generation, {origin_column(db)}"
    return db.execute(f"select {columns} from documents where kind = ? order by name", [kind]).fetchall()  # noqa: S608 - names of ours


def asked_of(db: sqlite3.Connection, server: str) -> set[str]:
    """What people asked of a server that is in force, or not done yet: `stop`, `restart`, `adopt`, `prune`."""
    return {row[0] for row in db.execute("select kind from requests where server = ? and done_at is null", [server])}


def identities(db: sqlite3.Connection) -> dict[str, Item]:
    """The processes of instances that have not ended, by server: `boot`, `pid` and `start_ticks`."""
    rows = understood(db.execute("select server, row from instances where ended_at is null order by started_at"))
    return {server: row["identity"] for server, row in rows if row.get("identity")}
