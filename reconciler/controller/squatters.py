"""Looks, now and again, who listens on the ports of servers that are to rest: nobody may have noticed."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from reconciler.controller.strangers import stranger_of
from reconciler.core.model import Now, Process, Wanted
from reconciler.core.observed import Stranger
from reconciler.core.ports import hosts_overlap
from reconciler.runtimes.host import ResourceError
from reconciler.runtimes.local import LocalRuntime
from reconciler.runtimes.strangers import look_at

PAUSE = 5.0
"""Seconds between looks."""


class Squatters:
    """Who has the port of a server that is stopped."""

    def __init__(self, runtime: LocalRuntime) -> None:
        self._runtime = runtime
        self._found: Mapping[str, Stranger] = {}
        self._looked_at = float("-inf")

    def look(self, resting: Sequence[Wanted], ours: Iterable[Process], now: Now) -> Mapping[str, Stranger]:
        """By the name of each of these servers; what was seen a few seconds ago is good enough."""
        if not resting or self._runtime.polls:
            return {}
        if now.monotonic >= self._looked_at + PAUSE:
            self._looked_at = now.monotonic
            with suppress(ResourceError):
                self._found = self._look(resting, {process.identity.pid for process in ours if process.alive})
        names = {wanted.document.name for wanted in resting}
        return {name: one for name, one in self._found.items() if name in names}

    def _look(self, resting: Sequence[Wanted], ours: set[int]) -> Mapping[str, Stranger]:
        held = {listener.port for listener in self._runtime.listeners(frozenset())}
        ports = frozenset(one.spec.port for one in resting if isinstance(one.spec.port, int) and one.spec.port in held)
        found = {}
        for listener in self._runtime.listeners(ports) if ports else ():
            pid = listener.pid
            identity = self._runtime.identify(pid) if pid is not None and pid not in ours else None
            for one in resting:
                is_its = one.spec.port == listener.port and hosts_overlap(one.spec.host, listener.address)
                seen = look_at(identity.pid) if identity is not None and is_its else None
                if identity is not None and seen is not None:
                    found[one.document.name] = stranger_of(identity, listener, seen)
        return found
