"""systemd's notification protocol, sd_notify(3): a line or two in a datagram. Elsewhere there is nobody to tell."""

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress

from reconciler.core.clean import clean

MICRO = 1_000_000
ADDRESS = "NOTIFY_SOCKET"


class Systemd:
    """The service manager that started this process, if one did."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Its variables are taken out of `environ`: what this process starts is not the service."""
        address = environ.pop(ADDRESS, "")
        is_known = address.startswith(("/", "@")) and len(address) > 1
        # `@` stands for the zero that begins an abstract name.
        self._address = address.replace("@", "\0", 1) if is_known and address[0] == "@" else address * is_known
        micros, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        is_ours = self.listens and micros.isdecimal() and pid in ("", str(os.getpid()))
        self.watchdog = int(micros) / MICRO if is_ours else 0.0
        """Seconds within which it wants to hear that all is well; 0: it does not."""

    @property
    def listens(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._address)

    def tell(self, *lines: str) -> None:
        """Send assignments such as `READY=1`. One that cannot be sent is left out: nobody waits for the manager."""
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            line.sendto("\n".join(map(clean, lines)).encode("utf-8", "replace"), self._address)

    def reloading(self, status: str) -> None:
        """Everything is looked at anew; `READY=1` ends that."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", f"STATUS={status}")

    def extend(self, seconds: float, status: str) -> None:
        """Starting or stopping takes this much longer yet; to be said again and again."""
        self.tell(f"EXTEND_TIMEOUT_USEC={int(seconds * MICRO)}", f"STATUS={status}")
