"""`get`: lists of servers, events, restarts and sources."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from reconciler.cli.failure import BAD_INPUT, Failure, did_you_mean, refuse_unknown
from reconciler.cli.history import EVENT_HEADERS, RESTART_HEADERS, event_row, history_table, restart_row
from reconciler.cli.invocation import SERVER_NAME, Invocation, Verb, pass_invocation
from reconciler.cli.output import format_option, list_of, print_json, print_yaml, show
from reconciler.cli.servers import paint_phase, server_lines, server_row, server_table, summary
from reconciler.cli.sources import (
    NO_SOURCES,
    has_notes,
    named_sources,
    notes,
    source_row,
    source_table,
    warn_of_old_settings,
)
from reconciler.cli.sources import warnings as source_warnings
from reconciler.cli.standing import opened
from reconciler.cli.tables import Table
from reconciler.cli.terminal import clean, width
from reconciler.installation import is_controller_running
from reconciler.store import read

RESOURCES = {"server": "servers", "event": "events", "restart": "restarts", "source": "sources"}
MOST_WARNINGS = 5
TABLE_LIMIT = 100
"""Rows of history in a table, unless asked otherwise."""


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


@click.command(cls=Verb, short_help="List servers, events, restarts or sources.")
@click.argument("resource", metavar="servers|events|restarts|sources")
@click.argument("names", metavar="[NAME]…", nargs=-1, type=SERVER_NAME)
@format_option
@click.option("-w", "--watch", is_flag=True, help="Go on showing what changes, until Ctrl-C.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="Newest events or restarts to list.  [default: 100 in a table]"
)
@pass_invocation
def get(
    invocation: Invocation, resource: str, names: tuple[str, ...], output: str | None, watch: bool, limit: int | None
) -> None:
    """List servers, events or restarts, of all servers or of the named ones; or the sources of manifests."""
    resource = RESOURCES.get(resource, resource)
    if resource not in RESOURCES.values():
        message = f"no such list '{resource}'{did_you_mean(resource, RESOURCES.values())}"
        raise Failure(
            message,
            f"there are: {', '.join(f'reconciler get {known}' for known in RESOURCES.values())}",
            exit_code=BAD_INPUT,
        )
    state = invocation.state_folder()
    try:
        with opened(state, warns=True) as db:
            _refuse_unknown(db, resource, names)
            if resource == "sources":
                warn_of_old_settings(state)
            told = _warn(db, state) if resource == "servers" else ""
            listing = _LISTINGS[resource](_Question(resource, state, names or None, output, limit, told))
            if watch:
                from reconciler.cli.watch import watch_list  # noqa: PLC0415 - only -w needs it

                watch_list(state, listing, output)
            else:
                show_list(listing, listing.read(db), output)
    except read.ReadError as error:
        raise Failure(str(error)) from None


def show_list(listing: Listing, items: Sequence[Any], output: str | None) -> None:
    """Print a list once."""
    if output == "json":
        print_json(list_of(listing.kind, items))
    elif output == "yaml":
        print_yaml(list_of(listing.kind, items))
    elif output == "name":
        for item in items:
            show(listing.name(item))
    elif items:
        show("\n".join(table_lines(listing, items)))
    elif listing.empty:
        click.echo(listing.empty, err=True)


def table_lines(listing: Listing, items: Sequence[Any]) -> list[str]:
    """The table with its last line."""
    if listing.lines is not None:
        lines = listing.lines(items)
    else:
        lines = listing.table().lines([listing.row(item) for item in items], paint_phase)
    last = listing.summary(items) if listing.summary else ""
    return [*lines, last] if last else lines


@dataclass(frozen=True)
class _Question:
    """What was asked for."""

    resource: str
    state: Path
    names: Sequence[str] | None
    output: str | None
    limit: int | None
    told: str
    """What the warnings say of all servers."""

    @property
    def is_wide(self) -> bool:
        """Whether a table may be as broad as it likes."""
        return self.output == "wide"

    @property
    def most(self) -> int | None:
        """Rows of history; None: all."""
        return self.limit or (None if self.output in ("json", "yaml", "name") else TABLE_LIMIT)


def _servers(asked: _Question) -> Listing:
    return Listing(
        "LlamaServerList",
        lambda db: read.servers(db, asked.names, now=time.time(), controller=is_controller_running(asked.state)),
        lambda: server_table(wide=asked.is_wide),
        lambda item: server_row(item, time.time(), wide=asked.is_wide, told=asked.told),
        lambda item: f"server/{item['metadata']['name']}",
        summary,
        "no servers are declared; write a manifest into the manifests folder, or run: reconciler apply -f FILE",
        None if asked.is_wide else lambda items: server_lines(items, time.time(), asked.told, width()),
    )


def _events(asked: _Question) -> Listing:
    return Listing(
        "EventList",
        lambda db: read.events(db, asked.names, limit=asked.most),
        lambda: history_table(EVENT_HEADERS, wide=asked.is_wide),
        lambda item: event_row(item, time.time()),
        lambda item: f"event/{item['server']}/{item['reason']}",
        empty="nothing has happened yet",
    )


def _restarts(asked: _Question) -> Listing:
    return Listing(
        "RestartList",
        lambda db: read.restarts(db, asked.names, limit=asked.most),
        lambda: history_table(RESTART_HEADERS, wide=asked.is_wide),
        lambda item: restart_row(item, time.time()),
        lambda item: f"restart/{item['server']}/{item['uid']}",
        empty="nothing was started yet",
    )


def _sources(asked: _Question) -> Listing:
    return Listing(
        "SourceList",
        lambda db: named_sources(db, asked.names),
        lambda: source_table(wide=asked.is_wide),
        lambda item: source_row(item, time.time(), wide=asked.is_wide),
        lambda item: f"source/{item['metadata']['name']}",
        (lambda items: notes(items, time.time())) if has_notes() and not asked.is_wide else None,
        NO_SOURCES,
    )


_LISTINGS = {"servers": _servers, "events": _events, "restarts": _restarts, "sources": _sources}


def _refuse_unknown(db: sqlite3.Connection, resource: str, names: Sequence[str]) -> None:
    if resource == "sources":
        named_sources(db, names)
    elif names:
        known = read.names(db)
        # Servers and sources that are gone have a history all the same.
        present = known if resource == "servers" else {*known, *read.names_in_history(db)}
        named_sources(db, [name for name in names if name.startswith("source/") and name not in present] or None)
        refuse_unknown([name for name in names if not name.startswith("source/")], present)


def _warn(db: sqlite3.Connection, state: Path) -> str:
    """On stderr: that no controller runs, and what is wrong with the manifests as a whole. Returns the latter."""
    warnings = [] if is_controller_running(state) else ["no controller is running; start one with: reconciler run"]
    manifests = read.meta(db).get("manifests", {})
    folder_problem = str(manifests.get("folderProblem", ""))
    warnings += [folder_problem] if folder_problem else []
    warnings += source_warnings(read.sources(db), time.time())
    problems = manifests.get("problems", [])
    warnings += problems[:MOST_WARNINGS]
    if len(problems) > MOST_WARNINGS:
        warnings.append(f"{len(problems) - MOST_WARNINGS} more errors; see them with: reconciler validate")
    for warning in warnings:
        click.echo(f"warning: {clean(warning)}", err=True)
    return folder_problem
