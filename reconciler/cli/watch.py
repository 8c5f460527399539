"""`get -w`: redrawn on a terminal, new lines for programs."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reconciler.cli.listing import Listing, of_kind, show_list, table_lines
from reconciler.cli.looking import looks
from reconciler.cli.output import print_json, print_yaml, show
from reconciler.cli.servers import paint_phase
from reconciler.cli.terminal import is_terminal

_PASSING = {"uptimeSeconds": None, "lastCheckedAt": None, "loading": None}


def watch_list(state: Path, listing: Listing, output: str | None) -> None:
    """Show the list, then each change of it, until interrupted."""
    watch_lists(state, [listing], output)


def watch_lists(state: Path, listings: Sequence[Listing], output: str | None) -> None:
    """Show lists, then each change of them, until interrupted."""
    if is_terminal() and output in (None, "wide") and not any(listing.happened for listing in listings):
        _redraw(state, listings)
    else:
        _append(state, listings, output)


def _redraw(state: Path, listings: Sequence[Listing]) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to import, and of use on terminals only
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = None
    with Live(console=Console(), auto_refresh=False, vertical_overflow="crop") as live:
        for found in looks(state, lambda db: [listing.read(db) for listing in listings]):
            text = "\n\n".join(_picture(listing, items) for listing, items in zip(listings, found, strict=True))
            text = _cropped(text, shutil.get_terminal_size().lines - 1)
            if text != drawn:
                drawn = text
                live.update(Text.from_ansi(text, no_wrap=True), refresh=True)


def _cropped(text: str, most: int) -> str:
    """As many lines as a terminal has, the last of them always: what is longer could not be drawn over."""
    lines = text.split("\n")
    if len(lines) <= most:
        return text
    kept = max(0, most - 2)
    return "\n".join([*lines[:kept], f"{len(lines) - kept - 1} more lines", lines[-1]])


def _picture(listing: Listing, items: Sequence[Any]) -> str:
    return "\n".join(table_lines(listing, items)) if items else listing.empty


def _append(state: Path, listings: Sequence[Listing], output: str | None) -> None:
    """All at first, then what is new or different."""
    shown = [_Shown(listing, output, is_one=len(listings) == 1) for listing in listings]
    for found in looks(state, lambda db: [listing.read(db) for listing in listings]):
        for each, items in zip(shown, found, strict=True):
            each.show(items)


class _Shown:
    """What was printed of one list."""

    def __init__(self, listing: Listing, output: str | None, *, is_one: bool) -> None:
        self._listing = listing
        self._output = output
        self._is_one = is_one
        self._table = listing.table()
        self._seen: dict[str, Any] | None = None

    def show(self, items: Sequence[Any]) -> None:
        """Print what is new or different; the first time all."""
        before, found = self._seen or {}, _by_name(self._listing, items)
        changed = [item for item, key in zip(items, found, strict=True) if before.get(key) != found[key]]
        gone = [] if self._listing.happened else [name for name in before if name not in found]
        if self._output == "name":
            show_list(self._listing, changed, self._output)
        elif self._output in ("json", "yaml"):
            self._print_objects([*changed, *({**before[name], "gone": True} for name in gone)])
        else:
            self._print_rows(changed, gone)
        self._seen = found

    def _print_rows(self, changed: Sequence[Any], gone: Sequence[str]) -> None:
        rows = [self._listing.row(item) for item in changed]
        farewell = "removed, or not among these any more" if self._listing.selects else "removed"
        blanks = ["-"] * (len(self._table.headers) - 2)
        rows += [[name.partition("/")[2], *blanks, farewell] for name in gone]
        is_first = self._seen is None and (bool(rows) or self._is_one)
        if rows or is_first:
            show("\n".join(self._table.lines(rows, paint_phase, header=is_first)))

    def _print_objects(self, items: Sequence[Any]) -> None:
        """One object after the other: JSON Lines, or YAML documents; of several kinds each with its kind."""
        for item in items:
            shown = item if self._is_one else of_kind(self._listing, item)
            if self._output == "json":
                print_json(shown, indent=None)
            else:
                show("---")
                print_yaml(shown)


def _by_name(listing: Listing, items: Sequence[Any]) -> dict[str, Any]:
    """What is compared: everything but the time that passes, and that all is as it was."""
    found = {}
    for number, item in enumerate(items):
        name = listing.name(item)
        status = item.get("status")
        content = {**item, "status": {**status, **_PASSING}} if status else item
        found[name if name not in found else f"{name}#{number}"] = content
    return found
