"""What can be seen of a process that is not ours: its program, command line, folder, user, marks."""

import os
import pwd
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.runtimes.host import FOLDER, INSTALLATION, SERVER

if TYPE_CHECKING:
    import psutil


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
            user = process.uids().effective
            environment = _environment(process)
            return Seen(
                name=process.name(),
                executable=_readable(process, "exe"),
                argv=_argv(process),
                cwd=_readable(process, "cwd"),
                environment=environment or {},
                user=_user_name(user),
                is_same_user=user == os.geteuid() and environment is not None,
                shares_files=_namespace(pid) == _namespace(os.getpid()),
                output=_output(pid),
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


def _readable(process: "psutil.Process", name: str) -> str:
    import psutil  # noqa: PLC0415 - as above

    try:
        return str(getattr(process, name)())
    except (psutil.Error, OSError):
        return ""


def _argv(process: "psutil.Process") -> tuple[str, ...]:
    import psutil  # noqa: PLC0415 - as above

    try:
        return tuple(process.cmdline())
    except (psutil.Error, OSError):
        return ()


def _environment(process: "psutil.Process") -> Mapping[str, str] | None:
    import psutil  # noqa: PLC0415 - as above

    try:
        return process.environ()
    except (psutil.Error, OSError):
        return None


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
