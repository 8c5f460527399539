"""Lines of several logs, told apart by the name before each, or as JSON."""

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from reconciler.cli.terminal import cells, clean_json, clean_lines, is_terminal, uses_colour
from reconciler.runtimes.tailing import Line, Log
from reconciler.store.items import timestamp

COLOURS = (36, 35, 34, 33, 32, 96, 95, 94, 93, 92)
"""SGR codes that tell servers apart; red is for what went wrong."""
LONGEST = 24
"""Columns of a name for which all others are moved to the right."""


def colours_of(names: Iterable[str]) -> Mapping[str, int]:
    """A colour for each name: mostly the same in every run, and never shared while there are enough."""
    found: dict[str, int] = {}
    for name in sorted(set(names)):
        first = zlib.crc32(name.encode()) % len(COLOURS)
        wished = [COLOURS[(first + step) % len(COLOURS)] for step in range(len(COLOURS))]
        found[name] = next((colour for colour in wished if colour not in found.values()), wished[0])
    return found


class Form(Protocol):
    """How a line is shown."""

    def __call__(self, log: Log, line: Line) -> str:
        """The line, clean."""
        ...


def plain(log: Log, line: Line) -> str:
    """The line alone: as it is for programs, without commands for a terminal."""
    del log
    text = text_of(line.content)
    return clean_lines(text) if is_terminal() else text


def as_json(log: Log, line: Line) -> str:
    """An object: server, uid of the instance, time as far as it is known, and the text."""
    content = {"server": log.server, "uid": log.uid, "at": timestamp(line.at), "line": text_of(line.content)}
    return clean_json(json.dumps(content, ensure_ascii=False))


@dataclass
class Prefixes:
    """The server's name before each line, in its colour. Names that come later stand below the first ones."""

    names: set[str] = field(default_factory=set)

    def __call__(self, log: Log, line: Line) -> str:
        """The line behind its server's name."""
        self.names.add(log.server)
        size = max((cells(name) for name in self.names if cells(name) <= LONGEST), default=0)
        prefix = f"{log.server:<{size}} | "
        if uses_colour():
            prefix = f"\x1b[{colours_of(self.names)[log.server]}m{prefix}\x1b[0m"
        return prefix + plain(log, line)


def text_of(content: bytes) -> str:
    """A line without its break."""
    return content.removesuffix(b"\n").removesuffix(b"\r").decode(errors="replace")
