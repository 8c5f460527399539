"""What the database holds, in memory: a pass need not read, and goes on when the file cannot be written."""

import sqlite3
from contextlib import suppress
from dataclasses import dataclass, field

from reconciler.core.history import History, Instance, Requests, ServerRecord
from reconciler.core.kinds import OTHER_KINDS, OtherDocument, key_of
from reconciler.core.model import Document
from reconciler.core.source import SourceRecord
from reconciler.store.rows import Note, read_documents, read_history, read_others, read_requests, read_sources

OF_NO_SERVER = ("suspendSource", "profile")
"""Requests whose object is no server, though it may have one's name."""


@dataclass(slots=True)
class Mirror:
    """Documents, servers, open instances, ports, requests, sources and facts, each by its name."""

    documents: dict[str, Document] = field(default_factory=dict)
    others: dict[str, OtherDocument] = field(default_factory=dict)
    """Documents of other kinds, by key."""
    servers: dict[str, ServerRecord] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    requests: dict[str, dict[str, int]] = field(default_factory=dict)
    sources: dict[str, SourceRecord] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    """The highest generation of documents that were gone, as far as that is kept: servers by name, others by key."""

    @property
    def history(self) -> History:
        """All that the planner needs to know of the past."""
        return History(self.servers, self.instances, self.ports)

    def asked(self) -> Requests:
        """What people asked of servers and is not done."""
        return Requests(**{kind: self.requests.get(kind, {}) for kind in ("stop", "restart", "adopt", "primary")})

    def save_instance(self, instance: Instance) -> None:
        """Only the open one of each server is kept here."""
        open_one = self.instances.get(instance.server)
        if instance.ended is None:
            self.instances[instance.server] = instance
        elif open_one is not None and open_one.uid == instance.uid:
            del self.instances[instance.server]

    def drop_instance(self, instance: Instance) -> None:
        """It never was."""
        open_one = self.instances.get(instance.server)
        if open_one is not None and open_one.uid == instance.uid:
            del self.instances[instance.server]

    def forget(self, server: str) -> None:
        """A server is gone."""
        self.servers.pop(server, None)
        self.instances.pop(server, None)
        self.ports.pop(server, None)
        for kind, pending in self.requests.items():
            if kind not in OF_NO_SERVER:
                pending.pop(server, None)

    def remove_document(self, name: str) -> None:
        """A document is gone, and what was asked of its removal."""
        if gone := self.documents.pop(name, None):
            self.counted[name] = max(gone.generation, self.counted.get(name, 0))
        self.requests["prune"].pop(name, None)

    def remove_other(self, key: str) -> None:
        """A document of another kind is gone, and what was asked of its removal."""
        if gone := self.others.pop(key, None):
            self.counted[key] = max(gone.generation, self.counted.get(key, 0))
        self.requests["prune"].pop(key, None)

    def forget_source(self, name: str) -> None:
        """A source is gone."""
        self.sources.pop(name, None)
        self.requests["suspendSource"].pop(name, None)

    def finish(self, request: int) -> None:
        """A request is done."""
        for pending in self.requests.values():
            for server in [server for server, number in pending.items() if number == request]:
                del pending[server]


def read_mirror(connection: sqlite3.Connection, note: Note) -> Mirror:
    """All of it; `note` is told of rows that cannot be understood. Raises sqlite3.Error."""
    before = connection.text_factory
    connection.text_factory = lambda raw: raw.decode(errors="replace")  # one bad byte must not hide all rows
    try:
        history = read_history(connection, note)
        return Mirror(
            documents=read_documents(connection, note),
            others=read_others(connection, note),
            servers=dict(history.servers),
            instances=dict(history.instances),
            ports=dict(history.ports),
            requests=read_requests(connection),
            sources=read_sources(connection, note),
            meta=dict(connection.execute("select key, value from meta").fetchall()),
            counted=_read_counted(connection),
        )
    finally:
        connection.text_factory = before


def _read_counted(connection: sqlite3.Connection) -> dict[str, int]:
    """By the history, without which all else is as good: numbers then begin anew."""
    with suppress(sqlite3.Error):
        found = connection.execute("select kind, name, max(generation) from generations group by kind, name")
        return {key_of(kind, name) if kind in OTHER_KINDS else name: number for kind, name, number in found}
    return {}
