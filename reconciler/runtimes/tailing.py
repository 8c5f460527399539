"""A server's log files: their lines, when those were written, and what is new in them."""

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

CHUNK = 64 * 1024
TOLERANCE = 1.0
"""Seconds by which a line may be ahead of the clock: the start is known less exactly."""
_STAMP = re.compile(rb"(\d{1,7})\.(\d{2})\.(\d{3})\.(\d{3}) ")
"""What llama-server begins its lines with: minutes, seconds, milli- and microseconds since its start."""

Keep = Callable[[bytes], bool]


class Line(NamedTuple):
    """One line of a log, with its line break if it has one."""

    at: float
    """Unix time at which it was written, as far as that is known; else that of the line before it, or of the start."""
    content: bytes


@dataclass(frozen=True)
class Log:
    """The log of one instance."""

    server: str
    uid: str
    path: Path
    started: float
    """Unix time."""

    def parts(self) -> list[Path]:
        """Its files that are there: the older half, and the newer."""
        return [part for part in (self.path.with_suffix(".log.1"), self.path) if part.exists()]

    def clock(self) -> "Clock":
        """What tells the times of its lines."""
        parts = self.parts()
        newest = max((part.stat().st_mtime for part in parts), default=0.0)
        return Clock(max(self.started, _began(parts)), self.started, newest)


@dataclass
class Clock:
    """Tells when lines were written, from the time since the start that they begin with."""

    base: float
    """Unix time that their zero is taken for: not the start, where the machine slept meanwhile."""
    last: float
    newest: float = 0.0
    """Unix time at which the files were last changed."""

    def read(self, content: bytes) -> Line:
        """A line with its time. Lines never go back in time; what looks like a time that is yet to come is none."""
        since_start = _seconds(content)
        if since_start is not None and self.base + since_start <= max(self.newest, time.time()) + TOLERANCE:
            self.last = max(self.last, self.base + since_start)
        return Line(self.last, content)


def _seconds(line: bytes) -> float | None:
    found = _STAMP.match(line)
    if found is None:
        return None
    minutes, seconds, milliseconds, microseconds = map(int, found.groups())
    return minutes * 60 + seconds + milliseconds / 1e3 + microseconds / 1e6


def has_time(line: bytes) -> bool:
    """Whether a line tells when it was written."""
    return _seconds(line) is not None


def has_times(log: Log) -> bool:
    """Whether its lines tell when they were written."""
    return any(_seconds(line) is not None for part in log.parts() for line in _head(part).splitlines())


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(CHUNK)


def _began(parts: Sequence[Path]) -> float:
    """When it must have begun, going by the newest line: it was written when the file was last changed."""
    for part in reversed(parts):
        with suppress(OSError), part.open("rb") as file:
            found = os.fstat(file.fileno())
            file.seek(max(0, found.st_size - CHUNK))
            times = [seconds for line in file if (seconds := _seconds(line)) is not None]
            if times:
                return found.st_mtime - times[-1]
    return 0.0


def past(
    log: Log,
    *,
    tail: int | None = None,
    since: float | None = None,
    keep: Keep | None = None,
    newer: BinaryIO | None = None,
) -> Iterator[Line]:
    """The lines that are there already: those that are kept, from `since` (Unix time) on, and the last `tail` of these.

    Of a log without times all lines are taken to be as new as its file. The newer half is read from `newer`, if given.
    """
    clock = log.clock()
    if since is not None and not has_times(log):
        clock.last = max(clock.last, max((part.stat().st_mtime for part in log.parts()), default=0.0))
    lines = (clock.read(content) for content in _lines(log, newer))
    kept = (line for line in lines if (since is None or line.at >= since) and (keep is None or keep(line.content)))
    return iter(deque(kept, maxlen=tail)) if tail is not None else kept


def _lines(log: Log, newer: BinaryIO | None) -> Iterator[bytes]:
    for part in log.parts():
        if part == log.path and newer is not None:
            yield from newer
        else:
            with part.open("rb") as file:
                yield from file


class Piece(NamedTuple):
    """What a look at a log that is followed has brought."""

    log: Log
    content: bytes
    begins: bool = False
    """It is the first of its instance, and there was another instance before it."""


@dataclass
class Followed:
    """The log of a server's newest instance, and of each that comes after it."""

    tail: int | None = None
    since: float | None = None
    keep: Keep | None = None
    """What is shown of the log that is there at first."""
    _log: Log | None = None
    _file: BinaryIO | None = field(default=None, repr=False)

    def look(self, newest: Log | None) -> Iterator[Piece]:
        """What is new of the one that was there, and then of the newest."""
        if self._log is not None and self._file is not None and (content := self._new(self._file)):
            yield Piece(self._log, content)
        if newest is None or newest == self._log:
            return
        with suppress(FileNotFoundError):  # it may be only being made, or dropped already
            file = newest.path.open("rb")
            is_first, self._log = self._log is None, newest
            if self._file is not None:
                self._file.close()
            self._file = file
            yield Piece(newest, self._past(newest, file, is_first), begins=not is_first)

    def skip_past(self) -> None:
        """Whatever is there at first is new: the server has appeared while others were followed."""
        self.tail = self.since = self.keep = None

    def _past(self, log: Log, file: BinaryIO, is_first: bool) -> bytes:
        """What is there already. The last line may be unfinished: nobody can tell yet whether to keep it."""
        tail, since, keep = (self.tail, self.since, self.keep) if is_first else (None, None, None)
        whole = None if keep is None else (lambda content: keep(content) or not content.endswith(b"\n"))
        return b"".join(line.content for line in past(log, tail=tail, since=since, keep=whole, newer=file))

    def _new(self, file: BinaryIO) -> bytes:
        """What was written since the last look; the file may have been cut meanwhile."""
        if os.fstat(file.fileno()).st_size < file.tell():
            file.seek(0)
        return file.read()
