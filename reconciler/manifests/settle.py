"""Whether somebody still writes to a file."""

import errno
import fcntl
import signal
import sys
from enum import Enum


class Writers(Enum):
    """Who has a file open for writing."""

    NONE = "none"
    SOME = "some"
    UNKNOWN = "unknown"
    """It cannot be found out here."""


def can_ask() -> bool:
    """Whether leases are to be had, and this process handles SIGIO."""
    return sys.platform == "linux" and signal.getsignal(signal.SIGIO) not in (signal.SIG_DFL, None)


def writers_of(descriptor: int) -> Writers:
    """Who has an open file open for writing, as the kernel's leases tell (fcntl(2), F_SETLEASE).

    The lease is held for microseconds. Whoever opens the file for writing just then breaks it, and the kernel sends
    SIGIO, which kills by default: so none is taken unless `can_ask`. Files of other users stay unknown.
    """
    if not can_ask():
        return Writers.UNKNOWN
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return Writers.SOME if error.errno == errno.EAGAIN else Writers.UNKNOWN
    return Writers.NONE
