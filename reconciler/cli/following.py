"""`logs -f`: what servers go on writing, over their restarts, the controller's, and those of the database."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from reconciler.cli.output import say
from reconciler.cli.sinks import Sink
from reconciler.cli.standing import opened
from reconciler.cli.terminal import clean
from reconciler.runtimes.tailing import Followed, Log
from reconciler.store import read

LOOK = 0.1
"""Seconds between looks at logs that are followed."""
ANEW = 1.0
"""Seconds after which the database is opened anew: it may be another one by then."""
PATIENCE = 5.0
"""Seconds for a database that cannot be read."""

Newest = Callable[[sqlite3.Connection], Mapping[str, Log]]
"""Given the database: the newest log of each server that is followed."""


def follow(state: Path, newest: Newest, sink: Callable[[], Sink], begin: Callable[[], Followed]) -> None:
    """Show the logs until interrupted. `sink` and `begin` make what each server needs of its own."""
    followed: dict[str, tuple[Followed, Sink]] = {}
    first = True
    for logs in _looks(state, newest):
        is_quiet = True
        for server in {**followed, **logs}:
            if server not in followed:
                followed[server] = begin(), sink()
                if not first:
                    followed[server][0].skip_past()
            is_quiet = not _show(*followed[server], logs.get(server)) and is_quiet
        first = False
        if is_quiet:
            time.sleep(LOOK)


def _show(followed: Followed, sink: Sink, newest: Log | None) -> bool:
    """Whether there was anything new."""
    pieces = list(followed.look(newest))
    for log, content, begins in pieces:
        if begins:
            sink.finish()
            say(clean(f"--- {log.server}: instance {log.uid} ---"), err=True)
        sink.write(log, content)
    return any(piece.content for piece in pieces)


def _looks(state: Path, newest: Newest) -> Iterator[Mapping[str, Log]]:
    """The newest logs, again and again; in the meantime the last that were known."""
    logs: Mapping[str, Log] = {}
    good_at = time.monotonic()
    while True:
        try:
            with opened(state) as db:
                good_at, seen = time.monotonic(), None
                while time.monotonic() < good_at + ANEW:
                    version = read.version_of(db)
                    if version != seen:
                        seen, logs = version, newest(db)
                    yield logs
        except read.ReadError:
            # It is being made anew.
            if time.monotonic() - good_at > PATIENCE:
                raise
            yield logs
