"""What makes the loop look: changes of files, and the clock. All of it only pokes."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from watchfiles import Change, awatch

log = logging.getLogger("reconciler")
STEP = 10
"""Milliseconds without a further change after which a batch is told (the library's 50 ms would be our latency)."""
DEBOUNCE = 400
"""Most milliseconds that a batch may take."""
REWATCH = 1.0
"""Seconds between looks whether a folder that cannot be watched is back."""

CLOCK_STEP = 0.5
"""Seconds by which the wall clock must have left the monotonic one to have been stepped; less is its slewing."""


async def watch_manifests(
    root: Path, poke: Callable[[], None], lagged: Callable[[float], None] = lambda _seconds: None
) -> None:
    """Poke at each change below a folder, for ever; watch it anew when it was deleted or replaced.

    `lagged` is told how many seconds ago a file changed of which we hear.
    """
    while True:
        watched = _identity(root)
        if watched is not None:
            stop = asyncio.Event()
            replaced = asyncio.create_task(_notice_replacement(root, watched, stop, poke))
            try:
                await _watch(root, stop, poke, lagged)
            except (OSError, RuntimeError) as error:
                log.warning("cannot watch %s, looking at each tick instead: %s", root, error)
            finally:
                replaced.cancel()
            poke()
        await asyncio.sleep(REWATCH)


async def _watch(root: Path, stop: asyncio.Event, poke: Callable[[], None], lagged: Callable[[float], None]) -> None:
    batches = awatch(root, watch_filter=_matters(root), step=STEP, debounce=DEBOUNCE, stop_event=stop, recursive=True)
    async for changes in batches:
        poke()
        if (lag := _lag(changes)) is not None:
            lagged(lag)
        if (Change.deleted, str(root)) in changes:
            return  # one made anew at once may get the old one's inode, and look the same


def _lag(changes: set[tuple[Change, str]]) -> float | None:
    """Seconds since the first of these changes; None where only what is gone is told of."""
    changed = []
    for change, path in changes:
        if change is not Change.deleted:
            with suppress(OSError):
                # Not the time of modification: a file that is renamed into place keeps its own.
                changed.append(Path(path).stat().st_ctime)
    return max(0.0, time.time() - min(changed)) if changed else None


async def _notice_replacement(
    root: Path, watched: tuple[int, int], stop: asyncio.Event, poke: Callable[[], None]
) -> None:
    """A watch sticks to the folder it was set on: end it when the name comes to mean another one, or none."""
    await asyncio.sleep(REWATCH)
    poke()  # for what changed after the last look and before the watch was set
    while _identity(root) == watched:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(REWATCH)
    stop.set()


def _identity(root: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        found = root.stat()
        return found.st_dev, found.st_ino
    return None


def _matters(root: Path) -> Callable[[Change, str], bool]:
    """Manifests and folders matter; editors' other files, and what is hidden, are no reason to look."""

    def matters(change: Change, path: str) -> bool:
        below = Path(path.removeprefix(str(root))).parts
        if any(part.startswith(".") and part != "..data" for part in below):
            return False
        name = Path(path).name
        if name.endswith((".yaml", ".yml", "..data")) or "." not in name:
            return True
        # A name with a dot may be a folder's, and one that is gone cannot be asked.
        return not name.endswith(("~", ".swp", ".tmp")) and (change is Change.deleted or Path(path).is_dir())

    return matters


def start_ticking(seconds: float, tick: Callable[[], None]) -> AsyncIOScheduler:
    """Call `tick` now and every so many seconds. The running loop must be the caller's."""

    async def in_the_loop() -> None:
        tick()  # a plain function would be called in a thread, beside the loop

    scheduler = _SteadyScheduler(timezone=UTC)
    scheduler.add_job(
        in_the_loop,
        "interval",
        seconds=seconds,
        next_run_time=datetime.now(UTC),
        misfire_grace_time=None,
        coalesce=True,
        max_instances=1,
    )
    scheduler.start()
    return scheduler


class _SteadyScheduler(AsyncIOScheduler):  # type: ignore[misc]
    """Its timers run on the monotonic clock, its jobs on the wall clock: a step of that brings the jobs along.

    Else a step back would silence them for as long as it is wide, and each interval of a step forward be counted.
    """

    _offset = 0.0

    def wakeup(self) -> None:
        """Run what is due; after a step of the clock, or a suspension of the machine, that is everything."""
        offset = time.time() - asyncio.get_running_loop().time()
        stepped, self._offset = abs(offset - self._offset) >= CLOCK_STEP, offset
        if stepped:
            for job in self.get_jobs():
                job.modify(next_run_time=datetime.now(UTC))
        super().wakeup()
