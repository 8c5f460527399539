"""Who may have which port."""

import ipaddress
from collections.abc import Iterable

from reconciler.core.model import Limits

ANY_ADDRESS = "any"
_LOOPBACK_NAMES = {"": frozenset({ANY_ADDRESS}), "localhost": frozenset({"127.0.0.1", "::1"})}


def hosts_overlap(one: str, other: str) -> bool:
    """Whether two servers on one port of these addresses would collide."""
    ours, theirs = addresses(one), addresses(other)
    return ANY_ADDRESS in ours or ANY_ADDRESS in theirs or bool(ours & theirs)


def addresses(host: str) -> frozenset[str]:
    """Where a server of this host listens, `ANY_ADDRESS` for everywhere.

    An address can be written in many ways (`::1`, `0:0:0:0:0:0:0:1`), and an IPv4 one as IPv6.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _LOOPBACK_NAMES.get(host.lower(), frozenset({host.lower()}))
    mapped = getattr(address, "ipv4_mapped", None) or address
    return frozenset({ANY_ADDRESS if mapped.is_unspecified else str(mapped)})


def choose_port(limits: Limits, taken: Iterable[int]) -> int | None:
    """The lowest port of the range that is neither taken nor handed out by the kernel; None when all are."""
    unavailable = frozenset(taken)
    low, high = limits.ephemeral
    return next(
        (
            port
            for port in range(limits.port_low, limits.port_high + 1)
            if port not in unavailable and not low <= port <= high
        ),
        None,
    )
