"""`get -w`: redrawn on a terminal, new lines for programs."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from reconciler.cli.get import Listing, show_list, table_lines
from reconciler.cli.output import print_json, print_yaml, show
from reconciler.cli.servers import paint_phase
from reconciler.cli.standing import opened
from reconciler.cli.terminal import is_terminal
from reconciler.store import read

LOOK = 0.1
"""Seconds between looks for commits."""
_PASSING = {"uptimeSeconds": None, "lastCheckedAt": None}
PATIENCE = 5.0
"""Seconds for a database that cannot be read."""
REDRAW = 1.0
"""Seconds after which times and processes are looked at again without a commit."""


def watch_list(state: Path, listing: Listing, output: str | None) -> None:
    """Show the list, then each change of it, until interrupted."""
    if is_terminal() and output in (None, "wide") and listing.summary:
        _redraw(state, listing)
    else:
        _append(state, listing, output)


def _looks(state: Path, listing: Listing) -> Iterator[list[Any]]:
    """The list: now, after each commit, and each second, then of the database that is there by now."""
    good_at = time.monotonic()
    while True:
        try:
            with opened(state) as db:
                good_at = time.monotonic()
                yield from _commits(db, listing, good_at + REDRAW)
        except read.ReadError:
            # It is being made anew.
            if time.monotonic() - good_at > PATIENCE:
                raise
            time.sleep(LOOK)


def _commits(db: sqlite3.Connection, listing: Listing, until: float) -> Iterator[list[Any]]:
    seen = None
    while time.monotonic() < until:
        version = read.version_of(db)
        if version != seen:
            seen = version
            yield listing.read(db)
        time.sleep(LOOK)


def _redraw(state: Path, listing: Listing) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to import, and of use on terminals only
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    with Live(console=Console(), auto_refresh=False, vertical_overflow="visible") as live:
        for items in _looks(state, listing):
            text = "\n".join(table_lines(listing, items)) if items else listing.empty
            live.update(Text.from_ansi(text, no_wrap=True), refresh=True)


def _append(state: Path, listing: Listing, output: str | None) -> None:
    """All at first, then what is new or different."""
    looks = _looks(state, listing)
    items = next(looks)
    table = listing.table()
    if output in (None, "wide"):
        show("\n".join(table.lines([listing.row(item) for item in items], paint_phase)))
    elif output == "name":
        show_list(listing, items, output)
    else:
        _print_objects(items, output)
    seen = _by_name(listing, items)
    for items in looks:
        found = _by_name(listing, items)
        changed = [item for item, key in zip(items, found, strict=True) if seen.get(key) != found[key]]
        gone = [name for name in seen if name not in found] if listing.summary else []
        if output == "name":
            show_list(listing, changed, output)
        elif output in ("json", "yaml"):
            _print_objects(changed, output)
        else:
            rows = [listing.row(item) for item in changed]
            rows += [[name.partition("/")[2], *["-"] * (len(table.headers) - 2), "removed"] for name in gone]
            _show_rows(table.lines(rows, paint_phase, header=False))
        seen = found


def _by_name(listing: Listing, items: Sequence[Any]) -> dict[str, Any]:
    """What is compared: everything but the time that passes, and that all is as it was."""
    found = {}
    for number, item in enumerate(items):
        name = listing.name(item)
        status = item.get("status")
        content = {**item, "status": {**status, **_PASSING}} if status else item
        found[name if name not in found else f"{name}#{number}"] = content
    return found


def _show_rows(lines: Sequence[str]) -> None:
    if lines:
        show("\n".join(lines))


def _print_objects(items: Sequence[Any], output: str | None) -> None:
    """One object after the other: JSON Lines, or YAML documents."""
    for item in items:
        if output == "json":
            print_json(item, indent=None)
        else:
            show("---")
            print_yaml(item)
