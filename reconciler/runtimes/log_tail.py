"""The end of a log, and what is added to it: never more at once than can be sent soon."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from reconciler.runtimes.tailing import Log

MOST_LAST = 1024 * 1024
"""Bytes that are looked at for the last lines."""
MOST_MORE = 256 * 1024
"""Bytes that are read at once of what was added; of more, the newest."""
MARK = 1024
"""Bytes by which a place in a log is known again."""
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
        self._read = b""
        """The last bytes that were read, by which they are found again."""

    def last(self, count: int) -> list[bytes]:
        """The last lines, without their ends; one that is not ended yet is left for `more`."""
        content, self._offset = _end_of(self._path, MOST_LAST)
        if content.count(b"\n") <= count and len(content) < MOST_LAST:
            content = _end_of(self._older, MOST_LAST - len(content))[0] + content
        self._read = content[-MARK:]
        *lines, self._begun = content.split(b"\n")
        return [piece for line in lines[max(0, len(lines) - count) :] for piece in pieces(line)]

    def more(self, *, ends: bool = False) -> More:
        """What is new; `ends`: nothing will be added, so what is not ended is a line too."""
        size, rest, lost = self._size(), b"", 0
        if size < self._offset:
            self._offset = 0
            rest, lost = self._before_the_cut()
        start = self._offset
        skipped = max(0, size - start - MOST_MORE)
        content = b""
        with suppress(OSError), self._path.open("rb") as file:
            file.seek(start + skipped)
            content = file.read(size - start - skipped)
        self._offset = start + skipped + len(content)
        self._read = (self._read + rest + content)[-MARK:]
        if skipped and b"\n" in content:
            broken, _, content = content.partition(b"\n")  # the end of a line whose beginning is left out
            skipped += len(broken) + 1
        elif not (skipped or lost):
            content = self._begun + rest + content
        skipped += lost + (len(rest) if skipped else 0)
        *lines, self._begun = content.split(b"\n")
        if ends or len(self._begun) > MOST_LINE:
            lines, self._begun = [*lines, *([self._begun] if self._begun else [])], b""
        return More([piece for line in lines for piece in pieces(line)], skipped)

    def _before_the_cut(self) -> tuple[bytes, int]:
        """What was added before the file was emptied (see Logs.trim), or how many bytes it may have been."""
        with suppress(OSError), self._older.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MOST_MORE))
            content = file.read(MOST_MORE)
            found = content.rfind(self._read) if self._read else -1
            return (content[found + len(self._read) :], 0) if found >= 0 else (b"", size)
        return b"", 0

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0


def _end_of(path: Path, most: int) -> tuple[bytes, int]:
    """Without the line that is cut off at its beginning; and up to where it was read."""
    with suppress(OSError), path.open("rb") as file:
        start = max(0, file.seek(0, 2) - most)
        file.seek(start)
        content = file.read(most)
        return content.partition(b"\n")[2] if start else content, start + len(content)
    return b"", 0


def pieces(line: bytes) -> list[bytes]:
    """A line without its end, in parts that are not too long."""
    line = line.removesuffix(b"\r")
    return [line[at : at + MOST_LINE] for at in range(0, len(line), MOST_LINE)] or [b""]
