"""Where to listen, as `[http] listen` says it."""

import ipaddress
from dataclasses import dataclass

LOCALHOST = "localhost"
LISTEN_FAILED, LISTENING = "ListenFailed", "Listening"
"""Reasons of events: the address cannot be had, and it was had after that."""


@dataclass(frozen=True, slots=True)
class Listen:
    """An address and a port."""

    host: str
    """An IP address as it is written: without brackets."""
    port: int
    """0: any that is free."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can come in."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def is_ipv6(self) -> bool:
        """Whether it is an address of version 6."""
        return ":" in self.host

    def url(self, port: int) -> str:
        """Where a browser of this machine finds it; `port` is the one that was bound."""
        address = ipaddress.ip_address(self.host)
        host = ("::1" if self.is_ipv6 else "127.0.0.1") if address.is_unspecified else self.host
        return f"http://{authority(host, port)}"


def authority(host: str, port: int) -> str:
    """Host and port as a URL has them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_listen(text: str) -> Listen:
    """`ADDRESS:PORT`, `[ADDRESS]:PORT` or `localhost:PORT`. Raises ValueError that says what is expected."""
    host, _, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if host == LOCALHOST:
        host = "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
        number = int(port) if port.isascii() and port.isdigit() else -1
    except ValueError:
        number = -1
    if not 0 <= number <= 65535:
        raise ValueError(f'expected an address and a port, such as "127.0.0.1:9797" or "[::1]:9797", not "{text}"')
    return Listen(str(address), number)
