"""How each kind of thing is read and shown by `get`."""

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.cli import loading
from reconciler.cli.history import EVENT_HEADERS, RESTART_HEADERS, event_row, history_table, restart_lines, restart_row
from reconciler.cli.kinds import KINDS
from reconciler.cli.output import list_of, print_json, print_yaml, say, show
from reconciler.cli.selecting import Choice, labels_of
from reconciler.cli.servers import paint_phase, server_lines, server_row, server_table, summary
from reconciler.cli.sources import NO_SOURCES, has_notes, named_sources, notes, source_row, source_table
from reconciler.cli.tables import Table
from reconciler.cli.terminal import width
from reconciler.installation import is_controller_running
from reconciler.store import past, read

TABLE_LIMIT = 100
"""Rows of history in a table, unless asked otherwise."""
NO_SERVERS = "no servers are declared; write a manifest into the manifests folder, or run: reconciler apply -f FILE"
NONE_CHOSEN = "nothing fits what was asked for; see all with: reconciler get {}"


@dataclass(frozen=True)
class Listing:
    """How one kind of thing is read and shown."""

    kind: str
    """Of the list, in JSON."""
    read: Callable[[sqlite3.Connection], list[Any]]
    table: Callable[[], Table]
    row: Callable[[Any], list[str]]
    name: Callable[[Any], str]
    """For `-o name`, and to tell what changed."""
    summary: Callable[[Sequence[Any]], str] | None = None
    empty: str = ""
    lines: Callable[[Sequence[Any]], list[str]] | None = None
    """The table as it fits a terminal, where its columns depend on what is in it."""
    happened: bool = False
    """It lists what happened, to which nothing happens any more."""
    selects: bool = False
    """Some are left out, so that one which is not listed any more need not be gone."""


@dataclass(frozen=True)
class Question:
    """What was asked for."""

    resource: str
    state: Path
    names: Sequence[str] | None
    output: str | None = None
    limit: int | None = None
    told: str = ""
    """What the warnings say of all servers."""
    choice: Choice = field(default_factory=Choice)

    @property
    def is_wide(self) -> bool:
        """Whether a table may be as broad as it likes."""
        return self.output == "wide"

    @property
    def most(self) -> int | None:
        """Rows of history; None: all."""
        return self.limit or (None if self.output in ("json", "yaml", "name") else TABLE_LIMIT)


def show_list(listing: Listing, items: Sequence[Any], output: str | None) -> None:
    """Print a list once."""
    show_lists([(listing, items)], output)


def show_lists(found: Sequence[tuple[Listing, Sequence[Any]]], output: str | None) -> None:
    """Print lists once: as tables one below the other, as data in one."""
    if output in ("json", "yaml"):
        (print_json if output == "json" else print_yaml)(_as_one(found))
        return
    if output == "name":
        for listing, items in found:
            for item in items:
                show(listing.name(item))
        return
    filled = [(listing, items) for listing, items in found if items]
    for number, (listing, items) in enumerate(filled):
        show("\n".join([*([""] if number else []), *table_lines(listing, items)]))
    if not filled and found[0][0].empty:
        say(found[0][0].empty, err=True)


def _as_one(found: Sequence[tuple[Listing, Sequence[Any]]]) -> dict[str, Any]:
    """The list; of several kinds one list of all, each thing with its kind."""
    if len(found) == 1:
        listing, items = found[0]
        return list_of(listing.kind, items)
    return list_of("List", [of_kind(listing, item) for listing, items in found for item in items])


def of_kind(listing: Listing, item: Mapping[str, Any]) -> dict[str, Any]:
    """A thing with its kind."""
    return {"kind": listing.kind.removesuffix("List"), **item}


def table_lines(listing: Listing, items: Sequence[Any]) -> list[str]:
    """The table with its last line."""
    if listing.lines is not None:
        lines = listing.lines(items)
    else:
        lines = listing.table().lines([listing.row(item) for item in items], paint_phase)
    last = listing.summary(items) if listing.summary else ""
    return [*lines, last] if last else lines


def listing_of(asked: Question) -> Listing:
    """How what was asked for is read and shown."""
    listing = _LISTINGS[asked.resource](asked)
    if not asked.choice.selects:
        return listing
    return Listing(**{**vars(listing), "empty": NONE_CHOSEN.format(asked.resource), "selects": True})


# ---------------------------------------------------------------- what is


