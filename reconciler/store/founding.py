"""Opening a state folder: what is damaged is set aside, what cannot be understood is left out, a copy is told."""

import os
import sqlite3
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote

from reconciler.core.actions import Event
from reconciler.core.clean import clean
from reconciler.core.history import Instance, ServerRecord, Trigger
from reconciler.store import identity, opening, renewal, rows
from reconciler.store.changes import Change, Line, Statement
from reconciler.store.database import Database
from reconciler.store.identity import Installation, Settled
from reconciler.store.mirror import Mirror, read_mirror
from reconciler.store.trouble import Cause, Trouble, trouble_of

OTHER_INSTALLATION = "OtherInstallation"
"""Diagnosis of an instance that was started over the folder that this one was copied or moved from."""
READABLE = (Cause.DISK_FULL, Cause.READ_ONLY, Cause.PERMISSION, Cause.OTHER)
"""Troubles in which the database can still be read, so that its servers are watched until it can be written."""
MOST_NAMED = 8


@dataclass(slots=True)
class Founded:
    """An open database, and what has to be written to it first."""

    database: Database
    mirror: Mirror = field(default_factory=Mirror)
    installation: Installation = field(default_factory=lambda: Installation("", ""))
    last_request: int = 0
    trouble: Trouble | None = None
    changes: list[Change] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def tell(self, reason: str, message: str, server: str = "") -> None:
        """An event to write and to log."""
        event = Event(server, reason, message, warning=True)
        self.events.append(event)
        self.changes.append(Line(server, reason, clean(message), event.warning, time.time()))


def found(path: Path, borne: Callable[[str], Collection[str]]) -> Founded:
    """Open the database of a state folder. Raises NewerDatabaseError, sqlite3.Error, OSError."""
    try:
        founded = _read(Founded(opening.open_database(path)))
    except (sqlite3.Error, OSError) as error:
        trouble = trouble_of(error, path)
        if trouble.cause is Cause.CORRUPT:
            founded = _rebuilt(path, error)
        elif trouble.cause in READABLE and os.path.exists(path):  # noqa: PTH110 - a Path raises where the folder may not be entered
            founded = _read(Founded(opening.copy_in_memory(path), trouble=trouble))
        else:
            raise
    _settle(founded, path.parent, borne)
    return founded


def _read(founded: Founded) -> Founded:
    connection, unreadable = founded.database.conn, list[rows.Unreadable]()
    try:
        founded.mirror = read_mirror(connection, unreadable.append)
        founded.last_request = connection.execute("select coalesce(max(id), 0) from requests").fetchone()[0]
    except BaseException:
        founded.database.close()
        raise
    for row in unreadable:
        sql = f"delete from {row.table} where rowid = ?"  # noqa: S608 - names of ours
        founded.changes.append(Statement(sql, [row.rowid], (row.table, "rowid", row.rowid)))
        message = f"a row of the table {row.table} cannot be read, and is dropped: {row.name}: {row.why}"
        founded.tell("RowUnreadable", message, "" if row.table == "sources" else row.name)
    return founded


def _rebuilt(path: Path, error: BaseException) -> Founded:
    """Set the damaged database aside, and begin with what can be read of it."""
    damaged = None
    with suppress(sqlite3.Error):
        damaged = sqlite3.connect(path, isolation_level=None)
    try:
        draft = renewal.draft_salvaged(damaged, (), path)
    finally:
        aside = renewal.set_aside(path, "broken", time.time())
        if damaged is not None:
            damaged.close()
    founded = _read(Founded(renewal.put_in_place(draft, path)))
    message = f"{path} was damaged ({error}); it is kept as {aside}, and a new one was made of what could be read of it"
    founded.tell("StateRebuilt", f"{message}, of the processes that run and of the manifests")
    return founded


def _settle(founded: Founded, folder: Path, borne: Callable[[str], Collection[str]]) -> None:
    """Find which installation it is, and let go of what another one runs."""
    settled = identity.settle(founded.database.conn, folder, borne)
    founded.installation = settled.now
    facts = {identity.ID: settled.now.id, identity.FOLDER: settled.now.folder}
    new = {key: value for key, value in facts.items() if founded.mirror.meta.get(key) != value}
    founded.mirror.meta.update(new)
    founded.changes.extend(rows.fact_row(key, value) for key, value in new.items())
    if settled.before is not None:
        _let_go(founded, settled, settled.before)


def _let_go(founded: Founded, settled: Settled, before: Installation) -> None:
    mirror, wall = founded.mirror, time.time()
    left = [_left(instance, wall) for instance in mirror.instances.values()]
    mirror.instances.clear()
    for instance in left:
        founded.changes.append(rows.instance_row(instance))
        record = _begun_anew(mirror.servers.get(instance.server) or ServerRecord(instance.server))
        mirror.servers[record.name] = record
        founded.changes.append(rows.server_row(record))
    pids = [str(one.identity.pid) for one in left if one.identity]
    told = ", ".join(f"{one.server} (pid {one.identity.pid})" for one in left[:MOST_NAMED] if one.identity)
    there = Path(before.folder, "state.db").exists()
    stop = f"reconciler --state {quote(before.folder)} stop --all" if there else f"kill {' '.join(pids)}"
    runs = f"; its servers are left alone: {told}; stop them, if they run, with: {stop}" if pids else ""
    founded.tell(
        "InstallationMoved",
        f"this state folder was copied or moved from {before.folder}, and is installation {settled.now.id} from now on"
        f" (before: {before.id}){runs}",
    )


def _left(instance: Instance, wall: float) -> Instance:
    return replace(instance, ended=replace(instance.intent, wall=wall), diagnosis=OTHER_INSTALLATION)


def _begun_anew(record: ServerRecord) -> ServerRecord:
    return replace(
        record, n=0, ended=None, delay=0.0, next_trigger=Trigger.CREATED, failed=None, completed=False, status=None
    )
