"""What servers take and give, looked at now and again and kept for an hour: for charts and metrics."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reconciler.controller.gpu_look import GpuLook
from reconciler.controller.loop import Loop
from reconciler.controller.series import Series
from reconciler.controller.target import Target
from reconciler.controller.usage import FIELDS, Look, between, told
from reconciler.controller.watch import Watch
from reconciler.core.actions import Event
from reconciler.core.history import ServerRecord
from reconciler.core.model import HealthState, Now
from reconciler.runtimes.usage import taken_by
from reconciler.store.writer import Store

log = logging.getLogger("reconciler")
INTERVAL = 5.0
"""Seconds between two values that are kept, and between two looks while nobody wants to know."""
LIVE = INTERVAL / 2
"""Seconds between two looks while somebody does."""
WANTED = 60.0
"""Seconds for which somebody wants to know who asked."""
AT_WORK = 2.0
"""Percent of a core from which on a server is asked though nobody looks; answering probes takes less."""
AGAIN = 30.0
"""Seconds after which one that is idle is asked again while somebody wants to know, and GPUs while nobody does."""
PATIENCE = 1.0
"""Seconds in which a server has to tell."""
SLICE = 8
"""Servers that are looked at before the loop has a turn, and that are asked at the same time."""
NEVER = float("-inf")
UNKNOWN: dict[str, Any] = dict.fromkeys((*FIELDS, "healthSeconds"))


@dataclass(frozen=True, slots=True)
class _Seen:
    """The last look at a server."""

    at: float
    """Monotonic time of the look at its process; `look.at` is when it told of itself."""
    look: Look
    cpu: float | None = None
    """Percent of a core since the look before."""
    asked: float = NEVER
    """Monotonic time at which it was last asked."""


class Meter:
    """Looks at all servers each few seconds; asks those that are at work, and others only while somebody looks."""

    def __init__(self, store: Store, loop: Loop) -> None:
        self._store = store
        self._loop = loop
        self._gpus = GpuLook()
        self._wanted_until = self._recorded = NEVER
        self._woken = asyncio.Event()
        self._seen: dict[str, _Seen] = {}
        self._latest: dict[str, dict[str, Any]] = {}
        self._series: dict[str, Series] = {}
        self._failed = False
        store.on_event.append(self._count)

    def _count(self, event: Event, _now: Now) -> None:
        self._loop.counts.events["Warning" if event.warning else "Normal", event.reason] += 1

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self._woken.clear()
            try:
                await self.look()
                self._failed = False
            except Exception:
                # A fault here must not leave the charts empty for ever, nor fill the log.
                log.log(logging.DEBUG if self._failed else logging.ERROR, "could not look at figures", exc_info=True)
                self._failed = True
            try:
                async with asyncio.timeout(LIVE if self._is_wanted else INTERVAL):
                    await self._woken.wait()
            except TimeoutError:
                continue

    @property
    def _is_wanted(self) -> bool:
        return time.monotonic() < self._wanted_until

    def wanted(self) -> None:
        """Somebody looks: for a minute from now on it is looked more often, and those that are idle are asked too."""
        if not self._is_wanted:
            self._woken.set()
        self._wanted_until = time.monotonic() + WANTED

    def latest(self) -> dict[str, dict[str, Any]]:
        """By server, as `usage` of `top -o json` has it, with `healthSeconds`; what is not known is None."""
        return self._latest

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time that each server's process has taken since its start, as of the last look."""
        return {name: one.look.taken.cpu_seconds for name, one in self._seen.items() if one.look.taken is not None}

    def series(self, name: str) -> Mapping[str, Any]:
        """One server's last hour: `interval` (s), `at` (Unix times) and `series`, each with one value for each time."""
        return {"interval": INTERVAL, **self._series.get(name, Series()).data()}

    async def look(self) -> None:
        """One look at all servers."""
        watches = self._loop.prober.asked()
        self._gpus.look(INTERVAL if self._is_wanted else AGAIN, are_there=bool(watches))
        seen = await self._look_at_processes(watches)
        seen = await self._ask(watches, seen)
        latest = {}
        for name in self._names():
            latest[name] = self._figures(watches.get(name), name, seen.get(name))
        self._latest, self._seen = latest, seen
        if time.monotonic() - self._recorded > INTERVAL - LIVE / 2:
            self._recorded = time.monotonic()
            await self._record()

    def _names(self) -> Sequence[str]:
        history = self._store.history()
        return sorted({*self._store.documents, *history.servers, *history.instances})

    async def _look_at_processes(self, watches: Mapping[str, Watch]) -> dict[str, _Seen]:
        found = {}
        for number, (name, watch) in enumerate(watches.items()):
            if number % SLICE == 0:
                await asyncio.sleep(0)
            pid, before = watch.target.pid, self._seen.get(name)
            now = time.monotonic()
            look = Look(now, pid, taken_by(pid), self._gpus.of(pid))
            if before is None or before.look.pid != pid:
                found[name] = _Seen(now, look)
                continue
            cpu = between(replace(before.look, at=before.at), look).cpu
            # Of one that does nothing it is known what it would tell: what it told.
            look = replace(look, slots=before.look.slots, metrics=before.look.metrics)
            found[name] = _Seen(now, look, cpu, before.asked)
        return found

    async def _ask(self, watches: Mapping[str, Watch], seen: dict[str, _Seen]) -> dict[str, _Seen]:
        due = [name for name, one in seen.items() if self._is_due(watches[name], one)]
        limit = asyncio.Semaphore(SLICE)
        asked = await asyncio.gather(*(self._asked(watches[name].target, seen[name], limit) for name in due))
        return {**seen, **dict(zip(due, asked, strict=True))}

    def _is_due(self, watch: Watch, seen: _Seen) -> bool:
        if not watch.health.verified or watch.health.state is not HealthState.OK:
            return False
        if self._is_wanted:
            return bool(seen.cpu) or time.monotonic() - seen.asked > AGAIN
        return seen.asked == NEVER or (seen.cpu or 0.0) >= AT_WORK

    async def _asked(self, target: Target, seen: _Seen, limit: asyncio.Semaphore) -> _Seen:
        async with limit:
            # Keys are for our own servers only; that it is one was seen when it became Ready, and is looked at again.
            listens = self._loop.runtime.listens
            if target.api_key and listens(target.pid, target.spec.host, target.port) is False:
                slots = metrics = None
            else:
                slots, metrics = await told(
                    target.spec, target.port, target.api_key, adopted=target.adopted, patience=PATIENCE
                )
            now = time.monotonic()
            return replace(seen, look=replace(seen.look, at=now, slots=slots, metrics=metrics), asked=now)

    def _figures(self, watch: Watch | None, name: str, seen: _Seen | None) -> dict[str, Any]:
        if watch is None or seen is None:
            return UNKNOWN
        before = self._seen.get(name)
        effective = watch.health.effective
        usage = between(before.look if before else None, seen.look, effective.slots if effective else None)
        return {**replace(usage, cpu=seen.cpu).data, "healthSeconds": watch.taken}

    async def _record(self) -> None:
        at, records = time.time(), self._store.history().servers
        for number, (name, figures) in enumerate(self._latest.items()):
            if number % SLICE == 0:
                await asyncio.sleep(0)
            series = self._series.setdefault(name, Series())
            series.add(at, {**figures, "ready": float(_is_ready(records.get(name)))})
        for name in [name for name in self._series if name not in self._latest]:
            del self._series[name]
        self._loop.counts.forget(frozenset(self._latest))


def _is_ready(record: ServerRecord | None) -> bool:
    status = record.status if record else None
    return status is not None and any(one.type == "Ready" and one.status for one in status.conditions)
