"""Listening TCP sockets, from /proc/net/tcp and /proc/net/tcp6 (proc(5))."""

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

LISTEN = "0A"


@dataclass(frozen=True, slots=True)
class Socket:
    """A listening socket."""

    address: str
    port: int
    inode: int


def listening_sockets() -> Iterator[Socket]:
    """All listening sockets of this network namespace."""
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(path) as table:  # noqa: PTH123 - a Path costs more than the read
                lines = table.readlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            fields = line.split(maxsplit=10)
            if fields[3] == LISTEN:
                address, _, port = fields[1].partition(":")
                yield Socket(_address(address), int(port, 16), int(fields[9]))


@lru_cache(maxsize=256)
def _address(text: str) -> str:
    """The kernel prints each 32-bit word in the machine's byte order; a mapped IPv4 address is shown as IPv4."""
    words = [int(text[i : i + 8], 16) for i in range(0, len(text), 8)]
    packed = b"".join(struct.pack("=I", word) for word in words)
    address = ipaddress.ip_address(packed)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
