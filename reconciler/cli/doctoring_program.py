"""A program asked for a line or two: within a time, without secrets, and with nothing of it left behind."""

import atexit
import errno
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from reconciler.engines.environment import inherits

SECONDS = 2.0
GLANCE = 0.01
"""Seconds between two looks whether it has ended."""
MOST = 256 * 1024
"""Bytes of its output that are read."""
_begun: set[int] = set()
"""Leaders of the groups that may run still."""
_beginning, _ending, _is_over = threading.Lock(), threading.Lock(), threading.Event()


@dataclass(frozen=True, slots=True)
class Said:
    """What came of it."""

    text: str = ""
    """Both its outputs."""
    code: int | None = None
    """Its exit status, negative for a signal; None where it did not end in time."""
    error: OSError | None = None
    """Why it could not be begun."""

    @property
    def last_line(self) -> str:
        """The last that is not empty."""
        return next((line.strip() for line in reversed(self.text.splitlines()) if line.strip()), "")


def ask(argv: Sequence[str], environ: Mapping[str, str], seconds: float = SECONDS) -> Said:
    """Run a program as a server would be, and end all that is left of it."""
    try:
        process = _begin(argv, {name: value for name, value in environ.items() if inherits(name)})
    except OSError as error:
        return Said(error=error)
    except ValueError as error:
        return Said(error=OSError(0, str(error)))
    assert process.stdout is not None
    text, has_ended = _read(process, process.stdout.fileno(), time.monotonic() + seconds)
    _end(process.pid)
    process.stdout.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.5)
    return Said(text.decode("utf-8", "replace"), process.returncode if has_ended else None)


def _begin(argv: Sequence[str], environ: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Whoever is at its end waits until what is being begun is known, and nothing is begun after that."""
    with _beginning:
        if _is_over.is_set():
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
        process = subprocess.Popen(
            list(argv),
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
        )
        _begun.add(process.pid)
        return process


def end_all() -> None:
    """End what is still being asked: who is at its end does not wait for the threads that would."""
    for pid in list(_begun):
        _end(pid)


def _end(pid: int) -> None:
    """All of its group, once: later the number may be another's."""
    with _ending:
        if pid in _begun:
            _begun.remove(pid)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)


def _close() -> None:
    with _beginning:
        _is_over.set()
    end_all()


atexit.register(_close)


def _read(process: "subprocess.Popen[bytes]", descriptor: int, until: float) -> tuple[bytes, bool]:
    """Its output, and whether it ended in time; a child of its own may keep the pipe open for longer."""
    found, is_open, has_ended = bytearray(), True, False
    while len(found) < MOST:
        # Before the read: all that it wrote is in the pipe by then.
        has_ended = _has_ended(process)
        is_over = has_ended or time.monotonic() >= until
        if is_open and select.select([descriptor], [], [], 0 if is_over else GLANCE)[0]:
            piece = os.read(descriptor, 65536)
            found, is_open = found + piece, bool(piece)
        elif is_over:
            break
        elif not is_open:
            time.sleep(GLANCE)
    return bytes(found), has_ended


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """It is left unreaped where that can be had: its group is still its own when the rest of it is ended."""
    if hasattr(os, "waitid"):
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    return process.poll() is not None
