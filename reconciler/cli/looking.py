"""Looking at the database again and again, as long as something changes in it."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from reconciler.cli.standing import opened
from reconciler.store import read

LOOK = 0.1
"""Seconds between looks for commits."""
PATIENCE = 5.0
"""Seconds for a database that cannot be read."""
REDRAW = 1.0
"""Seconds after which times and processes are looked at again without a commit."""
Found = TypeVar("Found")


def looks(state: Path, look: Callable[[sqlite3.Connection], Found], *, until: float | None = None) -> Iterator[Found]:
    """What is seen in the database: now, after each commit, each second, and last at `until` (monotonic; None: never).

    It is looked for anew each second, as it may have been made anew. Raises ReadError.
    """
    good_at = time.monotonic()
    while True:
        try:
            with opened(state) as db:
                good_at = time.monotonic()
                yield from _commits(db, look, good_at + REDRAW, until)
        except read.ReadError:
            # It is being made anew.
            if time.monotonic() - good_at > PATIENCE:
                raise
            time.sleep(LOOK)
        if until is not None and time.monotonic() >= until:
            return


def _commits(
    db: sqlite3.Connection, look: Callable[[sqlite3.Connection], Found], renewal: float, until: float | None
) -> Iterator[Found]:
    seen, end = None, renewal if until is None else min(renewal, until)
    while (now := time.monotonic()) < end:
        version = read.version_of(db)
        if version != seen:
            seen = version
            yield look(db)
        time.sleep(min(LOOK, max(0.0, end - now)))
    if end == until:
        yield look(db)
