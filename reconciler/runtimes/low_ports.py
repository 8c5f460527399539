"""Whether this user may listen on a port: the low ones are root's."""

import os
from contextlib import suppress
from pathlib import Path

FIRST_OPEN = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
STATUS = Path("/proc/self/status")
_NET_BIND_SERVICE = 1 << 10


def may_listen(port: int) -> bool:
    """False only where it is certain that a process of this user may not."""
    if not 0 < port < 1024:
        return True
    with suppress(OSError, ValueError, StopIteration):
        if port >= int(FIRST_OPEN.read_text()):
            return True
        rights = next(line for line in STATUS.read_text().splitlines() if line.startswith("CapEff:"))
        return os.geteuid() == 0 or bool(int(rights.split()[1], 16) & _NET_BIND_SERVICE)
    return True
