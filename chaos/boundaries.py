"""The moments between two steps that touch the outside, in a real controller: it can be killed at any of them.

Wrapped is what all such steps go through in the end, the standard library's own calls: commits, spawns, signals, and
what makes, renames, cuts or removes files. So it holds however the program's own parts are cut.
"""

import builtins
import fcntl
import functools
import io
import os
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "ALTER", "DROP")
"""What commits by itself outside of a transaction."""
_COMMITS = ("COMMIT", "END")


class Boundaries:
    """What a process passes; who inherits decides what a boundary does."""

    def cross(self, name: str) -> None:
        """One is passed."""
        raise NotImplementedError

    def note(self, what: str) -> None:
        """A signal was sent: `NAME PID START-TICKS`."""

    def wrap(self, patch: Callable[[Any, str, Any], None] = setattr) -> None:
        """From now on, every step of this process passes a boundary before and after. `patch` replaces an attribute."""
        around = functools.partial(self._around, patch)
        for name in ("replace", "rename", "link", "symlink", "unlink", "remove", "truncate", "ftruncate"):
            around(os, name, lambda *a, _n=name, **_: f"{_n} {_leaf(a[-1])}")
        around(os, "mkdir", lambda path, *_, **__: f"mkdir {_leaf(path)}")
        around(os, "open", _opened)
        around(builtins, "open", _written)
        around(io, "open", _written)
        around(fcntl, "flock", lambda *_: "flock")
        around(socket.socket, "bind", lambda *a: f"bind {_leaf(a[1])}" if isinstance(a[1], str) else None)
        around(subprocess.Popen, "__init__", lambda *a, **_: f"spawn {_leaf(a[1][0])}")
        around(signal, "pidfd_send_signal", _signalled, self.note)
        around(os, "kill", lambda pid, number: f"{_name(number)} {pid}" if number and pid > 0 else None)
        self._wrap_sqlite(patch)

    def _around(
        self,
        patch: Callable[[Any, str, Any], None],
        owner: Any,
        name: str,
        told: Callable[..., str | None],
        noted: Callable[[str], None] | None = None,
    ) -> None:
        original = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            what = told(*args, **kwargs)
            if what is None:
                return original(*args, **kwargs)
            self.cross(f"before {what}")
            result = original(*args, **kwargs)
            if noted is not None:
                noted(what)
            try:
                self.cross(f"after {what}")
            except BaseException:  # in a test that dies by an exception, where nobody closes what it holds
                if isinstance(result, io.IOBase):
                    result.close()
                raise
            return result

        patch(owner, name, wrapped)

    def _wrap_sqlite(self, patch: Callable[[Any, str, Any], None]) -> None:
        original: Callable[..., sqlite3.Connection] = sqlite3.connect
        cross = self.cross

        class Connection(sqlite3.Connection):
            """Passes a boundary before and after whatever changes the file."""

            def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
                what = _commit(sql, in_transaction=self.in_transaction)
                if what is None:
                    return super().execute(sql, *parameters)
                cross(f"before {what}")
                cursor = super().execute(sql, *parameters)
                cross(f"after {what}")
                return cursor

            def commit(self) -> None:
                cross("before commit")
                super().commit()
                cross("after commit")

            def backup(self, *args: Any, **kwargs: Any) -> None:
                cross("before backup")
                super().backup(*args, **kwargs)
                cross("after backup")

            def __exit__(
                self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
            ) -> Literal[False]:
                commits = kind is None and self.in_transaction
                if commits:
                    cross("before commit")
                super().__exit__(kind, error, trace)
                if commits:
                    cross("after commit")
                return False

        def connect(database: Any, *args: Any, **kwargs: Any) -> sqlite3.Connection:
            if "mode=ro" in str(database):
                return original(database, *args, **kwargs)
            return original(database, *args, **{"factory": Connection, **kwargs})

        patch(sqlite3, "connect", connect)


def _commit(sql: str, *, in_transaction: bool) -> str | None:
    """What a statement commits, if it does."""
    words = sql.split(None, 3)
    verb = words[0].upper() if words else ""
    if verb in _COMMITS:
        return "commit"
    if verb in _WRITES and not in_transaction:
        return f"commit of {' '.join(words[:3])}"
    return "journal_mode" if verb == "PRAGMA" and "journal_mode" in sql else None


def _leaf(path: Any) -> str:
    return Path(os.fsdecode(path)).name if isinstance(path, str | bytes | os.PathLike) else str(path)


def _opened(path: Any, flags: int, *_: Any, **__: Any) -> str | None:
    return f"create {_leaf(path)}" if flags & os.O_CREAT else None


def _written(path: Any, mode: str = "r", *_: Any, **__: Any) -> str | None:
    return f"open {_leaf(path)}" if set(mode) & set("wax+") and not isinstance(path, int) else None


def _name(number: int) -> str:
    return signal.Signals(number).name


def _signalled(pidfd: int, number: int, *_: Any) -> str | None:
    if not number:
        return None
    about = Path(f"/proc/self/fdinfo/{pidfd}").read_text()
    pid = int(next(line.split()[1] for line in about.splitlines() if line.startswith("Pid:")))
    return f"{_name(number)} {pid} {start_ticks(pid)}"


def start_ticks(pid: int) -> int:
    """What tells a process apart from another that wears its pid later; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0
