"""One controller for each state folder: a lock held for life."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = "lock"
HOLDER = "holder.json"


class HeldError(Exception):
    """Another controller has the state folder; the text says which."""

    def __init__(self, state: Path) -> None:
        holder = read_holder(state)
        self.verb = str(holder.get("verb", "another controller"))
        self.pid = holder.get("pid")
        what = f"`reconciler {self.verb}` (pid {self.pid})" if self.pid else "another controller"
        advice = f"; end it with: kill {self.pid}" if self.pid else ""
        super().__init__(f"{what} manages {state}{advice}")


@contextmanager
def hold(state: Path, verb: str) -> Iterator[None]:
    """Hold the folder's lock. Raises HeldError at once when somebody else does."""
    lock = FileLock(state / LOCK, mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise HeldError(state) from None
    try:
        draft = state / f".{HOLDER}"
        draft.write_text(json.dumps({"pid": os.getpid(), "verb": verb}))
        draft.replace(state / HOLDER)
        yield
    finally:
        with suppress(OSError):
            (state / HOLDER).unlink()
        lock.release()


def read_holder(state: Path) -> dict[str, object]:
    """Who says to hold the lock; empty when nobody does."""
    try:
        holder = json.loads((state / HOLDER).read_text())
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}
