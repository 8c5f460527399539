"""Reads on in the logs of servers that run, and tells of requests that were refused for their size."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from reconciler.controller.target import Target
from reconciler.core.actions import Event
from reconciler.core.clean import clean
from reconciler.core.history import History
from reconciler.core.model import Effective, Now
from reconciler.core.spec import ServerSpec
from reconciler.engines import engine_of
from reconciler.engines.live import TooLarge
from reconciler.runtimes.local import LocalRuntime
from reconciler.store.writer import Store

PAUSE = 60.0
"""Seconds between two events of one server."""
MEMORY = 60 * PAUSE
"""Seconds for which the largest request is told again in place of smaller ones that follow."""


class LiveLog:
    """One instance's log, as far as it was read."""

    def __init__(self, target: Target, runtime: LocalRuntime) -> None:
        self._runtime = runtime
        self._largest = TooLarge()
        """Told again when smaller ones follow: the same event is counted, and not repeated."""
        self._largest_at = -math.inf
        self._is_pending = False
        self._due = 0.0
        # What it wrote before this controller was told by the one before.
        self._offset = 0
        if target.was_ready:
            self._offset = runtime.log_appended(target.server, target.uid, None)[1]

    def look(self, target: Target, effective: Effective | None = None) -> bool:
        """Read on; whether there is something to be told now. `effective`: what the server says it runs with."""
        text, self._offset = self._runtime.log_appended(target.server, target.uid, self._offset)
        if text:
            found = engine_of(target.spec).read_live(text, effective)
            if found is not None:
                self._take_in(found, time.monotonic())
        return self._is_pending and time.monotonic() >= self._due

    def _take_in(self, found: TooLarge, now: float) -> None:
        is_old = now - self._largest_at > MEMORY
        if is_old or (found.tokens, found.room) >= (self._largest.tokens, self._largest.room):
            self._largest, self._largest_at = found, now
        self._is_pending = True

    def take(self) -> TooLarge | None:
        """What is to be told now, once; nothing more for a while then."""
        now = time.monotonic()
        if not self._is_pending or now < self._due:
            return None
        self._is_pending, self._due = False, now + PAUSE
        return self._largest


@dataclass(frozen=True, slots=True)
class Heard:
    """What a live log tells, and of whom."""

    target: Target
    found: TooLarge
    effective: Effective | None


class LiveLogs:
    """Writes down what live logs tell."""

    def __init__(self, store: Store, report: Callable[[Event], None]) -> None:
        """`report` is told every event, once it is committed."""
        self._store = store
        self._report = report

    def tell(self, heard: Iterable[Heard], history: History, now: Now) -> None:
        """Write down each as an event."""
        events = [_event(one, history) for one in heard]
        if not events:
            return
        with self._store.transaction(anyway=True):
            for event in events:
                self._store.add_event(event, now)
        for event in events:
            self._report(event)


def _event(heard: Heard, history: History) -> Event:
    target, instance = heard.target, history.instances.get(heard.target.server)
    spec, eased, effective = target.spec, "", heard.effective
    if instance is not None and instance.uid == target.uid:
        effective = effective or instance.effective
        if instance.step:
            spec, eased = ServerSpec.model_validate(dict(instance.spec)), instance.step_told or f"{instance.step}"
    message = engine_of(spec).tell_live(heard.found, spec, effective, target.server, eased=eased)
    return Event(target.server, heard.found.reason, clean(message), warning=True)
