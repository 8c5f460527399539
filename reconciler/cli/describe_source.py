"""`describe source`: where manifests come from, how far that is followed, and what can be done."""

import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.cli.failure import database_trouble
from reconciler.cli.history import EVENT_HEADERS, age, event_row
from reconciler.cli.sections import EVENTS, field_lines, history_section, section
from reconciler.cli.servers import condition, paint_phase
from reconciler.cli.sources import named_sources, warn_of_old_settings
from reconciler.cli.standing import opened
from reconciler.cli.tables import Table
from reconciler.cli.terminal import clean
from reconciler.core.source import Revision, event_object
from reconciler.installation import is_controller_running
from reconciler.store import past, read

Item = Mapping[str, Any]
_THEN = "in reconciler.toml and run the controller again"
_REMEDIES = {
    "RefMissing": f"push the branch or tag again, or set branch or tag under [source.git] {_THEN}",
    "AuthenticationFailed": "see the files under [source.git.auth] in reconciler.toml: put a token or key there that "
    "may read the repository; they are read at each look",
    "HostKeyUnknown": "add the host's key to known_hosts_file (ssh-keyscan HOST), once compared with what it publishes",
    "RepositoryMissing": f"see url under [source.git] in reconciler.toml; where it is wrong, set it {_THEN}",
    "TooLarge": f"raise max_mib under [source.git] {_THEN}, or keep manifests in a repository of their own",
    "GitMissing": "install git where the controller runs (apt install git)",
}
"""What can be done about a remote, by the reason for which a look went wrong; for others there is only time."""


def source_data(db: sqlite3.Connection, name: str) -> dict[str, Any]:
    """The source as `get sources -o json` has it, with its newest events. Raises Failure."""
    (item,) = named_sources(db, [name])
    return {**item, "events": past.events(db, [event_object(item["metadata"]["name"])], limit=EVENTS)}


def source_lines(state: Path, name: str) -> list[str]:
    """All that is known of a source. Raises Failure."""
    now, controller = time.time(), is_controller_running(state)
    warn_of_old_settings(state)
    with database_trouble(state), opened(state, warns=True) as db:
        (item,) = named_sources(db, [name])
        own = item["metadata"]["name"]
        events = past.events(db, [event_object(own)], limit=EVENTS)
        every = read.servers(db, now=now, controller=controller)
    servers = [one for one in every if (one["metadata"].get("source") or {}).get("origin") == own]
    return [
        *_head(item, now),
        *section("Problems of the pending revision", [clean(text) for text in item["status"]["problems"]]),
        *section("Conditions", _conditions(item)),
        *section("Servers", _servers(servers)),
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
            ("Last good look", age(status["lastCheckedAt"], now) if status["lastCheckedAt"] else "none went well yet"),
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
    return history_section(("TYPE", "STATUS", "REASON", "MESSAGE"), rows)


def _servers(items: Sequence[Item]) -> list[str]:
    rows = [[one["metadata"]["name"], one["status"]["phase"], one["metadata"]["source"]["file"]] for one in items]
    return Table(("NAME", "PHASE", "FILE"), width=None).lines(rows, paint_phase) if rows else []


def _events(events: Sequence[Item], now: float) -> list[str]:
    return history_section(EVENT_HEADERS, [event_row(one, now) for one in events])


def _advice(item: Item, *, controller: bool) -> list[tuple[str, str]]:
    """What can be done, each with a command."""
    name, status = item["metadata"]["name"], item["status"]
    told = []
    if status["problems"]:
        told.append("correct the pending revision's errors and push; to ask at once: reconciler sync")
    if status["lastError"]:
        remedy = _REMEDIES.get(condition(item, "Ready")["reason"])
        told += [remedy] if remedy else []
        told.append(f"to {'see whether it helped' if remedy else 'try the remote again at once'}: reconciler sync")
    if status["suspended"]:
        told.append(f"follow it again: reconciler resume source {name}")
    if not controller:
        told.append("no controller is running, so nobody asks the remote; start one: reconciler run")
    return [("What to do" if not number else "or", text) for number, text in enumerate(told)]
