"""The end of a log, and what is added to it: never more at once than can be sent soon."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from reconciler.runtimes.tailing import Log

MOST_LAST = 1024 * 1024
"""Bytes that are looked at for the last lines."""
MOST_MORE = 256 * 1024
"""Bytes that are read at once of what was added; of more, the newest."""
MOST_LINE = 16 * 1024
"""Bytes of a line; what is longer goes in pieces."""


class More(NamedTuple):
    """What was added to a log."""

    lines: list[bytes]
    """Without their ends."""
    skipped: int
    """Bytes that were left out before them."""


class LogTail:
    """Reads on where it ended."""

    def __init__(self, log: Log) -> None:
        self._path = log.path
        self._older = log.path.with_suffix(".log.1")
        self._offset = 0
        self._begun = b""
        """The line that is not ended yet."""

    def last(self, count: int) -> list[bytes]:
        """The last lines, without their ends; one that is not ended yet is left for `more`."""
        content = _end_of(self._path, MOST_LAST)
        self._offset = self._size()
        if content.count(b"\n") <= count and len(content) < MOST_LAST:
            content = _end_of(self._older, MOST_LAST - len(content)) + content
        *lines, self._begun = content.split(b"\n")
        return [piece for line in lines[max(0, len(lines) - count) :] for piece in pieces(line)]

    def more(self, *, ends: bool = False) -> More:
        """What is new; `ends`: nothing will be added, so what is not ended is a line too."""
        size = self._size()
        start = 0 if size < self._offset else self._offset  # it was cut: see Logs.trim
        skipped = max(0, size - start - MOST_MORE)
        content = b""
        with suppress(OSError), self._path.open("rb") as file:
            file.seek(start + skipped)
            content = file.read(size - start - skipped)
        self._offset = start + skipped + len(content)
        content = content if skipped else self._begun + content
        *lines, self._begun = content.split(b"\n")
        if ends or len(self._begun) > MOST_LINE:
            lines, self._begun = [*lines, *([self._begun] if self._begun else [])], b""
        return More([piece for line in lines for piece in pieces(line)], skipped)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0


def _end_of(path: Path, most: int) -> bytes:
    """Without the line that is cut off at its beginning."""
    with suppress(OSError), path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - most))
        content = file.read(most)
        return content if size <= most else content.partition(b"\n")[2]
    return b""


def pieces(line: bytes) -> list[bytes]:
    """A line without its end, in parts that are not too long."""
    line = line.removesuffix(b"\r")
    return [line[at : at + MOST_LINE] for at in range(0, len(line), MOST_LINE)] or [b""]
