"""`logs`: what a server wrote."""

import codecs
import os
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click

from reconciler.cli.failure import Failure, refuse_unknown
from reconciler.cli.invocation import SERVER_NAME, Invocation, Verb, pass_invocation
from reconciler.cli.standing import opened
from reconciler.cli.terminal import clean_lines, is_terminal
from reconciler.store import read

LOOK = 0.1
"""Seconds between looks at a log that is followed."""
CHUNK = 64 * 1024


@click.command(cls=Verb, short_help="Print a server's log.")
@click.argument("name", type=SERVER_NAME)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written, over restarts too, until Ctrl-C.")
@click.option("--tail", type=click.IntRange(min=0), help="Begin with the last N lines.  [default: all]")
@click.option("--previous", is_flag=True, help="The log of the instance before the last one.")
@pass_invocation
def logs(invocation: Invocation, name: str, follow: bool, tail: int | None, previous: bool) -> None:
    """Print what a server's last instance wrote."""
    if follow and previous:
        raise click.UsageError("an earlier instance writes no more: give --follow or --previous")
    state = invocation.state_folder()
    try:
        with opened(state, warns=True) as db:
            refuse_unknown([name], {*read.names(db), *read.names_in_history(db)})
            _refuse_adopted(db, name, 1 if previous else 0)
            uid = _uid(db, name, 1 if previous else 0)
            if uid is None and not follow:
                raise Failure(f"'{name}' has no {'earlier ' if previous else ''}instance", _why(name))
            out = _Output()
            if follow:
                _follow(db, state / "logs" / name, name, tail, out)
            else:
                _print(state / "logs" / name / f"{uid}.log", tail, out)
    except read.ReadError as error:
        raise Failure(str(error)) from None


def _why(name: str) -> str:
    return f"see its history with: reconciler get restarts {name}"


def _refuse_adopted(db: sqlite3.Connection, name: str, back: int) -> None:
    found = read.restarts(db, [name], limit=back + 1)
    if len(found) > back and found[0]["adopted"]:
        raise Failure(
            f"'{name}' was taken over as pid {found[0]['pid']}, which writes where whoever started it chose",
            f"if that is a file, it is told by: reconciler describe server {name}",
        )


def _uid(db: sqlite3.Connection, name: str, back: int) -> str | None:
    """The newest instance's uid, or an earlier one's."""
    found = read.restarts(db, [name], limit=back + 1)
    return found[0]["uid"] if len(found) > back else None


class _Output:
    """Where log bytes go: as they are to programs, cleaned to terminals."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace") if is_terminal() else None
        self._held = ""

    def write(self, content: bytes) -> None:
        """On a terminal an unfinished line waits, so that no escape sequence is split."""
        if self._decoder is None:
            self._raw(content)
            return
        text = self._held + self._decoder.decode(content)
        whole, newline, self._held = text.rpartition("\n")
        sys.stdout.write(clean_lines(whole) + newline)
        sys.stdout.flush()

    def finish(self) -> None:
        """Write what waited."""
        if self._held:
            print(clean_lines(self._held), flush=True)
            self._held = ""

    def _raw(self, content: bytes) -> None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def _print(path: Path, tail: int | None, out: _Output) -> None:
    parts = [part for part in (path.with_suffix(".log.1"), path) if part.exists()]
    if not parts:
        raise Failure(f"{path} is gone", f"old logs are dropped; {_why(path.parent.name)}")
    if tail is None:
        for part in parts:
            with part.open("rb") as file:
                for chunk in iter(lambda: file.read(CHUNK), b""):
                    out.write(chunk)
    else:
        out.write(b"".join(deque(_lines(parts), maxlen=tail)))
    out.finish()


def _lines(parts: list[Path]) -> Iterator[bytes]:
    for part in parts:
        with part.open("rb") as file:
            yield from file


@dataclass
class _Reader:
    """A log file that is being written; it may be cut meanwhile."""

    file: BinaryIO

    def new(self) -> bytes:
        """What was written since the last call."""
        if os.fstat(self.file.fileno()).st_size < self.file.tell():
            self.file.seek(0)
        return self.file.read()


def _follow(db: sqlite3.Connection, folder: Path, name: str, tail: int | None, out: _Output) -> None:
    """The log of the newest instance, and of each that comes after it."""
    uid, reader = None, None
    first = True
    while True:
        newest = _uid(db, name, 0)
        content = reader.new() if reader else b""
        out.write(content)
        if newest != uid or reader is None:
            path = folder / f"{newest}.log"
            if newest is not None and path.exists():
                if reader is not None:
                    out.finish()
                    reader.file.close()
                    click.echo(f"--- {name}: instance {newest} ---", err=True)
                uid, reader = newest, _open(path, tail if first else None, out)
                first = False
        if not content:
            time.sleep(LOOK)


def _open(path: Path, tail: int | None, out: _Output) -> _Reader:
    """Print what is there already, and stand at its end."""
    file = path.open("rb")
    if tail is None:
        older = path.with_suffix(".log.1")
        if older.exists():
            out.write(older.read_bytes())
    else:
        out.write(b"".join(deque(file, maxlen=tail)))
    return _Reader(file)
