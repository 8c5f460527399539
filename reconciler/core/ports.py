"""Who may have which port."""

from collections.abc import Iterable, Set

from reconciler.core.model import Limits

_WILDCARDS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, not bound to
_LOOPBACK_NAMES = {"localhost": frozenset({"127.0.0.1", "::1"})}


def hosts_overlap(one: str, other: str) -> bool:
    """Whether two servers on one port of these addresses would collide."""
    if one in _WILDCARDS or other in _WILDCARDS:
        return True
    return bool(_addresses(one) & _addresses(other))


def _addresses(host: str) -> frozenset[str]:
    return _LOOPBACK_NAMES.get(host, frozenset({host}))


def choose_port(limits: Limits, taken: Set[int] | Iterable[int]) -> int | None:
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
