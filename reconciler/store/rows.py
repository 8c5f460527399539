"""How rows become values: shared by the writer and by read-only snapshots."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from reconciler.core.history import History, Instance, ServerRecord
from reconciler.core.kinds import OTHER_KINDS, OtherDocument, dump_other, other_document
from reconciler.core.model import Document
from reconciler.core.source import SourceRecord
from reconciler.core.spec import ServerSpec, dump_spec
from reconciler.store.changes import Row
from reconciler.store.read import DATABASE, open_readonly, origin_column, own_columns

REQUEST_KINDS = ("stop", "restart", "adopt", "primary", "prune", "suspendSource", "profile")
"""What can be asked for and is kept until it is done or taken back; the objects of the last two are no servers."""
T = TypeVar("T")
INSTANCE = TypeAdapter(Instance)
RECORD = TypeAdapter(ServerRecord)
SOURCE = TypeAdapter(SourceRecord)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that cannot be understood any more."""

    table: str
    rowid: int
    name: str
    """Of the server or source it is about."""
    why: str


Note = Callable[[Unreadable], None]


def _refuse(row: Unreadable) -> None:
    raise ValueError(f"{row.table}: {row.name}: {row.why}")


def _understood(
    rows: Iterable[tuple[Any, ...]], table: str, make: Callable[..., T], note: Note
) -> Iterator[tuple[str, T]]:
    """Each row's value beside its name; one that cannot be made is noted, and left out."""
    for rowid, name, *rest in rows:
        try:
            yield name, make(*rest)
        except (ValueError, TypeError, RecursionError) as error:
            note(Unreadable(table, rowid, name, " ".join(str(error).split())[:200]))


def read_documents(connection: sqlite3.Connection, note: Note = _refuse) -> dict[str, Document]:
    """The accepted documents; `note` is told of rows that cannot be read (else ValueError)."""
    columns = f"{_PLACE}, {origin_column(connection)}, {own_columns(connection)}"
    rows = connection.execute(f"select {columns} from documents where kind not in (?, ?)", OTHER_KINDS)  # noqa: S608 - names of ours
    return dict(_understood(rows, "documents", _document, note))


def read_others(connection: sqlite3.Connection, note: Note = _refuse) -> dict[str, OtherDocument]:
    """The accepted documents of other kinds, by key; `note` as above."""
    columns = f"{_PLACE}, {origin_column(connection)}"
    rows = connection.execute(f"select {columns} from documents where kind in (?, ?)", OTHER_KINDS)  # noqa: S608 - names of ours
    return {one.key: one for _, one in _understood(rows, "documents", _other, note)}


_PLACE = "rowid, name, kind, name, file, line, labels, annotations, spec, generation"


def _other(*columns: Any) -> OtherDocument:
    kind, name, file, line, labels, annotations, spec, generation, origin = columns
    about = {"name": name, "file": file, "line": line, "generation": generation, "origin": origin}
    return other_document(kind, str(spec), labels=_texts(labels), annotations=_texts(annotations), **about)


def _document(*columns: Any) -> Document:
    kind, name, file, line, labels, annotations, spec, generation, origin, own, came_from = columns
    return Document(
        kind=kind,
        name=name,
        file=file,
        line=line,
        labels=_texts(labels),
        annotations=_texts(annotations),
        spec=ServerSpec.model_validate_json(spec),
        generation=generation,
        origin=origin,
        own=ServerSpec.model_validate_json(own) if own else None,
        came_from=_texts(came_from) if came_from else {},
    )


def _texts(text: str) -> dict[str, str]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError(f"{text} is no object")
    return found


def read_history(connection: sqlite3.Connection, note: Note = _refuse) -> History:
    """What is remembered of the servers, and their open instances."""
    servers = connection.execute("select rowid, name, record from servers")
    instances = connection.execute(
        "select rowid, server, row from instances where ended_at is null order by started_at"
    )
    ports = connection.execute("select server, port from ports")
    return History(
        servers=dict(_understood(servers, "servers", RECORD.validate_json, note)),
        instances=dict(_understood(instances, "instances", INSTANCE.validate_json, note)),
        ports=dict(ports.fetchall()),
    )


def read_sources(connection: sqlite3.Connection, note: Note = _refuse) -> dict[str, SourceRecord]:
    """What is remembered of the sources."""
    rows = connection.execute("select rowid, name, row from sources")
    return dict(_understood(rows, "sources", SOURCE.validate_json, note))


