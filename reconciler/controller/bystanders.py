"""Tells of processes that bear a server's mark and are left alone, as they belong to somebody's terminal."""

from collections.abc import Callable, Mapping

from reconciler.core.actions import Event
from reconciler.core.clean import clean
from reconciler.core.model import Identity, Now, Process
from reconciler.store.writer import Store


class Bystanders:
    """Those who were told of: each is told of once."""

    def __init__(self, store: Store, report: Callable[[Event], None]) -> None:
        """`report` is told every event, once it is committed."""
        self._store = store
        self._report = report
        self._told: Mapping[Identity, Process] = {}

    def tell(self, bystanders: Mapping[Identity, Process], now: Now) -> None:
        """Say of each that is new what it is, and how to free it of the mark."""
        if bystanders is self._told:
            return
        events = [_event(process) for identity, process in bystanders.items() if identity not in self._told]
        self._told = bystanders
        if not events:
            return
        with self._store.transaction(anyway=True):
            for event in events:
                self._store.add_event(event, now)
        for event in events:
            self._report(event)


def _event(process: Process) -> Event:
    return Event(
        process.server,
        "MarkCopied",
        f"pid {process.identity.pid} ({clean(process.program)}) bears the mark of instance {process.uid}, but has a "
        f"terminal: it is somebody's, and left alone. Without one it would be ended as a leftover; before you copy a "
        f"server's environment into a shell again: unset ${{!RECONCILER_*}}",
        warning=True,
    )
