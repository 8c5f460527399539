"""Keeps what the controller needs in its state folder, whatever is done to that folder while it runs."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from reconciler.controller.lock import Lock
from reconciler.core.actions import Event
from reconciler.store.trouble import TROUBLES
from reconciler.store.writer import Store

MEND_EACH = 1.0
"""Seconds between tries to end a trouble of the state."""
CHECK_REST = 50
"""Times as long as a check of the whole database took, until the next: 2 % of a core at most."""


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


class Checker:
    """Reads the whole database beside the loop, now and again: damage is found before what it holds is needed."""

    def __init__(self, store: Store, poke: Callable[[], None]) -> None:
        """`poke`: have the loop look."""
        self._store = store
        self._poke = poke
        self._not_before = float("-inf")
        self.running: set[asyncio.Task[None]] = set()
        """The check that is under way."""

    def begin(self) -> None:
        """Begin a check, if none is under way and the last was not a moment ago."""
        if not self.running and time.monotonic() >= self._not_before:
            task = asyncio.create_task(self._check())
            self.running.add(task)
            task.add_done_callback(self.running.discard)

    async def _check(self) -> None:
        began, renewals = time.monotonic(), self._store.renewals
        try:
            await asyncio.to_thread(self._store.check)
        except TROUBLES as error:
            if renewals == self._store.renewals:  # else it is about a file that is no longer there
                self._store.suspect(error)
                self._poke()
        ended = time.monotonic()
        self._not_before = ended + CHECK_REST * (ended - began)
