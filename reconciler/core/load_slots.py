"""How many servers may load at once: a disk and a memory bus are shared."""

from collections.abc import Iterable

from reconciler.core.model import Desired, Now
from reconciler.core.server import Server
from reconciler.core.source import GIT

LONGEST_HOLD = 10
"""A loader gives its slot back after so many times `loader_stall`, whatever its progress: computing looks like it."""


class LoadSlots:
    """The load slots of one plan: who has them, and who may take another."""

    def __init__(self, servers: Iterable[Server], desired: Desired, now: Now) -> None:
        self._limit = desired.limits.loads
        declared = desired.servers.values()
        has_local = any(wanted.document.origin != GIT and not wanted.spec.suspend for wanted in declared)
        self._limit_of_git = self._limit - 1 if self._limit > 1 and has_local else self._limit
        """What comes from Git leaves one slot to local servers, lest they never start."""
        loading = {server.name: _gives_back_at(server, desired.limits.loader_stall) for server in servers}
        self._held = {name: at for name, at in loading.items() if at is not None and at > now.monotonic}
        self._git = {name for name, wanted in desired.servers.items() if wanted.document.origin == GIT}
        self.free_at = min(self._held.values(), default=None)
        """Monotonic time at which the next slot comes back at the latest; None: none is held."""

    def why_not(self, server: Server) -> str:
        """Why the server has to wait; empty when there is a slot for it."""
        busy, of_git = len(self._held), len(self._held.keys() & self._git)
        if self._limit and busy >= self._limit:
            return f"{busy} servers are loading, and {self._limit} may at once"
        if self._limit and server.name in self._git and of_git >= self._limit_of_git:
            return f"{of_git} servers from Git are loading, and {self._limit_of_git} of them may at once"
        return ""

    def take(self, server: Server) -> None:
        """Within this plan, a slot is the server's."""
        self._held[server.name] = float("inf")


def _gives_back_at(server: Server, stall: float) -> float | None:
    """Monotonic time at which an instance that loads holds its slot no more; None when it does not load."""
    instance, process = server.instance, server.process
    if instance is None or instance.stopping or process is None or process.health.verified:
        return None
    began = instance.intent.monotonic
    return min(max(began, process.health.last_progress or 0.0) + stall, began + LONGEST_HOLD * stall)
