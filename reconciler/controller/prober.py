"""Asks every instance for its health, each in a task of its own, and remembers what it heard.

It only reports: that a server is Ready, unwell or late is judged by the planner.
"""

from collections.abc import Callable, Mapping

from reconciler.controller.live_logs import Heard
from reconciler.controller.target import Target
from reconciler.controller.watch import Watch
from reconciler.core.counts import Counts
from reconciler.core.model import Health
from reconciler.runtimes.local import LocalRuntime


class Prober:
    """The health of all instances."""

    def __init__(self, runtime: LocalRuntime, on_change: Callable[[], None], counts: Counts | None = None) -> None:
        """`on_change` is called whenever an instance's health becomes another; in `counts` probes are counted."""
        self._runtime = runtime
        self._on_change = on_change
        self._counts = counts or Counts()
        self._watches: dict[str, Watch] = {}

    def sync(self, targets: Mapping[str, Target]) -> None:
        """Ask these instances, by uid, and no others."""
        for uid in self._watches.keys() - targets.keys():
            self._watches.pop(uid).stop()
        for uid, target in targets.items():
            watch = self._watches.get(uid)
            if watch is None:
                self._watches[uid] = Watch(target, self._runtime, self._on_change, self._counts)
            elif watch.target is not target:
                watch.retarget(target)

    def health(self, uid: str) -> Health | None:
        """What is known of an instance's health; the same object as long as nothing changed."""
        watch = self._watches.get(uid)
        return watch.known() if watch else None

    def asked(self) -> dict[str, Watch]:
        """All that are asked now, by server."""
        return {watch.target.server: watch for watch in self._watches.values()}

    def heard(self) -> list[Heard]:
        """What live logs tell that is to be told now, each once."""
        return [heard for watch in self._watches.values() if (heard := watch.heard()) is not None]

    def close(self) -> None:
        """Stop asking."""
        self.sync({})
