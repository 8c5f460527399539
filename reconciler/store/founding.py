"""Opening a state folder: what is damaged is set aside, what cannot be understood is left out, a copy is told."""

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote

from reconciler.core.actions import Event
from reconciler.core.clean import clean
from reconciler.core.history import Instance, ServerRecord, Trigger
from reconciler.store import identity, opening, renewal, rows
from reconciler.store.changes import Change, Line, Statement
from reconciler.store.database import Database
from reconciler.store.identity import Installation, Living, Settled, read_installation
from reconciler.store.mirror import Mirror, read_mirror
from reconciler.store.renewal import Lost
from reconciler.store.salvage import salvaged_file
from reconciler.store.trouble import TROUBLES, Cause, Trouble, one_line, trouble_of

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
    """Why the database is one in memory."""
    lost: Lost | None = None
    """Why the file has to be made anew from it."""
    changes: list[Change] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def tell(self, reason: str, message: str, server: str = "") -> None:
        """An event to write and to log."""
        event = Event(server, reason, message, warning=True)
        self.events.append(event)
        self.changes.append(Line(server, reason, clean(message), event.warning, time.time()))


def found(path: Path, living: Living) -> Founded:
    """Open the database of a state folder. Raises NewerDatabaseError, sqlite3.Error, OSError."""
    try:
        return _opened(path, living)
    except TROUBLES as error:
        trouble = trouble_of(error, path)
        if trouble.cause is Cause.CORRUPT:
            return _rebuilt(path, error, living)
        lost, there = (Lost.UNFINISHED, renewal.new_one(path)) if renewal.is_unfinished(path) else (None, path)
        if trouble.cause not in READABLE or not os.path.exists(there):  # noqa: PTH110 - a Path raises where the folder may not be entered
            raise
    try:
        return _read(Founded(opening.copy_in_memory(there), trouble=trouble, lost=lost), path, living)
    except TROUBLES as error:
        if trouble_of(error, path).cause is not Cause.CORRUPT:
            raise
        return _read(Founded(salvaged_file(there), trouble=trouble, lost=Lost.DAMAGED), path, living)


def _opened(path: Path, living: Living) -> Founded:
    """What is there; a new one where nothing is."""
    told = ""
    if renewal.is_unfinished(path):
        aside = renewal.finish(path)
        kept = f", and what was there is kept as {aside}" if aside else ""
        told = f"{path} {Lost.UNFINISHED}; it is finished{kept}"
    elif opening.is_missing(path) and read_installation(path.parent) is not None:
        told = (
            f"{path} was deleted or emptied while no controller ran; a new one was begun: history, requests to stop and"
            " the rest are lost; what runs is adopted, and what had been stopped is started: reconciler stop NAME"
        )
    founded = _read(Founded(opening.open_database(path)), path, living)
    if told:
        founded.tell("StateRebuilt", told)
    return founded


def _rebuilt(path: Path, error: BaseException, living: Living) -> Founded:
    """Make a damaged database anew of what can be read of it; in memory, where the disk does not take it."""
    memory = salvaged_file(path)
    try:
        aside = renewal.renew(memory.conn, path, Lost.DAMAGED)
        database = opening.open_database(path)
    except TROUBLES as failure:
        return _read(Founded(memory, trouble=trouble_of(failure, path), lost=Lost.DAMAGED), path, living)
    memory.close()
    founded = _read(Founded(database), path, living)
    message = f"{path} was damaged ({one_line(error)}); it is kept as {aside}, and a new one was made of what could be"
    founded.tell("StateRebuilt", f"{message} read of it, of the processes that run and of the manifests")
    return founded


def _read(founded: Founded, path: Path, living: Living) -> Founded:
    connection, unreadable = founded.database.conn, list[rows.Unreadable]()
    try:
        founded.mirror = read_mirror(connection, unreadable.append)
        founded.last_request = connection.execute("select coalesce(max(id), 0) from requests").fetchone()[0]
        _settle(founded, path.parent, living)
    except BaseException:
        founded.database.close()
        raise
    for row in unreadable:
        sql = f"delete from {row.table} where rowid = ?"  # noqa: S608 - names of ours
        founded.changes.append(Statement(sql, [row.rowid], (row.table, "rowid", row.rowid)))
        message = f"a row of the table {row.table} cannot be read, and is dropped: {row.name}: {row.why}"
        founded.tell("RowUnreadable", message, "" if row.table == "sources" else row.name)
    return founded


def _settle(founded: Founded, folder: Path, living: Living) -> None:
    """Find which installation it is, and let go of what another one runs."""
    settled = identity.settle(founded.database.conn, folder, living)
    founded.installation = settled.now
    facts = {identity.ID: settled.now.id, identity.FOLDER: settled.now.folder}
    new = {key: value for key, value in facts.items() if founded.mirror.meta.get(key) != value}
    founded.mirror.meta.update(new)
    founded.changes.extend(rows.fact_row(key, value) for key, value in new.items())
    if settled.before is not None:
        _let_go(founded, settled, settled.before, living)


def _let_go(founded: Founded, settled: Settled, before: Installation, living: Living) -> None:
    mirror, wall = founded.mirror, time.time()
    left = [_left(instance, wall) for instance in mirror.instances.values()]
    mirror.instances.clear()
    for instance in left:
        founded.changes.append(rows.instance_row(instance))
        record = _begun_anew(mirror.servers.get(instance.server) or ServerRecord(instance.server))
        mirror.servers[record.name] = record
        founded.changes.append(rows.server_row(record))
    # A pid says nothing where the folder came from another machine, or over a reboot: what it named then is gone.
    running = [(one.server, one.identity.pid) for one in left if one.identity and living.lives(one.identity)]
    told = ", ".join(f"{server} (pid {pid})" for server, pid in running[:MOST_NAMED])
    there = Path(before.folder, "state.db").exists() and before.folder != settled.now.folder
    kill = f"kill {' '.join(str(pid) for _, pid in running)}"
    stop = f"reconciler --state {quote(before.folder)} stop --all" if there else kill
    runs = f"; its servers are left alone: {told}; stop them with: {stop}" if running else ""
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
