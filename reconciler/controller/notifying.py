"""Tells webhooks and commands of events, in order and without ever holding up the loop."""

import asyncio
import json
import logging
import socket
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from reconciler.controller.couriers import Courier, UntoldError, courier_of
from reconciler.core.actions import Event
from reconciler.core.clean import clean
from reconciler.core.model import Now
from reconciler.core.notify_settings import NOTIFIED_AGAIN, NOTIFY_FAILED, Notify
from reconciler.store.items import timestamp

log = logging.getLogger("reconciler")
MOST_WAITING = 1000
"""Messages that wait for one receiver; the oldest give way, and the next one says how many."""
SAME_AGAIN = 600.0
"""Seconds within which the same event again is not told again, nor another cause of the same outage."""
MOST_KNOWN = 4096
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between two tries."""
OLDEST = 3600.0
"""Seconds after which a message is given up that could not be brought."""

Tell = Callable[[str, str], None]
"""Keeps an event of this controller's own: reason and message."""


@dataclass(slots=True)
class _Message:
    content: dict[str, Any]
    at: float = field(default_factory=time.monotonic)


class Notifier:
    """One queue, and one thread once there is something to say, for each of `[[notify]]`."""

    def __init__(self, targets: Sequence[Notify], installation: str, tell: Tell = lambda *_: None) -> None:
        self._installation = installation
        self._host = socket.gethostname()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._tell = tell
        self._receivers = [
            _Receiver(one.called(number), one, courier_of(one), self._keep) for number, one in enumerate(targets, 1)
        ]

    def tell(self, event: Event, now: Now) -> None:
        """Note an event for those who want it; returns at once. It is sent once this runs."""
        wanting = [one for one in self._receivers if one.wants(event)]
        if wanting and self._is_new(event):
            content = self._content(event, now)
            for one in wanting:
                one.put(_Message(content))

    async def run(self) -> None:
        """Send what is noted, until cancelled."""
        self._loop = asyncio.get_running_loop()
        for one in self._receivers:
            one.begin()
        try:
            await asyncio.Event().wait()
        finally:
            self._loop = None
            for one in self._receivers:
                one.close()

    def _is_new(self, event: Event) -> bool:
        """Whether it was not told a moment ago: what repeats itself would bury the rest."""
        key, now = (event.server, event.reason, event.message), time.monotonic()
        if now - self._told.get(key, float("-inf")) < SAME_AGAIN:
            return False
        self._told[key] = now
        self._told.move_to_end(key)
        while len(self._told) > MOST_KNOWN:
            self._told.popitem(last=False)
        return True

    def _content(self, event: Event, now: Now) -> dict[str, Any]:
        message, kind = clean(event.message), "Warning" if event.warning else "Normal"
        return {
            "apiVersion": "llama.reconciler/v1alpha1",
            "kind": "Event",
            "id": uuid.uuid4().hex,
            "at": timestamp(now.wall),
            "server": event.server,
            "type": kind,
            "reason": event.reason,
            "message": message,
            "host": self._host,
            "installation": self._installation,
            "text": " ".join(filter(None, (f"{self._host}:", event.server, f"{event.reason}: {message}"))),
        }

    def _keep(self, reason: str, message: str) -> None:
        """From a thread, into the loop's."""
        log.log(logging.WARNING if reason == NOTIFY_FAILED else logging.INFO, "%s: %s", reason, message)
        with suppress(RuntimeError):  # it has ended meanwhile
            if (loop := self._loop) is not None:
                loop.call_soon_threadsafe(self._tell, reason, message)


class _Receiver:
    """One of `[[notify]]`: what waits for it, and the thread that brings it there."""

    def __init__(self, name: str, target: Notify, courier: Courier, keep: Tell) -> None:
        self._name = name
        self._target = target
        self._courier = courier
        self._keep = keep
        self._waiting: deque[_Message] = deque()
        self._dropped = 0
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._begun = False
        self._thread: threading.Thread | None = None
        self._failure = ""
        """What was told of it last; empty while it can be told."""
        self._failure_at = 0.0

    def wants(self, event: Event) -> bool:
        """Not that it cannot be told itself, which would go on for ever."""
        about_itself = event.reason in (NOTIFY_FAILED, NOTIFIED_AGAIN) and event.message.startswith(f"{self._name}: ")
        return self._target.wants(event) and not about_itself

    def begin(self) -> None:
        """Bring what is there, and what comes."""
        self._begun = True
        self._work()

    def put(self, message: _Message) -> None:
        """Have it brought, once this is begun."""
        with self._changed:
            if self._closed.is_set():
                return
            self._waiting.append(message)
            if len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
                self._dropped += 1
            self._changed.notify()
        self._work()

    def _work(self) -> None:
        if self._begun and self._waiting and self._thread is None:
            # Whoever is slow to take it must not hold up the end of the process: hence no thread of a pool.
            self._thread = threading.Thread(target=self._bring_all, name=f"notify {self._name}", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Bring nothing more."""
        with self._changed:
            self._closed.set()
            self._changed.notify()
        self._courier.close()

    def _bring_all(self) -> None:
        while (message := self._next()) is not None:
            try:
                self._bring(message)
            except Exception:
                log.exception("%s could not be told", self._name)

    def _next(self) -> _Message | None:
        with self._changed:
            while not self._waiting and not self._closed.is_set():
                self._changed.wait()
            return None if self._closed.is_set() else self._waiting.popleft()

    def _bring(self, message: _Message) -> None:
        """Try until it is told, too old, or refused for good. Those behind it wait, for they are in order."""
        pause, content = FIRST_PAUSE, message.content
        while not self._closed.is_set():
            dropped = self._dropped
            if dropped:
                content = {**content, "dropped": dropped}
            try:
                self._courier.bring(json.dumps(content).encode())
            except UntoldError as error:
                if self._closed.is_set():
                    return
                is_old = time.monotonic() - message.at > OLDEST
                self._has_failed(str(error), goes_on=error.again and not is_old)
                if is_old or not error.again:
                    self._count_dropped(1)
                    return
                self._closed.wait(max(pause, error.wait))
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._count_dropped(-dropped)
                self._has_worked()
                return

    def _count_dropped(self, more: int) -> None:
        with self._changed:
            self._dropped += more

    def _has_failed(self, why: str, *, goes_on: bool) -> None:
        failure = f"{self._name}: {why}; {'it is tried again' if goes_on else 'this message is given up'}"
        now = time.monotonic()
        if failure == self._failure or (self._failure and now - self._failure_at < SAME_AGAIN):
            return
        self._failure, self._failure_at = failure, now
        self._keep(NOTIFY_FAILED, failure)

    def _has_worked(self) -> None:
        if self._failure:
            self._failure = ""
            self._keep(NOTIFIED_AGAIN, f"{self._name}: told again")