def read_requests(connection: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """Open requests: ids by kind and server."""
    found: dict[str, dict[str, int]] = {kind: {} for kind in REQUEST_KINDS}
    for number, kind, server in connection.execute(
        "select id, kind, server from requests where done_at is null order by id"
    ):
        found.setdefault(kind, {})[server] = number
    return found


def read_asked_at(connection: sqlite3.Connection, request: int) -> float:
    """Unix time of a request; 0 where that is not known. Raises sqlite3.Error."""
    row = connection.execute("select created_at from requests where id = ?", [request]).fetchone()
    return float(row[0] or 0.0) if row else 0.0


def document_row(document: Document, wall: float | None) -> Row:
    """A document as its row; without `wall`, when it was accepted, the row keeps what it says."""
    values = {
        "kind": document.kind,
        "name": document.name,
        "file": document.file,
        "line": document.line,
        "labels": json.dumps(dict(document.labels)),
        "annotations": json.dumps(dict(document.annotations)),
        "spec": json.dumps(dump_spec(document.spec)),
        "generation": document.generation,
        "origin": document.origin,
        "own": json.dumps(dump_spec(document.own)) if document.own else "",
        "came_from": json.dumps(dict(document.came_from)) if document.came_from else "",
    }
    if wall is not None:
        values["accepted_at"] = wall
    return Row("documents", "kind, name", values, ("documents", document.name))


def other_row(document: OtherDocument, wall: float | None) -> Row:
    """A document of another kind as its row; `wall` as above."""
    values = {
        "kind": document.kind,
        "name": document.name,
        "file": document.file,
        "line": document.line,
        "labels": json.dumps(dict(document.labels)),
        "annotations": json.dumps(dict(document.annotations)),
        "spec": json.dumps(dump_other(document)),
        "generation": document.generation,
        "origin": document.origin,
    }
    if wall is not None:
        values["accepted_at"] = wall
    return Row("documents", "kind, name", values, ("documents", document.key))


def instance_row(instance: Instance, launch: Mapping[str, Any] | None = None) -> Row:
    """An instance as its row; without `launch` the row keeps the one it has."""
    values = {
        "uid": instance.uid,
        "server": instance.server,
        "pid": instance.identity.pid if instance.identity else None,
        "started_at": instance.intent.wall,
        "ready_at": instance.first_ready.wall if instance.first_ready else None,
        "ended_at": instance.ended.wall if instance.ended else None,
        "row": INSTANCE.dump_json(instance).decode(),
    }
    if launch is not None:
        values["launch"] = json.dumps(launch)
    return Row("instances", "uid", values, ("instances", instance.uid))


def server_row(record: ServerRecord) -> Row:
    """What is remembered of a server as its row."""
    values = {
        "name": record.name,
        "phase": record.status.phase.value if record.status else "Pending",
        "message": record.status.message if record.status else "",
        "n": record.n,
        "restarts": record.restarts,
        "backoff_until": record.ended.wall + record.delay if record.ended else None,
        "record": RECORD.dump_json(record).decode(),
    }
    return Row("servers", "name", values, ("servers", record.name))


def source_row(source: SourceRecord) -> Row:
    """What is remembered of a source as its row."""
    return Row(
        "sources", "name", {"name": source.name, "row": SOURCE.dump_json(source).decode()}, ("sources", source.name)
    )


def port_row(server: str, port: int) -> Row:
    """An assigned port as its row."""
    return Row("ports", "server", {"server": server, "port": port}, ("ports", server))


def request_row(number: int, kind: str, server: str, wall: float | None) -> Row:
    """An open request as its row; without `wall`, when it was made, the row keeps what it says."""
    values: dict[str, Any] = {"id": number, "kind": kind, "server": server, "done_at": None}
    if wall is not None:
        values["created_at"] = wall
    return Row("requests", "id", values, ("requests", number))


def fact_row(key: str, value: str) -> Row:
    """A fact about the installation as its row."""
    return Row("meta", "key", {"key": key, "value": value}, ("meta", key))


def open_snapshot(folder: Path) -> sqlite3.Connection | None:
    """The database of a state folder, read-only; None when there is none. Raises ReadError."""
    return open_readonly(folder) if (folder / DATABASE).exists() else None
