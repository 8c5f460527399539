"""`describe source`: where manifests come from, how far that is followed, and what can be done."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.cli.describe import EVENTS, field_lines, section
from reconciler.cli.failure import database_trouble
from reconciler.cli.history import EVENT_HEADERS, age, event_row
from reconciler.cli.servers import condition
from reconciler.cli.sources import named_sources
from reconciler.cli.tables import Table
from reconciler.cli.terminal import clean, paint
from reconciler.core.source import Revision, event_object
from reconciler.installation import is_controller_running
from reconciler.store import read

Item = Mapping[str, Any]


def source_lines(state: Path, name: str) -> list[str]:
    """All that is known of a source. Raises Failure."""
    now, controller = time.time(), is_controller_running(state)
    with database_trouble(state), read.opened(state) as db:
        (item,) = named_sources(db, [name])
        own = item["metadata"]["name"]
        events = read.events(db, [event_object(own)], limit=EVENTS)
        every = read.servers(db, now=now, controller=controller)
    servers = [one for one in every if (one["metadata"].get("source") or {}).get("origin") == own]
    return [
        *_head(item, now),
        *section("Problems of the pending revision", [clean(text) for text in item["status"]["problems"]]),
        *section("Conditions", _conditions(item)),
        *section("Servers", [_server(one) for one in servers]),
        *section("Events", _events(events, now)),
        *field_lines(_advice(item, controller=controller)),
    ]


def _head(item: Item, now: float) -> Iterable[str]:
    spec, status = item["spec"], item["status"]
    return field_lines(
        [
            ("Name", item["metadata"]["name"]),
            ("Status", condition(item, "Ready")["reason"]),
            ("URL", spec["url"]),
            ("Follows", spec["ref"]),
            ("Folder", spec["path"]),
            ("Interval", spec["interval"]),
            ("In force", _revision(status["revision"], status["appliedAt"], now) or "no revision yet"),
            ("Pending", _revision(status["pending"], None, now)),
            ("Last look", age(status["lastCheckedAt"], now) if status["lastCheckedAt"] else "none went well yet"),
            ("Last error", status["lastError"]),
            ("Since", age(status["errorSince"], now) if status["errorSince"] else ""),
        ]
    )


def _revision(revision: Item | None, applied_at: str | None, now: float) -> str:
    if revision is None:
        return ""
    known = [str(Revision(revision["commit"], revision["subject"])), revision["commit"]]
    known += [f"committed {age(revision['committedAt'], now)}"] if revision["committedAt"] else []
    known += [f"applied {age(applied_at, now)}"] if applied_at else []
    return ", ".join(known)


def _conditions(item: Item) -> list[str]:
    rows = [[one["type"], one["status"], one["reason"], one["message"]] for one in item["status"]["conditions"]]
    return Table(("TYPE", "STATUS", "REASON", "MESSAGE"), width=None).lines(rows)


def _server(item: Item) -> str:
    phase, file = item["status"]["phase"], item["metadata"]["source"]["file"]
    return f"{clean(item['metadata']['name'])}  {paint(phase, phase)}  {clean(file)}"


def _events(events: Sequence[Item], now: float) -> list[str]:
    return Table(EVENT_HEADERS, width=None).lines([event_row(one, now) for one in events]) if events else []


def _advice(item: Item, *, controller: bool) -> list[tuple[str, str]]:
    """What can be done, each with a command."""
    name, status = item["metadata"]["name"], item["status"]
    told = []
    if status["problems"]:
        told.append("correct the pending revision's errors and push; to ask at once: reconciler sync")
    if status["lastError"]:
        told.append("to try the remote again at once: reconciler sync")
    if status["suspended"]:
        told.append(f"follow it again: reconciler resume source {name}")
    if not controller:
        told.append("no controller is running, so nobody asks the remote; start one: reconciler run")
    return [("What to do" if not number else "or", text) for number, text in enumerate(told)]
