"""Linux: /proc for looking, pidfd for watching and signalling (proc(5), pidfd_open(2))."""

import asyncio
import os
import select
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from reconciler.core.model import Exit, Identity
from reconciler.core.observed import Listener
from reconciler.runtimes.exhaustion import raise_if_exhausted
from reconciler.runtimes.exit_status import exit_of
from reconciler.runtimes.host import (
    FINGERPRINT,
    FOLDER,
    INSTALLATION,
    PORT,
    SERVER,
    UID,
    Marked,
    Progress,
    ResourceError,
    read_step,
)
from reconciler.runtimes.sockets import can_answer, listening_sockets

TICKS = os.sysconf("SC_CLK_TCK")
_PLAIN = tuple(
    f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "pts/", "ptmx", "shm/", "nvidiactl")
)
"""Devices that compute nothing. With NVIDIA's last one GPUs are only counted; each has one of its own."""


class PidfdWatch:
    """A process held by its pidfd: the number cannot come to mean another one."""

    def __init__(self, fd: int, on_end: Callable[[], None]) -> None:
        self._fd = fd
        self._on_end = on_end
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        else:
            self._loop.add_reader(fd, self._ended)

    def _ended(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._fd)
            self._loop = None
        self._on_end()

    def has_ended(self) -> bool:
        """A pidfd is readable once its process is a zombie or gone."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(0))

    def signal(self, number: int) -> None:
        """Send a signal through the pidfd."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, number)

    def exit(self) -> Exit | None:
        """From the pidfd, once the process has been reaped."""
        return exit_of(self._fd)

    def close(self) -> None:
        """Release the descriptor."""
        if self._loop is not None:
            self._loop.remove_reader(self._fd)
            self._loop = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class LinuxHost:
    """The kernel's own tables."""

    polls = False

    def __init__(self) -> None:
        self.boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._seen: frozenset[str] = frozenset()

    def identify(self, pid: int, *, ended: bool = False) -> Identity | None:
        """From /proc/PID/stat: state (field 3) and start time (field 22)."""
        fields = _stat(pid)
        if fields is None or (fields[0] in ("Z", "X") and not ended):
            return None
        return Identity(self.boot, pid, int(fields[19]))

    def sessions(self) -> Mapping[int, int]:
        """A system call for each process: less than reading any file of it."""
        found = {}
        for entry in _pids():
            with suppress(OSError):
                found[int(entry)] = os.getsid(int(entry))
        return found

    def marked(self, installation: str, *, fresh: bool) -> Iterator[Marked]:
        """Read the environments of all, or of the processes that appeared since the last call."""
        pids = frozenset(_pids())
        unseen = pids if fresh else pids - self._seen
        self._seen &= pids
        needle = f"{INSTALLATION}={installation}".encode()
        looked = set(pids - unseen)
        for entry in unseen:
            environ = _environ(entry)
            if environ or _has_none(int(entry)):
                looked.add(entry)
            if needle in environ:
                yield from self._marked(int(entry), needle)
        self._seen = frozenset(looked)

    def _marked(self, pid: int, needle: bytes) -> Iterable[Marked]:
        # Identity first: were the pid reused in between, the mark would not be found, or the watch would refuse it.
        identity = self.identify(pid)
        entries = _environ(str(pid)).split(b"\0")
        if identity is None or needle not in entries:
            return
        marks = dict(entry.decode(errors="replace").partition("=")[::2] for entry in entries)
        with suppress(ProcessLookupError, ValueError):
            leader = os.getsid(pid) == pid
            port = int(marks.get(PORT) or 0)
            names = (marks.get(SERVER, ""), marks.get(UID, ""), marks.get(FINGERPRINT, ""))
            yield Marked(identity, leader, *names, port, marks.get(FOLDER, ""), **read_step(marks))

    def watch(self, identity: Identity, on_end: Callable[[], None]) -> PidfdWatch | None:
        """Open the pidfd first, then look whether the number still means the same process."""
        try:
            fd = os.pidfd_open(identity.pid)
        except OSError as error:
            raise_if_exhausted(error)
            return None
        try:
            is_same = self.identify(identity.pid) == identity
        except ResourceError:
            os.close(fd)
            raise
        if not is_same:
            os.close(fd)
            return None
        return PidfdWatch(fd, on_end)

    def listeners(self, resolve: frozenset[int] = frozenset()) -> tuple[Listener, ...]:
        """From /proc/net/tcp and tcp6; owners by the sockets among their descriptors."""
        sockets = listening_sockets()
        owners = _owners({socket.inode for socket in sockets if socket.port in resolve})
        return tuple(
            Listener(socket.address, socket.port, *owners.get(socket.inode, (None, "", ""))) for socket in sockets
        )

    def listens(self, pid: int, host: str, port: int) -> bool | None:
        """All sockets that overlap must be among the process's descriptors, or nobody else's that can be seen."""
        answering = {s.inode for s in listening_sockets() if s.port == port and can_answer(host, s.address)}
        if not answering:
            return False
        held = _sockets_of(str(pid))
        if held is None:
            return False if _owners(answering) else None
        return answering <= held

    def progress(self, pid: int) -> Progress | None:
        """CPU time from stat (fields 14 and 15), bytes from io (rchar, and read_bytes for mapped files)."""
        try:
            fields = _stat(pid)
        except ResourceError:
            return None
        if fields is None:
            return None
        read = 0
        with suppress(OSError, ValueError):
            lines = _read(f"/proc/{pid}/io").decode().splitlines()
            counts = dict(line.split(": ", 1) for line in lines)
            read = int(counts["rchar"]) + int(counts["read_bytes"])
        return Progress((int(fields[11]) + int(fields[12])) / TICKS, read)

    def uses_devices(self, pid: int) -> bool | None:
        """By the files of /dev among its descriptors: a GPU is used through one, whatever its driver calls it."""
        found = _open_files(str(pid))
        if not found:
            return None
        return any(name.startswith("/dev/") and not name.startswith(_PLAIN) for name in found)


