"""What a terminal may be given: clean text, colour where it is wanted, and lines that fit."""

import os
import shutil
import sys
from collections.abc import Mapping

from reconciler.core.clean import clean, clean_json, clean_lines

__all__ = [
    "COLOURS",
    "cells",
    "clean",
    "clean_json",
    "clean_lines",
    "cut",
    "is_terminal",
    "paint",
    "uses_colour",
    "width",
]

COLOURS: Mapping[str, int] = {
    "Ready": 32,
    "Pending": 36,
    "Starting": 36,
    "Stopping": 36,
    "BackOff": 33,
    "Unhealthy": 33,
    "Unknown": 33,
    "Blocked": 33,
    "Failed": 31,
    "Invalid": 31,
    "Stopped": 90,
}
"""SGR codes of the phases."""
_COLOURS = {**COLOURS, "Ready,Degraded": 33}
"""The same with what is shown in a phase's place."""


def is_terminal() -> bool:
    """Whether people read the output."""
    return sys.stdout.isatty()


def uses_colour() -> bool:
    """Only on a terminal, and not against NO_COLOR (no-color.org: any text in it counts)."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int | None:
    """Columns of the terminal; None when the output is read by a program."""
    return max(20, shutil.get_terminal_size().columns) if is_terminal() else None


def paint(text: str, phase: str) -> str:
    """The text in the phase's colour, where colours are used."""
    if not uses_colour() or phase not in _COLOURS:
        return text
    return f"\x1b[{_COLOURS[phase]}m{text}\x1b[0m"


def cells(text: str) -> int:
    """Columns that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - seldom needed

    return cell_len(text)


def cut(text: str, most: int) -> str:
    """The text in at most so many columns, with … where something is missing."""
    if cells(text) <= most:
        return text
    if most < 1:
        return ""
    if text.isascii():
        return text[: most - 1] + "…"
    from rich.cells import set_cell_size  # noqa: PLC0415 - seldom needed

    return set_cell_size(text, most - 1).rstrip() + "…"
