"""The database's one writer. What it has committed is mirrored in memory, so that a pass need not read."""

import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reconciler.core.actions import Event, FinishRequest, Forget, SaveInstance, SaveServer
from reconciler.core.clean import clean
from reconciler.core.history import History, Instance, Requests, ServerRecord
from reconciler.core.model import Document, Now
from reconciler.core.source import SourceRecord
from reconciler.core.spec import dump_spec
from reconciler.store.database import Database
from reconciler.store.migrations import migrations
from reconciler.store.read import DATABASE
from reconciler.store.rows import (
    INSTANCE,
    RECORD,
    SOURCE,
    read_documents,
    read_history,
    read_requests,
    read_sources,
)

INSTALLATION = "installation"
"""File in the state folder that holds the installation's id."""
KEPT_REQUESTS = 1000
SAME_EVENT_WITHIN = 3600.0
"""Seconds within which the same event again is counted instead of listed."""


class NewerDatabaseError(Exception):
    """The database was written by a newer version of the program."""


class Store:
    """The state database, open for writing. Its owner holds the state folder's lock."""

    def __init__(self, folder: Path) -> None:
        """Open or create the database of a state folder, and migrate it.

        Raises NewerDatabaseError, and sqlite3.Error when the file is not usable.
        """
        self.path = folder / DATABASE
        connection = sqlite3.connect(self.path, timeout=10.0, isolation_level=None, check_same_thread=False)
        try:
            self._db = _prepared(connection, self.path)
        except BaseException:
            connection.close()
            raise
        self._deferred: list[Callable[[], None]] = []
        self.installation = self._installation()
        self.documents = read_documents(connection)
        history = read_history(connection)
        self._servers, self._instances, self._ports = (
            dict(history.servers),
            dict(history.instances),
            dict(history.ports),
        )
        self._requests = read_requests(connection)
        self.sources = read_sources(connection)

    def close(self) -> None:
        """Close the database; its owner then releases the lock."""
        self._db.close()

    # -- what is remembered

    def history(self) -> History:
        """All that the planner needs to know of the past."""
        return History(self._servers, self._instances, self._ports)

    def requests(self) -> Requests:
        """What people asked for and is not done."""
        return Requests(stop=self._requests["stop"], restart=self._requests["restart"])

    def confirmed_prunes(self) -> frozenset[str]:
        """Names whose removal a person confirmed."""
        return frozenset(self._requests["prune"])

    def suspended_sources(self) -> frozenset[str]:
        """Sources that a person suspended."""
        return frozenset(self._requests["suspendSource"])

    # -- writing, always within a transaction

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, on disk when it returns; the mirror follows only a commit."""
        connection = self._db.conn
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            self._deferred.clear()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        deferred, self._deferred = self._deferred, []
        for update in deferred:
            update()

    def record(self, action: SaveInstance | SaveServer | Forget | FinishRequest, now: Now) -> None:
        """Write one of the planner's recording actions."""
        match action:
            case SaveInstance(instance):
                self.save_instance(instance)
            case SaveServer(record):
                self.save_server(record)
            case Forget(server):
                self.forget(server)
            case FinishRequest(request):
                self.finish_request(request, now)

    def save_document(self, document: Document, now: Now) -> None:
        """Keep an accepted document."""
        self._upsert(
            "documents",
            {
                "kind": document.kind,
                "name": document.name,
                "file": document.file,
                "line": document.line,
                "labels": json.dumps(dict(document.labels)),
                "annotations": json.dumps(dict(document.annotations)),
                "spec": json.dumps(dump_spec(document.spec)),
                "generation": document.generation,
                "accepted_at": now.wall,
                "origin": document.origin,
            },
            key="kind, name",
        )
        self._deferred.append(lambda: self.documents.update({document.name: document}))

    def remove_document(self, name: str) -> None:
        """Drop a document that is gone, and what was asked of its removal."""
        self._db.table("documents").delete_where("name = ?", [name])
        self._db.table("requests").delete_where("kind = 'prune' and server = ?", [name])
        self._deferred.append(lambda: self._mirror_removed(name))

    def _mirror_removed(self, name: str) -> None:
        self.documents.pop(name, None)
        self._requests["prune"].pop(name, None)

    def save_source(self, source: SourceRecord) -> None:
        """Write what is remembered of a source."""
        self._upsert("sources", {"name": source.name, "row": SOURCE.dump_json(source).decode()}, key="name")
        self._deferred.append(lambda: self.sources.update({source.name: source}))

    def forget_source(self, name: str) -> None:
        """Drop a source that the settings no longer name, and what was asked of it."""
        self._db.table("sources").delete_where("name = ?", [name])
        self._db.table("requests").delete_where("kind = 'suspendSource' and server = ?", [name])
        self._deferred.append(lambda: self._mirror_forgotten_source(name))

    def _mirror_forgotten_source(self, name: str) -> None:
        self.sources.pop(name, None)
        self._requests["suspendSource"].pop(name, None)

    def save_instance(self, instance: Instance, launch: Mapping[str, Any] | None = None) -> None:
        """Write an instance's row; `launch` (argv and references, never secrets) comes with the first writing."""
        row = {
            "uid": instance.uid,
            "server": instance.server,
            "pid": instance.identity.pid if instance.identity else None,
            "started_at": instance.intent.wall,
            "ready_at": instance.first_ready.wall if instance.first_ready else None,
            "ended_at": instance.ended.wall if instance.ended else None,
            "row": INSTANCE.dump_json(instance).decode(),
        }
        if launch is not None:
            row["launch"] = json.dumps(launch)
        self._upsert("instances", row, key="uid")
        self._deferred.append(lambda: self._mirror_instance(instance))

    def _mirror_instance(self, instance: Instance) -> None:
        open_one = self._instances.get(instance.server)
        if instance.ended is None:
            self._instances[instance.server] = instance
        elif open_one is not None and open_one.uid == instance.uid:
            del self._instances[instance.server]

    def save_server(self, record: ServerRecord) -> None:
        """Write what is remembered of a server."""
        self._upsert(
            "servers",
            {
                "name": record.name,
                "phase": record.status.phase.value if record.status else "Pending",
                "message": record.status.message if record.status else "",
                "n": record.n,
                "restarts": record.restarts,
                "backoff_until": record.ended.wall + record.delay if record.ended else None,
                "record": RECORD.dump_json(record).decode(),
            },
            key="name",
        )
        self._deferred.append(lambda: self._servers.update({record.name: record}))

    def forget(self, server: str) -> None:
        """Drop a server that is gone, its port and its requests; its instances stay as history."""
        for table, column in (("servers", "name"), ("ports", "server"), ("requests", "server")):
            self._db.table(table).delete_where(f"{column} = ?", [server])
        self._deferred.append(lambda: self._mirror_forget(server))

    def _mirror_forget(self, server: str) -> None:
        self._servers.pop(server, None)
        self._instances.pop(server, None)
        self._ports.pop(server, None)
        for pending in self._requests.values():
            pending.pop(server, None)

    def assign_port(self, server: str, port: int) -> None:
        """Keep the port of a server with `port: auto`."""
        if self._ports.get(server) != port:
            self._db.table("ports").upsert({"server": server, "port": port}, pk="server")
            self._deferred.append(lambda: self._ports.update({server: port}))

    def add_request(self, kind: str, server: str, now: Now) -> int:
        """Commit what a person asked for; the same thing asked twice is one request, within one transaction too."""
        pending = self._db.execute(
            "select id from requests where kind = ? and server = ? and done_at is null", [kind, server]
        ).fetchone()
        if pending is not None:
            return int(pending[0])
        table = self._db.table("requests").insert(
            {"kind": kind, "server": server, "created_at": now.wall, "done_at": None}
        )
        request = int(str(table.last_pk))
        self._deferred.append(lambda: self._requests[kind].update({server: request}))
        return request

    def withdraw(self, kind: str, server: str, now: Now) -> None:
        """Take a request back, if there is one."""
        request = self._requests[kind].get(server)
        if request is not None:
            self.finish_request(request, now)

    def finish_request(self, request: int, now: Now) -> None:
        """Mark a request as done."""
        self._db.execute("update requests set done_at = ? where id = ?", [now.wall, request])
        self._deferred.append(lambda: self._mirror_finished(request))

    def _mirror_finished(self, request: int) -> None:
        for pending in self._requests.values():
            for server in [server for server, number in pending.items() if number == request]:
                del pending[server]

    def add_event(self, event: Event, now: Now) -> None:
        """Write an event, or count it when it is the same again. Its message becomes one harmless line."""
        message = clean(event.message)
        same = self._db.execute(
            "update events set count = count + 1, last_at = ? where id = (select id from events where server = ?"
            " and reason = ? and message = ? and last_at > ? order by id desc limit 1)",
            [now.wall, event.server, event.reason, message, now.wall - SAME_EVENT_WITHIN],
        )
        if same.rowcount == 0:
            self._db.execute(
                "insert into events (server, reason, message, warning, count, first_at, last_at)"
                " values (?, ?, ?, ?, 1, ?, ?)",
                [event.server, event.reason, message, int(event.warning), now.wall, now.wall],
            )

    def _upsert(self, table: str, row: Mapping[str, Any], *, key: str) -> None:
        """Insert a row or change the one of that key; sqlite-utils' own takes ten times as long, asking for columns."""
        columns = ", ".join(row)
        values = ", ".join(f":{column}" for column in row)
        changes = ", ".join(f"{column} = excluded.{column}" for column in row)
        self._db.execute(
            f"insert into {table} ({columns}) values ({values}) on conflict ({key}) do update set {changes}",  # noqa: S608 - names of ours
            dict(row),
        )

    def set_meta(self, key: str, value: str) -> None:
        """Keep a fact about the installation or the controller."""
        self._db.table("meta").upsert({"key": key, "value": value}, pk="key")

    def trim(self, *, instances: int, events: int) -> None:
        """Drop the oldest history: what is left is `instances` for each server and `events` in all."""
        with self.transaction():
            self._db.execute(
                "delete from instances where uid in (select uid from (select uid, ended_at, row_number() over"
                " (partition by server order by started_at desc) as place from instances)"
                " where place > ? and ended_at is not null)",
                [instances],
            )
            self._db.execute(
                "delete from events where id not in (select id from events order by last_at desc limit ?)", [events]
            )
            self._db.execute(
                "delete from requests where done_at is not null and id < (select max(id) - ? from requests)",
                [KEPT_REQUESTS],
            )

    # -- opening

    def _installation(self) -> str:
        """The installation's id, in a file of its own: it is what processes are known by when the database is lost."""
        told = self.path.with_name(INSTALLATION)
        rows = list(self._db.query("select value from meta where key = 'installation'"))
        identity = str(rows[0]["value"]) if rows else (_read(told) or uuid.uuid4().hex[:16])
        if not rows:
            self.set_meta("installation", identity)
        if _read(told) != identity:
            told.write_text(f"{identity}\n")
        return identity


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _prepared(connection: sqlite3.Connection, path: Path) -> Database:
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
