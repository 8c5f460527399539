"""Anywhere psutil works (macOS; Linux for tests): polling in place of pidfd, and no view of strangers' sockets."""

import errno
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import psutil

from reconciler.core.model import Exit, Identity
from reconciler.core.observed import Listener
from reconciler.runtimes.exhaustion import raise_if_exhausted
from reconciler.runtimes.host import (
    FINGERPRINT,
    FOLDER,
    INSTALLATION,
    PORT,
    SERVER,
    UID,
    Marked,
    Progress,
    read_step,
)
from reconciler.runtimes.sockets import can_answer

HUNDREDTHS = 100


class PolledWatch:
    """A process known by pid and start time, looked at when asked."""

    def __init__(self, host: "PortableHost", identity: Identity) -> None:
        self._host = host
        self._identity = identity

    def has_ended(self) -> bool:
        """Whether that very process is no longer there."""
        return self._host.identify(self._identity.pid) != self._identity

    def signal(self, number: int) -> None:
        """Look once more, then signal: without pidfd a moment remains in which the pid could be reused."""
        if not self.has_ended():
            with suppress(ProcessLookupError):
                os.kill(self._identity.pid, number)

    def exit(self) -> Exit | None:
        """Only its parent is told."""
        return Exit()

    def close(self) -> None:
        """Nothing is held."""


class PortableHost:
    """What psutil and the socket calls can tell."""

    polls = True

    def __init__(self) -> None:
        self.boot = f"boot-{round(psutil.boot_time() / 60)}"
        self._seen: frozenset[int] = frozenset()

    def identify(self, pid: int, *, ended: bool = False) -> Identity | None:
        """Pid and creation time in hundredths of a second."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE and not ended:
                return None
            return Identity(self.boot, pid, round(process.create_time() * HUNDREDTHS))
        except psutil.Error:
            return None
        except OSError as error:
            raise_if_exhausted(error)
            return None

    def sessions(self) -> Mapping[int, int]:
        """Not looked at: here it would be done four times a second."""
        return {}

    def marked(self, installation: str, *, fresh: bool) -> Iterator[Marked]:
        """Read the environments that may be read."""
        try:
            pids = frozenset(psutil.pids())
        except OSError as error:
            raise_if_exhausted(error)
            raise
        unseen = pids if fresh else pids - self._seen
        self._seen = pids
        for pid in unseen:
            identity = self.identify(pid)
            marks = _environ(pid)
            if marks.get(INSTALLATION) == installation and identity is not None:
                with suppress(OSError, ValueError):
                    leader = os.getsid(pid) == pid
                    names = (marks.get(SERVER, ""), marks.get(UID, ""), marks.get(FINGERPRINT, ""))
                    port = int(marks.get(PORT) or 0)
                    yield Marked(identity, leader, *names, port, marks.get(FOLDER, ""), **read_step(marks))

    def watch(self, identity: Identity, on_end: Callable[[], None]) -> PolledWatch | None:
        """`on_end` is never called: the controller polls."""
        del on_end
        return PolledWatch(self, identity) if self.identify(identity.pid) == identity else None

    def listeners(self, resolve: frozenset[int] = frozenset()) -> tuple[Listener, ...]:
        """For the ports asked about: taken when they cannot be bound."""
        return tuple(Listener("", port) for port in resolve if _is_taken(port))

    def listens(self, pid: int, host: str, port: int) -> bool | None:
        """By the process's own connections; None where they may not be read."""
        try:
            connections = psutil.Process(pid).net_connections("tcp")
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return None
        except OSError as error:
            raise_if_exhausted(error)
            return None
        return any(
            connection.status == psutil.CONN_LISTEN
            and connection.laddr.port == port
            and can_answer(host, connection.laddr.ip.removeprefix("::ffff:"))
            for connection in connections
        )

    def progress(self, pid: int) -> Progress | None:
        """CPU time, and bytes read where the system counts them."""
        try:
            process = psutil.Process(pid)
            times = process.cpu_times()
            counters = process.io_counters() if hasattr(process, "io_counters") else None
        except (psutil.Error, OSError):
            return None
        return Progress(times.user + times.system, counters.read_bytes if counters else 0)

    def uses_devices(self, pid: int) -> bool | None:
        """Not told here."""
        del pid
        return None


def _environ(pid: int) -> Mapping[str, str]:
    """Empty where it may not be read."""
    try:
        return psutil.Process(pid).environ()
    except (psutil.Error, ValueError):
        return {}
    except OSError as error:
        raise_if_exhausted(error)
        return {}


def _is_taken(port: int) -> bool:
    """Each address is tried, for BSD lets a wildcard and a single address share a port."""
    places = (
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0"),  # noqa: S104 - bound for a moment, never listened on
        (socket.AF_INET6, "::1"),
        (socket.AF_INET6, "::"),
    )
    return any(_is_bound(family, address, port) for family, address in places)


def _is_bound(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as error:
        raise_if_exhausted(error)
        return error.errno == errno.EADDRINUSE
    return False
