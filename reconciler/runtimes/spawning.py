"""How a server's process is begun: what it gets of the controller, and what not."""

import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from reconciler.runtimes.exhaustion import NO_PROCESS, exhausted

Child = subprocess.Popen[bytes]
OPEN_FILES = 4096
"""Most files, sockets and devices that a server may have open at once, unless the settings say otherwise."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds for every server, whatever holds for the controller itself."""

    umask: int = -1
    """Of the files that it makes; -1: this process's own."""
    open_files: int = OPEN_FILES
    """Most it may have open, soft and hard; less where this process itself may not have as many."""


def spawn(argv: Sequence[str], environment: Mapping[str, str], log: int, bounds: Bounds) -> Child:
    """Begin a process in a session of its own that writes to the descriptor `log`.

    Raises OSError or ValueError when it cannot be executed, and ResourceError when there is no room for a process.
    """
    try:
        popen = subprocess.Popen(
            argv,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            umask=bounds.umask,
        )
    except OSError as error:
        if error.errno in NO_PROCESS:
            raise exhausted(error, "begin a process") from error
        raise
    _bound_files(popen.pid, bounds.open_files)
    return popen


def _bound_files(pid: int, most: int) -> None:
    """From outside: limits set before a spawn would be the controller's too, or cost it a slow fork.

    Where there is no prlimit(2), a server has the controller's own limits.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError):  # it has ended by now, or is another user's (a setuid program)
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
