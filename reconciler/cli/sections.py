"""What descriptions are made of: fields, and sections below headings, folded where a terminal is narrow."""

from collections.abc import Iterable, Sequence

from reconciler.cli.folding import fold_behind
from reconciler.cli.tables import Table
from reconciler.cli.terminal import cells, clean, width

LABEL = 16
"""Columns of a field's heading."""


def field_lines(fields: Iterable[tuple[str, str]]) -> Iterable[str]:
    """`Heading:  text`, without those that say nothing."""
    return [
        line
        for heading, text in fields
        if text
        for line in fold_behind(f"{heading + ':':<{LABEL}} ", clean(text), width())
    ]


def section(heading: str, lines: Iterable[str]) -> list[str]:
    """Lines below a heading; nothing where there are none."""
    content = [f"  {line}" for line in lines]
    return [f"{heading}:", *content] if content else []


def history_section(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table below a heading; on a terminal without the server's name, which is known, where it is too broad."""
    if not rows:
        return []
    room = None if (columns := width()) is None else columns - 2
    lines = Table(headers, width=None).folded(rows, width=room)
    if "SERVER" not in headers or room is None or max(map(cells, lines)) <= room:
        return lines
    at = headers.index("SERVER")
    without = [[*row[:at], *row[at + 1 :]] for row in rows]
    return Table([*headers[:at], *headers[at + 1 :]], width=None).folded(without, width=room)
