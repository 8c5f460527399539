"""Keeps what the controller needs in its state folder, whatever is done to that folder while it runs."""

from collections.abc import Callable
from contextlib import suppress

from reconciler.controller.lock import Lock
from reconciler.core.actions import Event
from reconciler.store.writer import Store

MEND_EACH = 1.0
"""Seconds between tries to end a trouble of the state."""


class Keeper:
    """Looks after the lock, the database and what else is kept there."""

    def __init__(self, store: Store, report: Callable[[Event], None]) -> None:
        """`report` is told what happened to the state."""
        self._store = store
        self._report = report
        self._lock: Lock | None = None
        self._others: list[Callable[[], None]] = []
        self._mend_at = float("-inf")

    def hold(self, lock: Lock) -> None:
        """Hold this lock, and make nothing anew without it."""
        self._lock = lock
        self._store.on_replacing(lock.ensure)

    def keep(self, put_right: Callable[[], None]) -> None:
        """Put this right too, now and again; it may raise OSError."""
        self._others.append(put_right)

    def look(self, monotonic: float, *, fresh: bool) -> float | None:
        """See to all of it; the monotonic time to look again at, if it is in trouble. `fresh`: to the others too.

        Raises HeldError when another controller has taken the folder over.
        """
        if self._lock is not None:
            with suppress(OSError):
                self._lock.ensure()
        self._store.look()
        if self._store.trouble is None:
            self._mend_at = monotonic
        elif monotonic >= self._mend_at:
            self._store.mend()
            self._mend_at = monotonic + MEND_EACH
        news = self._store.take_news()
        for event in news:
            self._report(event)
        if fresh or news:
            for put_right in self._others:
                with suppress(OSError):
                    put_right()
        return self._mend_at if self._store.trouble is not None else None