def _servers(asked: Question) -> Listing:
    def found(db: sqlite3.Connection) -> list[Any]:
        controller = is_controller_running(asked.state)
        items = loading.servers(db, asked.names, now=time.time(), controller=controller)
        if asked.output in ("json", "yaml") or asked.choice.needs_explanations:
            from reconciler.store.explained import explain_all  # noqa: PLC0415 - tables are asked for more often

            explain_all(db, items, controller=controller)
        return asked.choice.of(items)

    return Listing(
        "LlamaServerList",
        found,
        lambda: server_table(wide=asked.is_wide),
        lambda item: server_row(item, time.time(), wide=asked.is_wide, told=asked.told),
        lambda item: f"server/{item['metadata']['name']}",
        summary,
        NO_SERVERS,
        None if asked.is_wide else lambda items: server_lines(items, time.time(), asked.told, width()),
    )


def _sources(asked: Question) -> Listing:
    return Listing(
        "SourceList",
        lambda db: asked.choice.of(named_sources(db, asked.names)),
        lambda: source_table(wide=asked.is_wide),
        lambda item: source_row(item, time.time(), wide=asked.is_wide),
        lambda item: f"source/{item['metadata']['name']}",
        (lambda items: notes(items, time.time())) if has_notes() and not asked.is_wide else None,
        NO_SOURCES,
    )


def _profiles(asked: Question) -> Listing:
    from reconciler.cli.profiles import (  # noqa: PLC0415 - seldom listed
        NO_PROFILES,
        profile_row,
        profile_summary,
        profile_table,
    )

    return Listing(
        "ProfileList",
        lambda db: asked.choice.of(_named(read.profiles(db), asked.names)),
        lambda: profile_table(wide=asked.is_wide),
        lambda item: profile_row(item, wide=asked.is_wide),
        lambda item: f"profile/{item['metadata']['name']}",
        # Of a part of them it cannot be said.
        None if asked.names or asked.choice.selects else profile_summary,
        NO_PROFILES,
    )


def _defaults(asked: Question) -> Listing:
    from reconciler.cli.defaults import NO_DEFAULTS, defaults_row, defaults_table  # noqa: PLC0415 - seldom listed

    return Listing(
        "LlamaServerDefaultsList",
        lambda db: asked.choice.of(_named(read.defaults(db), asked.names)),
        lambda: defaults_table(wide=asked.is_wide),
        lambda item: defaults_row(item, wide=asked.is_wide),
        lambda item: f"default/{item['metadata']['name']}",
        empty=NO_DEFAULTS,
    )


def _named(items: Sequence[Any], names: Sequence[str] | None) -> list[Any]:
    return [item for item in items if names is None or item["metadata"]["name"] in names]


# ---------------------------------------------------------------- what happened


def _events(asked: Question) -> Listing:
    return Listing(
        "EventList",
        lambda db: _newest(db, asked, past.events),
        lambda: history_table(EVENT_HEADERS, wide=asked.is_wide),
        lambda item: event_row(item, time.time()),
        lambda item: f"event/{item['server']}/{item['reason']}",
        empty="nothing has happened yet",
        happened=True,
    )


def _restarts(asked: Question) -> Listing:
    return Listing(
        "RestartList",
        lambda db: _newest(db, asked, past.restarts),
        lambda: history_table(RESTART_HEADERS, wide=asked.is_wide),
        lambda item: restart_row(item, time.time()),
        lambda item: f"restart/{item['server']}/{item['uid']}",
        lines=None if asked.is_wide else lambda items: restart_lines(items, time.time(), width()),
        empty="nothing was started yet",
        happened=True,
    )


def _newest(db: sqlite3.Connection, asked: Question, history: Callable[..., list[Any]]) -> list[Any]:
    """The newest of those that fit; labels are those of the server that it happened to."""
    choice = asked.choice
    if not choice.selects:
        return choice.of(history(db, asked.names, limit=asked.most))
    labels: Mapping[str, Mapping[str, str]] = {}
    if choice.labels is not None:
        items = read.servers(db, now=time.time(), controller=True)
        labels = {item["metadata"]["name"]: labels_of(item) for item in items}
    fitting = choice.of(history(db, asked.names), lambda item: labels.get(item["server"], {}))
    return fitting[-asked.most :] if asked.most else fitting


_LISTINGS: Mapping[str, Callable[[Question], Listing]] = {
    "servers": _servers,
    "profiles": _profiles,
    "defaults": _defaults,
    "sources": _sources,
    "events": _events,
    "restarts": _restarts,
}
assert _LISTINGS.keys() == KINDS.keys()
