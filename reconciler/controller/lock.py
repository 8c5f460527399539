"""One controller for each state folder: a lock held for life."""

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = "lock"
HOLDER = "holder.json"
CONVERGING = ("apply", "sync", "resume", "profile")
"""Verbs that hold it and bring all servers to what is declared; others but `run` act on those that they name."""


class HeldError(Exception):
    """Another controller has the state folder; the text says which."""

    def __init__(self, state: Path) -> None:
        holder = read_holder(state)
        self.verb = str(holder.get("verb", "another controller"))
        self.pid = holder.get("pid")
        what = f"`reconciler {self.verb}` (pid {self.pid})" if self.pid else "another controller"
        advice = f"; end it with: kill {self.pid}" if self.pid else ""
        super().__init__(f"{what} manages {state}{advice}")


class Lock:
    """A state folder's lock, kept even when its file is deleted."""

    def __init__(self, state: Path, verb: str) -> None:
        self._state = state
        self._verb = verb
        self._held: list[int] = []
        """Descriptors that hold it: of the newest file, and of those that were moved away."""
        self._file: tuple[int, int] | None = None

    def ensure(self) -> None:
        """Hold it, on the file that is there now. Raises HeldError when somebody else does, or OSError."""
        if self._held and _inode(self._state / LOCK) == self._file:
            return
        # Not its parents: where those are renamed, a new one in their place would only bar the way back.
        self._state.mkdir(mode=0o700, exist_ok=True)
        try:
            self._held.append(_acquired(self._state / LOCK))
        except BlockingIOError:
            raise HeldError(self._state) from None
        found = os.fstat(self._held[-1])
        self._file = found.st_dev, found.st_ino
        for descriptor in self._held[:-1]:
            if os.fstat(descriptor).st_nlink == 0:  # nobody else can find it
                self._held.remove(descriptor)
                os.close(descriptor)
        with suppress(OSError):  # it is only for people: a full disk must not end supervision
            draft = self._state / f".{HOLDER}"
            draft.write_text(json.dumps({"pid": os.getpid(), "verb": self._verb}))
            draft.replace(self._state / HOLDER)

    def release(self) -> None:
        """Let go. What says who holds it stays where that is somebody else by now."""
        with suppress(OSError):
            if self._held and _inode(self._state / LOCK) == self._file:
                (self._state / HOLDER).unlink()
        for descriptor in self._held:
            os.close(descriptor)
        self._held.clear()


@contextmanager
def hold(state: Path, verb: str) -> Iterator[Lock]:
    """Hold the folder's lock. Raises HeldError at once when somebody else does."""
    lock = Lock(state, verb)
    lock.ensure()
    try:
        yield lock
    finally:
        lock.release()


def _acquired(path: Path) -> int:
    """Lock a file; the descriptor that holds it. Raises BlockingIOError when somebody else does, or OSError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        # Of a read-only file system what is there can be locked all the same.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - asked in every pass: a Path costs more than the look
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def read_holder(state: Path) -> dict[str, object]:
    """Who says to hold the lock; empty when nobody does."""
    try:
        holder = json.loads((state / HOLDER).read_text())
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}