def _pids() -> Iterator[str]:
    try:
        return (entry for entry in os.listdir("/proc") if entry.isdigit())  # noqa: PTH208 - Paths cost more
    except OSError as error:
        raise_if_exhausted(error)
        raise


def _environ(pid: str) -> bytes:
    """Empty for one that is gone, or another user's; and for a moment while a program is being loaded."""
    try:
        return _read(f"/proc/{pid}/environ")
    except OSError as error:
        raise_if_exhausted(error)
        return b""


def _has_none(pid: int) -> bool:
    """Whether there is no environment to come: a kernel's thread, another user's process, or one that is gone."""
    try:
        return os.getsid(pid) == 0 or not os.access(f"/proc/{pid}/environ", os.R_OK)
    except OSError:
        return True


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a Path costs more than the read
        return file.read()


def _stat(pid: int) -> list[str] | None:
    """Fields 3 and on; the name in field 2 may hold spaces and brackets."""
    try:
        return _read(f"/proc/{pid}/stat").decode(errors="replace").rpartition(")")[2].split()
    except OSError as error:
        raise_if_exhausted(error)
        # Gone, or hidden: with hidepid other users' processes may not be looked at (proc(5)).
        return None


def _sockets_of(pid: str) -> set[int] | None:
    """None where its descriptors may not be seen: another user's, or a program with capabilities."""
    found = _open_files(pid)
    return None if found is None else {int(name[8:-1]) for name in found if name.startswith("socket:[")}


def _open_files(pid: str) -> list[str] | None:
    """What its descriptors are open on; None where they may not be seen."""
    try:
        entries = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 - as above
    except PermissionError:
        return None
    except OSError as error:
        raise_if_exhausted(error)
        return []
    found = []
    for entry in entries:
        with suppress(OSError):
            found.append(os.readlink(f"/proc/{pid}/fd/{entry}"))  # noqa: PTH115 - as above
    return found


def _owners(inodes: set[int]) -> dict[int, tuple[int, str, str]]:
    """Pid, program and our uid (if it bears one) of the processes that hold these sockets."""
    owners: dict[int, tuple[int, str, str]] = {}
    if not inodes:
        return owners
    for entry in _pids():
        for inode in inodes & (_sockets_of(entry) or set()):
            owners[inode] = (int(entry), _program(entry), _uid(entry))
    return owners


def _program(pid: str) -> str:
    with suppress(OSError):
        return _read(f"/proc/{pid}/comm").decode(errors="replace").strip()
    return ""


def _uid(pid: str) -> str:
    prefix = f"{UID}=".encode()
    for entry in _environ(pid).split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode(errors="replace")
    return ""
