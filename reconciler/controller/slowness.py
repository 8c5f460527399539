"""Whether a server is slow to say how it is: as much of a warning as can be had before it does not answer at all."""

import asyncio
from collections import deque
from statistics import median
from typing import Self

from reconciler.controller.http_get import Conversation

IN_A_ROW = 3
"""Looks that agree."""
LEAST_SECONDS = 1.0
"""An answer within this time is never slow."""
SHARE = 0.2
"""Share of the timeout that an answer may take."""
NEWS = 1.5
"""By so many times the seconds have to differ from those that were told before they are told anew."""
LATE = 0.05
"""Seconds by which our own timer may be late; by more, and it was our loop that stood still."""


def limit_of(timeout: float) -> float:
    """Seconds above which an answer is slow."""
    return max(LEAST_SECONDS, SHARE * timeout)


class Slowness:
    """One server's: it takes several looks to become slow, and as many to be so no more."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """That an answer takes lately, where that is too long; 0: it is not slow."""
        self._recent: deque[float] = deque(maxlen=IN_A_ROW)

    def note(self, seconds: float, limit: float) -> None:
        """An answer took so long, or did not come within that time."""
        self._recent.append(seconds)
        if len(self._recent) < IN_A_ROW:
            return
        if all(each < limit for each in self._recent):
            self.seconds = 0.0
        elif all(each >= limit for each in self._recent):
            lately = round(median(self._recent), 1)
            if not self.seconds / NEWS <= lately <= self.seconds * NEWS:
                self.seconds = lately


class Stopwatch:
    """How long one answer takes, from the moment at which it was asked for."""

    def __init__(self, talk: Conversation, limit: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._talk = talk
        self._limit = limit
        self._is_over = self._is_late = False

    def __enter__(self) -> Self:
        self._due = self._loop.time() + self._limit
        self._handle = self._loop.call_at(self._due, self._ring)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.cancel()

    def _ring(self) -> None:
        now, asked = self._loop.time(), self._talk.asked
        due = now + self._limit if asked is None else asked + self._limit
        self._is_late = self._is_late or now - self._due > LATE
        if due > now:
            self._due = due
            self._handle = self._loop.call_at(due, self._ring)
        else:
            self._is_over = True

    def taken(self) -> float | None:
        """Seconds; None when our own loop stood still, so that the answer may have been there long before."""
        asked = self._talk.asked
        if asked is None:
            return None
        seconds = self._loop.time() - asked
        is_known = not self._is_late and self._is_over == (seconds >= self._limit)
        return seconds if is_known else None
