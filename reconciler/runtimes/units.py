"""Which systemd service started a process: one that systemd may start again."""

import re
from collections.abc import Mapping

_NAME = re.compile(r"[\w:.\\@-]+\.service", re.ASCII)


def unit_of(pid: int, parent: int, environment: Mapping[str, str]) -> str:
    """Its service, with `--user` before one of a user's manager; empty when no service is known to have started it.

    A server that cron or a login started is in those one's group too: it is their grandchild, and by hand.
    """
    if environment.get("SYSTEMD_EXEC_PID") not in (str(pid), str(parent)):
        return ""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - as all of /proc
            return service_of(file.read())
    except OSError:
        return ""


def service_of(groups: str) -> str:
    """The service that a process's control groups (cgroups(7)) name."""
    for line in groups.splitlines():
        _, _, path = line.partition("::") if line.startswith("0::") else line.partition(":name=systemd:")
        *above, name = path.split("/")
        if path and _NAME.fullmatch(name):
            is_users = any(part.startswith("user@") for part in above)
            return f"--user {name}" if is_users else name
    return ""
