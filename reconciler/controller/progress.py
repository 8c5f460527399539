"""Whether a process makes progress, by what the operating system counts for it, and how long it has made none."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from reconciler.controller.http_get import Conversation
from reconciler.runtimes.host import Progress

BUSY_SHARE = 0.05
"""CPU share above which a loading server is taken to make progress; answering probes takes less."""
READ_STEP = 1024 * 1024
"""Bytes read since the last sample that are progress too."""
SAMPLE = 10.0
"""Most seconds over which progress is averaged: who was idle for long need not make up for it."""
ALIVE_SHARE = 0.005
"""CPU share above which a server that does not answer is taken to be at work: it may get little of a crowded machine,
and one that hangs gets a fiftieth of that by our looking at it."""
LEAST_CPU = 0.015
"""CPU seconds that are needed for that, however short the time: more than one tick of the kernel's clock."""
STALL = 0.5
"""Seconds by which a timeout may come late, or..."""
STALL_SHARE = 0.1
"""...this share of it; by more, and it was our own loop that stood still."""
TURNS = 6
"""Turns of the loop in which what is there already is taken before a wait is given up."""

Read = Callable[[], Progress | None]


class LoopStoodStillError(Exception):
    """An answer may have come in time, but nobody here was there to take it."""


@asynccontextmanager
async def within(seconds: float, talk: Conversation | None = None) -> AsyncIterator[None]:
    """Bound a wait. Raises TimeoutError, or LoopStoodStillError when the timeout itself came late.

    Who is asked late in a `talk` has as long for the answer; and what is there by the end is taken, even if we were
    not there to see it come.
    """
    alarm = None
    try:
        async with asyncio.timeout(None) as limit:
            alarm = _Alarm(limit, seconds, talk)
            try:
                yield
            finally:
                alarm.stop()
    except TimeoutError:
        if alarm is not None and alarm.is_late:
            raise LoopStoodStillError from None
        raise


class _Alarm:
    """Ends a wait, unless what is waited for is there, or was not asked for in time."""

    def __init__(self, limit: asyncio.Timeout, seconds: float, talk: Conversation | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._seconds = seconds
        self._talk = talk
        if talk is not None:
            talk.asked = None
        self.is_late = False
        self._due = self._loop.time() + seconds
        self._handle: asyncio.Handle = self._loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        self.is_late = self._loop.time() - self._due > max(STALL, STALL_SHARE * self._seconds)
        self._turn(TURNS)

    def _turn(self, left: int) -> None:
        asked = self._talk.asked if self._talk is not None else None
        if asked is not None and asked + self._seconds > max(self._due, self._loop.time()):
            self._due = asked + self._seconds
            self._handle = self._loop.call_at(self._due, self._ring)
        elif left:
            self._handle = self._loop.call_soon(self._turn, left - 1)
        else:
            self._limit.reschedule(self._loop.time())

    def stop(self) -> None:
        """It is no longer needed."""
        self._handle.cancel()


@dataclass(slots=True)
class Loading:
    """The progress of one that loads, averaged over a few seconds."""

    read: Read
    _sample: tuple[float, Progress] | None = None

    def worked(self, now: float) -> bool:
        """Whether it has computed or read since the last sample."""
        progress = self.read()
        if progress is None:
            return False
        if self._sample is None:
            self._sample = (now, progress)
            return False
        then, before = self._sample
        cpu = progress.cpu_seconds - before.cpu_seconds
        worked = (cpu > 0 and cpu >= BUSY_SHARE * (now - then)) or progress.bytes_read - before.bytes_read >= READ_STEP
        if worked or now - then > SAMPLE:
            self._sample = (now, progress)
        return worked


@dataclass(slots=True)
class Serving:
    """The progress of one that should serve, between two looks."""

    read: Read
    _sample: tuple[float, Progress] | None = None

    def begin(self, now: float) -> None:
        """What comes from now on is progress."""
        progress = self.read()
        self._sample = None if progress is None else (now, progress)

    def worked(self, now: float) -> bool:
        """Whether it has computed or read since the last look, or `begin`."""
        before = self._sample
        self.begin(now)
        if before is None or self._sample is None:
            return False
        cpu = self._sample[1].cpu_seconds - before[1].cpu_seconds
        read = self._sample[1].bytes_read - before[1].bytes_read
        return cpu >= max(LEAST_CPU, ALIVE_SHARE * (now - before[0])) or read >= READ_STEP


@dataclass(slots=True)
class Lasting:
    """For how many seconds something has been so, as far as somebody looked."""

    seconds: float = 0.0
    _looked: float | None = None

    def still(self, now: float, most: float) -> float:
        """It still is. Of the time since the last look at most so much counts: what was in more, nobody knows."""
        if self._looked is not None:
            self.seconds += min(now - self._looked, most)
        self._looked = now
        return self.seconds

    def over(self, now: float) -> None:
        """It is not so now."""
        self.seconds, self._looked = 0.0, now
