"""Who bears our mark, and whether it is ours: whoever may read a server's environment may copy its mark."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reconciler.runtimes.exhaustion import raise_if_exhausted

_TERMINAL = re.compile(r"/dev/(pts/.+|ptmx|tty\d*)")
MOST_GENERATIONS = 100


@dataclass(frozen=True, slots=True)
class Bearer:
    """A process, as far as that tells whose it is."""

    program: str
    argv: tuple[str, ...]
    is_users: bool
    """Its real, effective and saved user are this process's own: nobody else can have given it the mark."""
    has_terminal: bool
    """Somebody's shell or editor, or what gives them their terminals, such as tmux: no server has one."""


def look_at_bearer(pid: int) -> Bearer | None:
    """What it is; None when it is gone. Raises ResourceError when there was no room to look."""
    return _from_proc(pid) if _has_proc() else _from_psutil(pid)


def marks_of(pid: int) -> Mapping[str, str]:
    """Its environment; empty where there is none to be read."""
    try:
        if _has_proc():
            entries = _read(f"/proc/{pid}/environ").split(b"\0")
            return dict(os.fsdecode(entry).partition("=")[::2] for entry in entries if entry)
        import psutil  # noqa: PLC0415 - slow to import, and not needed with /proc

        with suppress(psutil.Error, ValueError):
            return psutil.Process(pid).environ()
    except OSError as error:
        raise_if_exhausted(error)
    return {}


def lineage() -> frozenset[int]:
    """This process and those that it descends from."""
    return frozenset(_ancestors())


def leads_to(pid: int, path: str, folder: str) -> bool:
    """Whether what a process knows by that path is our folder: in a container or chroot it may be another one.

    Both are real paths. A folder that was deleted and made anew is ours none the less, where paths mean the same.
    """
    if not path or not folder:
        return True
    with suppress(OSError):
        if os.path.samestat(os.stat(f"/proc/{pid}/root{path}"), os.stat(folder)):  # noqa: PTH116 - Paths cost more
            return True
    return path == folder and (not _has_proc() or _view(pid) == _view(os.getpid()))


def _view(pid: int) -> tuple[str, int, int] | None:
    """What decides which files a process's paths mean; None when it is gone."""
    try:
        root = os.stat(f"/proc/{pid}/root")  # noqa: PTH116 - as above
        return os.readlink(f"/proc/{pid}/ns/mnt"), root.st_dev, root.st_ino  # noqa: PTH115 - a link into the kernel
    except OSError:
        return None


def _has_proc() -> bool:
    return sys.platform == "linux" and Path("/proc/self/stat").exists()


def _from_proc(pid: int) -> Bearer | None:
    try:
        status = _status(pid)
        argv = tuple(os.fsdecode(part) for part in _read(f"/proc/{pid}/cmdline").split(b"\0")[:-1])
        terminal = int(_read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[4])
        users = {int(user) for user in status["Uid"].split()[:3]}
        return Bearer(status["Name"], argv, users == {os.geteuid()}, terminal != 0 or _holds_terminal(pid))
    except OSError as error:
        raise_if_exhausted(error)
    except (KeyError, ValueError, IndexError):
        pass  # it ended amid the look
    return None


def _holds_terminal(pid: int) -> bool:
    found = False
    with suppress(PermissionError):
        for entry in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - as above
            with suppress(OSError):
                found |= bool(_TERMINAL.fullmatch(os.readlink(f"/proc/{pid}/fd/{entry}")))  # noqa: PTH115 - as above
    return found


def _from_psutil(pid: int) -> Bearer | None:
    import psutil  # noqa: PLC0415 - as above

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            users = set(process.uids())
            terminal = process.terminal() is not None
            return Bearer(process.name(), tuple(process.cmdline()), users == {os.geteuid()}, terminal)
    except psutil.Error:
        return None
    except OSError as error:
        raise_if_exhausted(error)
        return None


def _ancestors() -> Iterator[int]:
    pid = os.getpid()
    for _ in range(MOST_GENERATIONS):
        yield pid
        pid = _parent(pid)
        if pid == 0:
            return


def _parent(pid: int) -> int:
    """0 where there is none, or none that can be seen."""
    if pid == os.getpid():
        return os.getppid()
    try:
        if _has_proc():
            return int(_status(pid)["PPid"])
        import psutil  # noqa: PLC0415 - as above

        with suppress(psutil.Error):
            return psutil.Process(pid).ppid()
    except OSError as error:
        raise_if_exhausted(error)
    return 0


def _status(pid: int) -> Mapping[str, str]:
    lines = _read(f"/proc/{pid}/status").decode(errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - as above
        return file.read()
