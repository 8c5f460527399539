"""When a controller kills itself: a count that tests and controllers share."""

import mmap
import os
import signal
import struct
from pathlib import Path

from chaos.boundaries import Boundaries

_STATE = struct.Struct("qq")
_DISARMED = -1
LEDGER, TRACE = ".ledger", ".trace"
"""Suffixes of what lies beside a fuse."""


class Fuse:
    """A file that a test and its controllers map: how many boundaries are left to the one that kills."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(_STATE.pack(_DISARMED, 0))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _STATE.size)

    def arm(self, number: int) -> None:
        """Kill the controller at its boundary of that number, from 1."""
        _STATE.pack_into(self._map, 0, number, 0)

    def disarm(self) -> int:
        """Count no longer; how many were passed since it was armed."""
        passed = self.passed
        _STATE.pack_into(self._map, 0, _DISARMED, passed)
        return passed

    @property
    def passed(self) -> int:
        """Boundaries since it was armed."""
        return int(_STATE.unpack_from(self._map, 0)[1])

    def burn(self) -> bool | None:
        """One boundary is passed. Whether it is the one; None while nothing is counted."""
        left, passed = _STATE.unpack_from(self._map, 0)
        if left == _DISARMED:
            return None
        _STATE.pack_into(self._map, 0, left - 1, passed + 1)
        return bool(left == 1)


class Fused(Boundaries):
    """Boundaries at one of which the process ends. They are told in a trace while the fuse is armed."""

    def __init__(self, fuse: Path) -> None:
        """Beside the fuse lies a ledger, to which lines are added: `signal NAME PID START-TICKS` for each one sent."""
        self._fuse = Fuse(fuse)
        self._kill = os.kill
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._ledger, self._trace = (os.open(fuse.with_suffix(end), flags, 0o600) for end in (LEDGER, TRACE))

    def cross(self, name: str) -> None:
        """The process ends here, if this is the one."""
        is_last = self._fuse.burn()
        if is_last is not None:
            os.write(self._trace, f"{name}\n".encode(errors="replace"))
        if is_last:
            self._kill(os.getpid(), signal.SIGKILL)

    def note(self, what: str) -> None:
        """Into the ledger."""
        os.write(self._ledger, f"signal {what}\n".encode())
