"""What live processes tell of the installations that started them."""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress

import reconciler.runtimes.bearers as looks
from reconciler.core.model import Identity
from reconciler.runtimes.exhaustion import raise_if_exhausted
from reconciler.runtimes.holding import Holdings
from reconciler.runtimes.host import FOLDER, INSTALLATION, Host, ResourceError


class Claims:
    """The marks of this user's processes, as far as they decide which installation a state folder is."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def installations_over(self, folder: str) -> Collection[str]:
        """Ids that processes of this user bear which were started over the folder, and that nobody took over since.

        Of use when the folder, of this real path, lost its own.
        """
        return {
            installation
            for pid, installation, path in self._marks(folder)
            if path == folder and looks.leads_to(pid, path, folder) and not self._is_taken(pid)
        }

    def is_elsewhere(self, installation: str, folder: str) -> bool:
        """Whether a process bears the id that was started over another folder of this path, as in a container."""
        return any(
            found == installation and path == folder and not looks.leads_to(pid, path, folder)
            for pid, found, path in self._marks(folder)
        )

    def lives(self, identity: Identity) -> bool:
        """Whether this very process is there."""
        try:
            return identity.boot == self._host.boot and self._host.identify(identity.pid) == identity
        except ResourceError:
            return True  # it cannot be seen

    def _is_taken(self, pid: int) -> bool:
        identity = self._host.identify(pid)
        return identity is not None and Holdings("", "").other(identity) is not None

    def _marks(self, folder: str) -> Iterator[tuple[int, str, str]]:
        """Pid, installation and folder of each process of this folder that nobody but this user can have marked."""
        for pid in _pids():
            marks = looks.marks_of(pid) if _may_name(pid, folder) else {}
            if marks.get(FOLDER) and marks.get(INSTALLATION):
                bearer = looks.look_at_bearer(pid)
                if bearer is not None and bearer.is_users:
                    yield pid, marks[INSTALLATION], marks[FOLDER]


def _may_name(pid: int, folder: str) -> bool:
    """Whether it is worth a closer look."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:  # noqa: PTH123 - a Path costs more than the read
            return f"{FOLDER}={folder}".encode(errors="surrogateescape") in file.read()
    except (FileNotFoundError, NotADirectoryError):
        return not os.path.lexists("/proc/self/environ")
    except OSError as error:
        raise_if_exhausted(error)
        return False


def _pids() -> Collection[int]:
    with suppress(OSError):
        return [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]  # noqa: PTH208 - Paths cost more
    import psutil  # noqa: PLC0415 - slow to import, and not needed with /proc

    return psutil.pids()
