"""How many servers may load at once: a disk and a memory bus are shared."""

from collections.abc import Iterable

from reconciler.core.model import Desired, Now
from reconciler.core.server import Server
from reconciler.core.source import GIT

LONGEST_HOLD = 10
"""A loader gives its slot back after so many times `loader_stall`, whatever its progress: computing looks like it."""
STALL_WHEN_BACK = 10.0
"""Seconds without progress after which a loader that was Ready before keeps no other one of these waiting."""


class LoadSlots:
    """The load slots of one plan: who has them, and who may take another.

    Servers that were Ready come back first: they wait for each other, and for no first load, however long that hangs.
    """

    def __init__(self, servers: Iterable[Server], desired: Desired, now: Now) -> None:
        servers = list(servers)
        self._limit = desired.limits.loads
        declared = desired.servers.values()
        has_local = any(
            wanted.document.origin != GIT and not (wanted.spec.suspend or wanted.parked) for wanted in declared
        )
        self._limit_of_git = self._limit - 1 if self._limit > 1 and has_local else self._limit
        """What comes from Git leaves one slot to local servers, lest they never start."""
        stall = desired.limits.loader_stall
        self._held = _held(servers, stall, now)
        back = [server for server in servers if server.record.was_ready]
        self._held_by_those_back = _held(back, min(stall, STALL_WHEN_BACK), now)
        self._git = {name for name, wanted in desired.servers.items() if wanted.document.origin == GIT}

    def why_not(self, server: Server) -> str:
        """Why the server has to wait; empty when there is a slot for it."""
        held = self._in_its_way(server)
        busy, of_git = len(held), len(held.keys() & self._git)
        if self._limit and busy >= self._limit:
            return f"{busy} servers are loading, and {self._limit} may at once"
        if self._limit and server.name in self._git and of_git >= self._limit_of_git:
            return f"{of_git} servers from Git are loading, and {self._limit_of_git} of them may at once"
        return ""

    def free_at(self, server: Server) -> float | None:
        """Monotonic time at which a slot comes back to the server at the latest; None: none is held."""
        found = min(self._in_its_way(server).values(), default=None)
        return None if found == _FOR_THIS_PLAN else found

    def take(self, server: Server) -> None:
        """Within this plan, a slot is the server's."""
        self._held[server.name] = _FOR_THIS_PLAN
        if server.record.was_ready:
            self._held_by_those_back[server.name] = _FOR_THIS_PLAN

    def _in_its_way(self, server: Server) -> dict[str, float]:
        return self._held_by_those_back if server.record.was_ready else self._held


_FOR_THIS_PLAN = float("inf")


def _held(servers: Iterable[Server], stall: float, now: Now) -> dict[str, float]:
    """Who has a slot, and the monotonic time at which it comes back."""
    loading = {server.name: _gives_back_at(server, stall) for server in servers}
    return {name: at for name, at in loading.items() if at is not None and at > now.monotonic}


def _gives_back_at(server: Server, stall: float) -> float | None:
    """Monotonic time at which an instance that loads holds its slot no more; None when it does not load."""
    instance, process = server.instance, server.process
    if instance is None or instance.stopping or process is None or process.health.verified:
        return None
    began = instance.intent.monotonic
    return min(max(began, process.health.last_progress or 0.0) + stall, began + LONGEST_HOLD * stall)
