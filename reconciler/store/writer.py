"""The database's one writer. What it has committed is mirrored in memory, so that a pass need not read."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from reconciler.core.actions import Event, FinishRequest, Forget, SaveInstance, SaveServer, Withdraw
from reconciler.core.clean import clean
from reconciler.core.history import History, Instance, Requests, ServerRecord
from reconciler.core.kinds import OTHER_KINDS, OtherDocument
from reconciler.core.model import Document, Now
from reconciler.core.source import SourceRecord
from reconciler.store import generations, rows
from reconciler.store.changes import Change, Line, Place, Statement
from reconciler.store.database import Database
from reconciler.store.disk import Disk
from reconciler.store.founding import found
from reconciler.store.identity import Installation, Living, Nobody, write_installation
from reconciler.store.mirror import OF_NO_SERVER
from reconciler.store.opening import check
from reconciler.store.read import DATABASE
from reconciler.store.snapshot import snapshot
from reconciler.store.trouble import Trouble

KEPT_REQUESTS = 1000
KEPT_OF_GONE = 10
"""So many times the instances kept for a server are kept of all names together that are gone."""


class Store:
    """The state database, open for writing. Its owner holds the state folder's lock."""

    def __init__(self, folder: Path, living: Living | None = None) -> None:
        """Open or create the database of a state folder, and migrate it; a damaged one is set aside and made anew.

        One that can be read but not written is in trouble from the beginning. `living`: what the processes of
        this machine tell of whose it is. Raises NewerDatabaseError, and sqlite3.Error when the file is not usable at
        all.
        """
        self.path = folder / DATABASE
        founded = found(self.path, living or Nobody())
        self._mirror = founded.mirror
        self._disk = Disk(self.path, founded.database, self._all_known)
        self._installation: Installation = founded.installation
        self._changes: list[Change] = []
        self._deferred: list[Callable[[], None]] = []
        self._asked: dict[tuple[str, str], int] = {}
        self._finished: set[int] = set()
        self._next_request = founded.last_request + 1
        self.on_commit: list[Callable[[], None]] = []
        """Called after each transaction that has changed something; they must be quick, and not raise."""
        self.on_event: list[Callable[[Event, Now], None]] = []
        """Called for each event that was written, after its transaction; as above."""
        if founded.trouble is not None:
            self._disk.begin_in_memory(founded.trouble, founded.lost)
        self._disk.keep(founded.changes)
        self._disk.news.extend(founded.events)
        with suppress(OSError):
            self.put_installation_right()

    def close(self) -> None:
        """Close the database; its owner then releases the lock."""
        self._disk.close()

    @property
    def _db(self) -> Database:
        return self._disk.database

    # -- what is remembered

    @property
    def installation(self) -> str:
        """The id that its processes bear."""
        return self._installation.id

    @property
    def folder(self) -> str:
        """The real path that the id is bound to."""
        return self._installation.folder

    @property
    def documents(self) -> dict[str, Document]:
        """The accepted documents, by name."""
        return self._mirror.documents

    @property
    def others(self) -> dict[str, OtherDocument]:
        """The accepted documents of other kinds, by key."""
        return self._mirror.others

    @property
    def counted(self) -> Mapping[str, int]:
        """The highest generation of documents that are gone, as far as that is kept: servers by name, others by key."""
        return self._mirror.counted

    @property
    def meta(self) -> Mapping[str, str]:
        """Facts about the installation and the controller, by key."""
        return self._mirror.meta

    @property
    def sources(self) -> dict[str, SourceRecord]:
        """What is remembered of sources, by name."""
        return self._mirror.sources

    def history(self) -> History:
        """All that the planner needs to know of the past."""
        return self._mirror.history

    def requests(self) -> Requests:
        """What people asked for and is not done."""
        return self._mirror.asked()

    def confirmed_prunes(self) -> frozenset[str]:
        """Names whose removal a person confirmed."""
        return frozenset(self._mirror.requests["prune"])

    def asked_profile(self) -> str | None:
        """The profile that a person asked for last, '' for none of them; None where nothing is asked."""
        return max(self._mirror.requests["profile"].items(), key=lambda one: one[1], default=(None, 0))[0]

    def profile_request(self) -> int | None:
        """The request for that profile; None where nothing is asked."""
        return max(self._mirror.requests["profile"].values(), default=None)

    def asked_at(self, request: int) -> float:
        """Unix time of a request, by the file; 0 where that is not known."""
        with suppress(sqlite3.Error):
            return rows.read_asked_at(self._db.conn, request)
        return 0.0

    def suspended_sources(self) -> frozenset[str]:
        """Sources that a person suspended."""
        return frozenset(self._mirror.requests["suspendSource"])

    # -- trouble

    @property
    def trouble(self) -> Trouble | None:
        """Why nothing can be written now; what is written anyway is kept until it can be."""
        return self._disk.trouble

    def on_replacing(self, may_replace: Callable[[], None]) -> None:
        """Have it asked before the database's files are made anew; it raises OSError where they are not ours."""
        self._disk.may_replace = may_replace

    def look(self) -> None:
        """See whether the database's files are still there; make anew what is gone."""
        self._disk.look()

    def mend(self) -> None:
        """Try to end the trouble; it takes 0.1 s at most where another program has the database."""
        self._disk.mend()

    @property
    def renewals(self) -> int:
        """How often the file was made anew: what a check says that began before is about another one."""
        return self._disk.renewals

    @property
    def errors(self) -> int:
        """How often the state could not be written, or not be mended."""
        return self._disk.errors

    def check(self) -> None:
        """Read the whole file, from any thread. Raises sqlite3.DatabaseError where it is damaged: `suspect` it."""
        check(self.path)

    def suspect(self, error: Exception) -> None:
        """What a check has found; the damaged file is set aside by the next `mend`."""
        self._disk.suspect(error)

    def snapshot(self) -> bytes:
        """A database's bytes, with all that is remembered and cannot be written now."""
        return snapshot(self._db.conn, self._disk.backlog, self._all_known, self.path)

    def take_news(self) -> list[Event]:
        """What happened to the state itself, to be logged."""
        news, self._disk.news = self._disk.news, []
        return news

    def put_installation_right(self) -> None:
        """Write the file by which the installation is known when the database is lost. Raises OSError."""
        write_installation(self.path.parent, self._installation)

    def _all_known(self) -> list[Change]:
        mirror, wall = self._mirror, None
        return [
            *(rows.fact_row(key, value) for key, value in mirror.meta.items()),
            *(rows.document_row(document, wall) for document in mirror.documents.values()),
            *(rows.other_row(document, wall) for document in mirror.others.values()),
            *(
                change
                for document in (*mirror.documents.values(), *mirror.others.values())
                for change in generations.changes_of(document, wall, mirror.sources)
            ),
            *(rows.server_row(record) for record in mirror.servers.values()),
            *(rows.instance_row(instance) for instance in mirror.instances.values()),
            *(rows.port_row(server, port) for server, port in mirror.ports.items()),
            *(rows.source_row(source) for source in mirror.sources.values()),
            *(
                rows.request_row(number, kind, server, wall)
                for kind, asked in mirror.requests.items()
                for server, number in asked.items()
            ),
        ]

    # -- writing, always within a transaction

    @contextmanager
    def transaction(self, *, anyway: bool = False) -> Iterator[None]:
        """All or nothing, on disk when it returns; the mirror follows only a commit.

        `anyway`: what cannot be on disk now is remembered, and written as soon as it can be. Otherwise raises
        StateUnwritableError.
        """
        try:
            yield
            if anyway:
                self._disk.keep(self._changes)
            else:
                self._disk.commit(self._changes)
            deferred, changed = self._deferred, bool(self._changes)
        finally:
            self._changes, self._deferred = [], []
            self._asked.clear()
            self._finished.clear()
        for update in deferred:
            update()
        for tell in self.on_commit if changed else ():
            tell()

    def _write(self, change: Change, update: Callable[[], None]) -> None:
        self._changes.append(change)
        self._deferred.append(update)

    def _delete(self, table: str, column: str, value: str, place: Place, more: str = "") -> None:
        sql = f"delete from {table} where {column} = ?{more}"  # noqa: S608 - names of ours
        self._changes.append(Statement(sql, [value], place))

    def record(self, action: SaveInstance | Withdraw | SaveServer | Forget | FinishRequest, now: Now) -> None:
        """Write one of the planner's recording actions."""
        match action:
            case SaveInstance(instance):
                self.save_instance(instance)
            case Withdraw(instance):
                self.drop_instance(instance)
            case SaveServer(record):
                self.save_server(record)
            case Forget(server):
                self.forget(server)
            case FinishRequest(request):
                self.finish_request(request, now)

    def save_document(self, document: Document, now: Now) -> None:
        """Keep an accepted document."""
        update = {document.name: document}
        self._write(rows.document_row(document, now.wall), lambda: self._mirror.documents.update(update))
        self._changes += generations.changes_of(document, now.wall, self._mirror.sources)

    def remove_document(self, name: str) -> None:
        """Drop a document that is gone, and what was asked of its removal."""
        self._delete("documents", "name", name, ("documents", name), f" and kind not in {OTHER_KINDS}")
        self._delete("requests", "server", name, ("prune", name), " and kind = 'prune'")
        self._finished.update({self._mirror.requests["prune"].get(name, 0)})
        self._deferred.append(lambda: self._mirror.remove_document(name))

    def save_other(self, document: OtherDocument, now: Now) -> None:
        """Keep an accepted document of another kind."""
        update = {document.key: document}
        self._write(rows.other_row(document, now.wall), lambda: self._mirror.others.update(update))
        self._changes += generations.changes_of(document, now.wall, self._mirror.sources)

    def remove_other(self, document: OtherDocument) -> None:
        """Drop a document of another kind that is gone, and what was asked of its removal."""
        key = document.key
        self._delete("documents", "kind || '/' || name", key, ("documents", key))
        self._delete("requests", "server", key, ("prune", key), " and kind = 'prune'")
        self._finished.update({self._mirror.requests["prune"].get(key, 0)})
        self._deferred.append(lambda: self._mirror.remove_other(key))

    def save_source(self, source: SourceRecord) -> None:
        """Write what is remembered of a source."""
        self._write(rows.source_row(source), lambda: self._mirror.sources.update({source.name: source}))

    def forget_source(self, name: str) -> None:
        """Drop a source that the settings no longer name, and what was asked of it."""
        self._delete("sources", "name", name, ("sources", name))
        self._delete("requests", "server", name, ("suspendSource", name), " and kind = 'suspendSource'")
        self._deferred.append(lambda: self._mirror.forget_source(name))

    def save_instance(self, instance: Instance, launch: Mapping[str, Any] | None = None) -> None:
        """Write an instance's row; `launch` (argv and references, never secrets) comes with the first writing."""
        self._write(rows.instance_row(instance, launch), lambda: self._mirror.save_instance(instance))

    def drop_instance(self, instance: Instance) -> None:
        """Drop the row of an intent that came to nothing."""
        self._delete("instances", "uid", instance.uid, ("instances", instance.uid))
        self._deferred.append(lambda: self._mirror.drop_instance(instance))

    def save_server(self, record: ServerRecord) -> None:
        """Write what is remembered of a server."""
        self._write(rows.server_row(record), lambda: self._mirror.servers.update({record.name: record}))

    def forget(self, server: str) -> None:
        """Drop a server that is gone, its port and its requests; its instances stay as history."""
        self._delete("servers", "name", server, ("servers", server))
        self._delete("ports", "server", server, ("ports", server))
        self._delete("requests", "server", server, ("requests of", server), f" and kind not in {OF_NO_SERVER}")
        pending = (asked for kind, asked in self._mirror.requests.items() if kind not in OF_NO_SERVER)
        self._finished.update(asked[server] for asked in pending if server in asked)
        self._deferred.append(lambda: self._mirror.forget(server))

    def assign_port(self, server: str, port: int) -> None:
        """Keep the port of a server with `port: auto`."""
        if self._mirror.ports.get(server) != port:
            self._write(rows.port_row(server, port), lambda: self._mirror.ports.update({server: port}))

    def add_request(self, kind: str, server: str, now: Now) -> int:
        """Commit what a person asked for; the same thing asked twice is one request, within one transaction too."""
        pending = self._asked.get((kind, server)) or self._mirror.requests[kind].get(server)
        if pending is not None and pending not in self._finished:
            return pending
        request, self._next_request = self._next_request, self._next_request + 1
        self._asked[kind, server] = request
        update = {server: request}
        self._write(
            rows.request_row(request, kind, server, now.wall), lambda: self._mirror.requests[kind].update(update)
        )
        return request

    def withdraw(self, kind: str, server: str, now: Now) -> None:
        """Take a request back, if there is one."""
        request = self._mirror.requests[kind].get(server)
        if request is not None:
            self.finish_request(request, now)

    def finish_request(self, request: int, now: Now) -> None:
        """Mark a request as done."""
        self._finished.add(request)
        done = Statement("update requests set done_at = ? where id = ?", [now.wall, request], ("done", request))
        self._write(done, lambda: self._mirror.finish(request))

    def add_event(self, event: Event, now: Now) -> None:
        """Write an event, or count it when it is the same again. Its message becomes one harmless line."""
        self._changes.append(Line(event.server, event.reason, clean(event.message), event.warning, now.wall))
        self._deferred.append(lambda: self._tell(event, now))

    def _tell(self, event: Event, now: Now) -> None:
        for told in self.on_event:
            told(event, now)

    def set_meta(self, key: str, value: str) -> None:
        """Keep a fact about the installation or the controller."""
        self._write(rows.fact_row(key, value), lambda: self._mirror.meta.update({key: value}))

    def trim(self, *, instances: int, events: int) -> None:
        """Drop the oldest history.

        What is left is `instances` for each server, ten times as many of all those together that are gone, and
        `events` in all.
        """
        if self.trouble is not None:
            return
        kept = {"instances": instances, "gone": KEPT_OF_GONE * instances, "events": events, "requests": KEPT_REQUESTS}
        kept["generations"] = KEPT_OF_GONE * generations.KEPT
        with self.transaction():
            for what, most in kept.items():
                self._changes.append(Statement(_TRIMMING[what], [most], ("trimmed", what)))


_TRIMMING = {
    "instances": (
        "delete from instances where uid in (select uid from (select uid, ended_at, row_number() over"
        " (partition by server order by started_at desc) as place from instances)"
        " where place > ? and ended_at is not null)"
    ),
    "gone": (
        "delete from instances where uid in (select uid from instances where ended_at is not null"
        " and server not in (select name from documents union select name from servers)"
        " order by started_at desc limit -1 offset ?)"
    ),
    "events": "delete from events where id not in (select id from events order by last_at desc limit ?)",
    "generations": (
        "delete from generations where id in (select id from generations"
        " where (kind, name) not in (select kind, name from documents) order by id desc limit -1 offset ?)"
    ),
    "requests": "delete from requests where done_at is not null and id < (select max(id) - ? from requests)",
}
