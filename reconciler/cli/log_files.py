"""Which log is whose: that of a server's last instance, or of an earlier one."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.cli.chosen import Chosen
from reconciler.cli.failure import Failure
from reconciler.cli.servers import unix
from reconciler.runtimes.tailing import Log
from reconciler.store import past


class NotBegunError(Failure):
    """A server has no instance; it may come to have one."""


def log_of(db: sqlite3.Connection, state: Path, name: str, back: int = 0) -> Log:
    """The log of a server's last instance, or of the one so many before it; its file may be gone. Raises Failure."""
    found = past.restarts(db, [name], limit=back + 1)
    if len(found) <= back:
        raise NotBegunError(f"'{name}' has no {'earlier ' if back else ''}instance", _history(name))
    start = found[0]
    if start["adopted"]:
        raise Failure(
            f"'{name}' was taken over as pid {start['pid']}, which writes where whoever started it chose",
            f"if that is a file, it is told by: reconciler describe server {name}",
        )
    return _log(state, start)


def log_that_is_there(db: sqlite3.Connection, state: Path, name: str, back: int) -> Log:
    """The same, but for one whose files are gone. Raises Failure."""
    log = log_of(db, state, name, back)
    if not log.parts():
        raise Failure(f"{log.path} is gone", f"old logs are dropped; {_history(name)}")
    return log


def newest_logs(db: sqlite3.Connection, state: Path, chosen: Chosen) -> Mapping[str, Log]:
    """The log of each server's last instance, for those that have one which writes into a log of ours."""
    starts = {name: past.restarts(db, [name], limit=1) for name in chosen.of(db)}
    return {name: _log(state, found[0]) for name, found in starts.items() if found and not found[0]["adopted"]}


def _log(state: Path, start: Mapping[str, Any]) -> Log:
    path = state / "logs" / start["server"] / f"{start['uid']}.log"
    return Log(start["server"], start["uid"], path, unix(start["startedAt"]))


def _history(name: str) -> str:
    return f"see its history with: reconciler get restarts {name}"
