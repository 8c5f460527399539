"""What can be seen of a process that is not ours: its program, command line, folder, user, marks."""

import os
import pwd
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from reconciler.runtimes.host import FOLDER, INSTALLATION, SERVER
from reconciler.runtimes.models_in_use import Mapped, mapped_models
from reconciler.runtimes.units import unit_of

if TYPE_CHECKING:
    import psutil

Answer = TypeVar("Answer")
Other = TypeVar("Other")


@dataclass(frozen=True, slots=True)
class Seen:
    """A process as any user of this machine, or its own, may see it. What may not be seen is empty."""

    name: str
    executable: str = ""
    argv: tuple[str, ...] = ()
    cwd: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    is_same_user: bool = False
    """It is this process's user, and its environment could be read."""
    shares_files: bool = True
    """Its paths mean the same files as ours: it is in no container of its own."""
    output: str = ""
    """The file that it writes its messages to; empty for terminals and pipes."""
    unit: str = ""
    """The systemd service that started it, with `--user` before one of a user's."""
    since: float = float("inf")
    """Unix time of its start; infinite where it is not known."""
    mapped: tuple[Mapped, ...] = ()
    """The models that it has in memory as files, as far as that can be seen."""

    @property
    def installation(self) -> str:
        """The id of the installation whose mark it bears."""
        return self.environment.get(INSTALLATION, "")

    @property
    def folder(self) -> str:
        """That one's state folder."""
        return self.environment.get(FOLDER, "")

    @property
    def server(self) -> str:
        """Its server's name there."""
        return self.environment.get(SERVER, "")


def look_at(pid: int) -> Seen | None:
    """What can be seen of a process; None when it is gone."""
    import psutil  # noqa: PLC0415 - slow to import, and strangers are rare

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            users = process.uids()
            environment = _asked(process.environ, None)
            return Seen(
                name=process.name(),
                executable=_asked(process.exe, ""),
                argv=tuple(_asked(process.cmdline, ())),
                cwd=_folder_of(process),
                environment=environment or {},
                user=_user_name(users.effective),
                is_same_user=set(users) == {os.geteuid()} and environment is not None,
                shares_files=_namespace(pid) == _namespace(os.getpid()),
                output=_output(pid),
                unit=unit_of(pid, _asked(process.ppid, 0), environment or {}),
                since=process.create_time(),
                mapped=mapped_models(pid),
            )
    except (psutil.Error, OSError):
        return None


def find_listener(port: int, name: str) -> int | None:
    """Who listens on a port, among the programs whose name begins so: for where the sockets' table is not told.

    To look into every process would take longer than a pass may.
    """
    import psutil  # noqa: PLC0415 - as above

    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error, OSError):
            named = (process.info["name"] or "").startswith(name)
            for connection in process.net_connections("tcp") if named else ():
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return process.pid
    return None


def _asked(ask: Callable[[], Answer], otherwise: Other) -> Answer | Other:
    """What may be hidden, of another user's process."""
    import psutil  # noqa: PLC0415 - as above

    try:
        return ask()
    except (psutil.Error, OSError):
        return otherwise


def _folder_of(process: "psutil.Process") -> str:
    """The folder that it stands in; empty for one that was deleted, for another may have its name by now."""
    with suppress(OSError):
        if os.readlink(f"/proc/{process.pid}/cwd").endswith(" (deleted)"):  # noqa: PTH115 - a link into the kernel
            return ""
    return _asked(process.cwd, "")


def _user_name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _namespace(pid: int) -> str:
    """What its paths stand for; empty where there is only one."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")  # noqa: PTH115 - a link into the kernel
    except OSError:
        return ""


def _output(pid: int) -> str:
    """llama-server writes its log to stderr."""
    try:
        target = os.readlink(f"/proc/{pid}/fd/2")  # noqa: PTH115 - as above
    except OSError:
        return ""
    return target if os.path.isfile(target) else ""  # noqa: PTH113 - as above
