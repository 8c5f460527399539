"""Whether a process makes progress, by what the operating system counts for it, and how long it has made none."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

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

Read = Callable[[], Progress | None]


class LoopStoodStillError(Exception):
    """An answer may have come in time, but nobody here was there to take it."""


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Bound a wait. Raises TimeoutError, or LoopStoodStillError when the timeout itself came late."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        if loop.time() - began - seconds > max(STALL, STALL_SHARE * seconds):
            raise LoopStoodStillError from None
        raise


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
