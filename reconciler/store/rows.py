"""How rows become values: shared by the writer and by read-only snapshots."""

import json
import sqlite3
from pathlib import Path

from pydantic import TypeAdapter

from reconciler.core.history import History, Instance, ServerRecord
from reconciler.core.model import Document
from reconciler.core.source import SourceRecord
from reconciler.core.spec import ServerSpec
from reconciler.store.read import DATABASE, open_readonly, origin_column

REQUEST_KINDS = ("stop", "restart", "prune", "suspendSource")
"""What can be asked for and is kept until it is done or taken back; the last one's object is a source."""
INSTANCE = TypeAdapter(Instance)
RECORD = TypeAdapter(ServerRecord)
SOURCE = TypeAdapter(SourceRecord)


def read_documents(connection: sqlite3.Connection) -> dict[str, Document]:
    """The accepted documents."""
    columns = f"kind, name, file, line, labels, annotations, spec, generation, {origin_column(connection)}"
    rows = connection.execute(f"select {columns} from documents")  # noqa: S608 - names of ours
    return {
        name: Document(
            kind=kind,
            name=name,
            file=file,
            line=line,
            labels=json.loads(labels),
            annotations=json.loads(annotations),
            spec=ServerSpec.model_validate_json(spec),
            generation=generation,
            origin=origin,
        )
        for kind, name, file, line, labels, annotations, spec, generation, origin in rows
    }


def read_history(connection: sqlite3.Connection) -> History:
    """What is remembered of the servers, and their open instances."""
    servers = connection.execute("select name, record from servers")
    instances = connection.execute("select server, row from instances where ended_at is null order by started_at")
    ports = connection.execute("select server, port from ports")
    return History(
        servers={name: RECORD.validate_json(record) for name, record in servers},
        instances={server: INSTANCE.validate_json(row) for server, row in instances},
        ports=dict(ports.fetchall()),
    )


def read_sources(connection: sqlite3.Connection) -> dict[str, SourceRecord]:
    """What is remembered of the sources."""
    return {name: SOURCE.validate_json(row) for name, row in connection.execute("select name, row from sources")}


def read_requests(connection: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """Open requests: ids by kind and server."""
    found: dict[str, dict[str, int]] = {kind: {} for kind in REQUEST_KINDS}
    for number, kind, server in connection.execute(
        "select id, kind, server from requests where done_at is null order by id"
    ):
        found.setdefault(kind, {})[server] = number
    return found


def open_snapshot(folder: Path) -> sqlite3.Connection | None:
    """The database of a state folder, read-only; None when there is none. Raises ReadError."""
    return open_readonly(folder) if (folder / DATABASE).exists() else None
