"""`describe profile`, `describe defaults`: what a document selects, what is wrong with it, and what happened to it."""

import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reconciler.cli.failure import Failure, database_trouble, did_you_mean
from reconciler.cli.history import EVENT_HEADERS, event_row
from reconciler.cli.kinds import Kind
from reconciler.cli.sections import EVENTS, field_lines, history_section, pairs, section, tree
from reconciler.cli.servers import paint_phase
from reconciler.cli.standing import opened
from reconciler.cli.tables import Table
from reconciler.cli.terminal import clean
from reconciler.store import past, read

Item = Mapping[str, Any]
PROFILES = "profiles"


def document_data(db: sqlite3.Connection, kind: Kind, name: str) -> dict[str, Any]:
    """The document as `get -o json` has it, with its newest events. Raises Failure."""
    items = {
        item["metadata"]["name"]: item for item in (read.profiles if kind.plural == PROFILES else read.defaults)(db)
    }
    if name not in items:
        message = f"no {kind.singular} '{name}'{did_you_mean(name, items)}"
        raise Failure(message, f"see which there are with: reconciler get {kind.plural}")
    return {**items[name], "events": past.events(db, [f"{kind.document}/{name}"], limit=EVENTS)}


def document_lines(state: Path, kind: Kind, name: str) -> list[str]:
    """All of it, for people. Raises Failure."""
    now = time.time()
    with database_trouble(state), opened(state, warns=True) as db:
        item = document_data(db, kind, name)
        servers = read.servers(db, item["status"]["selected"], now=now, controller=True)
    status = item["status"]
    return [
        *_head(kind, item),
        *section("Spec", tree(item["spec"], {})),
        *section("Selects", _selected(item, servers)),
        *section("Problems", [clean(text) for text in status["problems"]]),
        *section("Events", history_section(EVENT_HEADERS, [event_row(one, now) for one in item["events"]])),
        *field_lines([("What to do", _advice(kind, item))]),
    ]


def _head(kind: Kind, item: Item) -> Iterable[str]:
    metadata, status = item["metadata"], item["status"]
    source = metadata["source"]
    return field_lines(
        [
            ("Name", metadata["name"]),
            ("Kind", kind.document),
            ("Active", _active(item) if kind.plural == PROFILES else ""),
            ("Ready", f"{status['ready']} of {status['total']}" if kind.plural == PROFILES else ""),
            ("Held", status["held"]),
            ("Declared in", f"{source['file']}:{source['line']}, generation {metadata['generation']}"),
            ("Labels", pairs(metadata["labels"])),
            ("Annotations", pairs(metadata["annotations"])),
        ]
    )


def _active(item: Item) -> str:
    if item["status"]["active"]:
        return "yes: only the servers that it selects run"
    return "not yet" if item["spec"].get("active") else "no"


def _selected(item: Item, servers: Iterable[Item]) -> list[str]:
    """The servers with their phases; that there are none is told too."""
    phases = {one["metadata"]["name"]: one["status"]["phase"] for one in servers}
    rows = [[name, phases.get(name, "")] for name in item["status"]["selected"]]
    return Table(("SERVER", "PHASE"), width=None).lines(rows, paint_phase) if rows else ["no server"]


def _advice(kind: Kind, item: Item) -> str:
    name, source = item["metadata"]["name"], item["metadata"]["source"]
    if item["status"]["problems"]:
        return f"correct {source['file']}:{source['line']}; check it with: reconciler validate"
    if kind.plural == PROFILES and not item["spec"].get("active"):
        return f"have its servers run, and no others: reconciler profile use {name}"
    return ""
