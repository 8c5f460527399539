"""What descriptions are made of: fields, and sections below headings, folded where a terminal is narrow."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reconciler.cli.folding import fold_behind
from reconciler.cli.tables import Table
from reconciler.cli.terminal import cells, clean, width

EVENTS = 10
"""How many of the newest are shown."""
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


def pairs(mapping: Mapping[str, str]) -> str:
    """`key=value, …`."""
    return ", ".join(f"{key}={value}" for key, value in mapping.items())


def tree(value: Mapping[str, Any], defaults: Mapping[str, str], path: str = "spec", indent: str = "") -> Iterable[str]:
    """A spec as it is in force, one field a line, with the names of the `defaults` that fields come from."""
    for key, found in value.items():
        place = f"{path}.{key}"
        source = f"   (from LlamaServerDefaults {clean(defaults[place])})" if place in defaults else ""
        if isinstance(found, Mapping) and found:
            yield f"{indent}{clean(key)}:{source}"
            yield from tree(found, defaults, place, indent + "  ")
        elif isinstance(found, list):
            yield f"{indent}{clean(key)}: [{', '.join(clean(scalar(one)) for one in found)}]{source}"
        else:
            yield f"{indent}{clean(key)}: {clean(scalar(found))}{source}"


def scalar(value: Any) -> str:
    """As it is written in YAML."""
    return str(value).lower() if isinstance(value, bool) else str(value)
