"""Asks every instance for its health, each in a task of its own, and remembers what it heard.

It only reports: that a server is Ready, unwell or late is judged by the planner.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import h11

from reconciler.controller.http_get import Conversation, conversation
from reconciler.core.model import Effective, Health, HealthState
from reconciler.core.spec import ServerSpec
from reconciler.engines import engine_of
from reconciler.runtimes.local import LocalRuntime

DRAIN_LOOK = 0.1
"""Seconds between looks at the slots of a server that drains."""
RISE = 1.25
"""Each pause between looks at a loading server is this much longer: Ready is seen within a fifth of the wait."""
BUSY_SHARE = 0.05
"""CPU share above which a loading server is taken to make progress; answering probes takes less."""
READ_STEP = 1024 * 1024
"""Bytes read since the last sample that are progress too."""
SAMPLE = 10.0
"""Most seconds over which progress is averaged: who was idle for long need not make up for it."""
STALL = 0.5
"""Seconds by which a timeout may come late, or..."""
STALL_SHARE = 0.1
"""...this share of it; by more, and it was our own loop that stood still."""


@dataclass(frozen=True, slots=True)
class Target:
    """An instance to be asked."""

    uid: str
    server: str
    pid: int
    port: int
    spec: ServerSpec
    model_path: str | None
    api_key: str | None
    was_ready: bool
    """It was Ready before this controller: it need not prove itself again."""
    draining: bool


class Prober:
    """The health of all instances."""

    def __init__(self, runtime: LocalRuntime, on_change: Callable[[], None]) -> None:
        """`on_change` is called whenever an instance's health becomes another."""
        self._runtime = runtime
        self._on_change = on_change
        self._watches: dict[str, _Watch] = {}

    def sync(self, targets: Mapping[str, Target]) -> None:
        """Ask these instances, by uid, and no others."""
        for uid in self._watches.keys() - targets.keys():
            self._watches.pop(uid).stop()
        for uid, target in targets.items():
            watch = self._watches.get(uid)
            if watch is None:
                self._watches[uid] = _Watch(target, self._runtime, self._on_change)
            elif watch.target is not target:
                watch.retarget(target)

    def health(self, uid: str) -> Health | None:
        """What is known of an instance's health; the same object as long as nothing changed."""
        watch = self._watches.get(uid)
        return watch.health if watch else None

    def close(self) -> None:
        """Stop asking."""
        self.sync({})


class _Watch:
    """One instance's probes."""

    def __init__(self, target: Target, runtime: LocalRuntime, on_change: Callable[[], None]) -> None:
        self.target = target
        # The time before this controller looked is no time without progress.
        self.health = Health(verified=target.was_ready, last_progress=time.monotonic())
        self._runtime = runtime
        self._on_change = on_change
        self._sampled: tuple[float, float, int] | None = None
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"probe {target.server}")

    def stop(self) -> None:
        self._task.cancel()

    def retarget(self, target: Target) -> None:
        """Go on with other settings; a drain is looked at once."""
        drains_now = target.draining and not self.target.draining
        self.target = target
        if drains_now:
            self._task.cancel()
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"probe {target.server}")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        startup = self.target.spec.probes.startup
        pause = startup.initial_period
        due = loop.time() + (0.0 if self.health.verified or self.target.draining else pause)
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self._probe(late=loop.time() - due)
            if self.target.draining:
                due = loop.time() + DRAIN_LOOK
            elif self.health.verified:
                due = loop.time() + self.target.spec.probes.liveness.period
            else:
                pause = min(pause * RISE, startup.max_period)
                due = loop.time() + pause

    async def _probe(self, *, late: float) -> None:
        """One look. A failure is not the server's if our own loop stood still for longer than the timeout."""
        loop, probes = asyncio.get_running_loop(), self.target.spec.probes
        timeout = probes.liveness.timeout if self.health.verified else probes.startup.timeout
        began = loop.time()
        try:
            async with asyncio.timeout(timeout):
                health = await self._ask()
        except (OSError, TimeoutError, h11.RemoteProtocolError, ValueError) as error:
            overdue = loop.time() - began - timeout
            stalled = late > timeout or overdue > max(STALL, STALL_SHARE * timeout)
            health = self._unanswered(error, timeout, counts=not stalled)
        if not health.verified:
            health = self._with_progress(health)
        self._show(health)

    def _show(self, health: Health) -> None:
        """Signs of work alone are no news: the planner looks when a deadline is due."""
        is_news = replace(health, last_progress=None) != replace(self.health, last_progress=None)
        if health != self.health:
            self.health = health
        if is_news:
            self._on_change()

    async def _ask(self) -> Health:
        target, tls = self.target, engine_of(self.target.spec).scheme(self.target.spec) == "https"
        more = target.draining or not self.health.verified
        async with conversation(target.spec.host, target.port, tls=tls, keep=more) as talk:
            return await self._ask_over(talk)

    async def _ask_over(self, talk: Conversation) -> Health:
        target, engine = self.target, engine_of(self.target.spec)
        answer = await talk.get(engine.health_path(target.spec))
        state, message = engine.read_health(answer.status, answer.headers, answer.body)
        health = replace(self.health, state=state, message=message, busy_slots=None)
        if state in (HealthState.OK, HealthState.LOADING):
            health = replace(health, failures=0)
        elif health.verified:
            health = replace(health, failures=health.failures + 1)
        if state is HealthState.OK and not health.verified:
            health = await self._verify(health, talk)
        if target.draining:
            health = replace(health, busy_slots=await self._busy_slots(talk))
        return health

    async def _verify(self, health: Health, talk: Conversation) -> Health:
        """Ready needs more than a 200: the socket is the process's own, and the settings are those asked for."""
        target, engine = self.target, engine_of(self.target.spec)
        owns = self._runtime.listens(target.pid, target.spec.host, target.port)
        if owns is False:
            message = f"port {target.port} is answered by another process than pid {target.pid}"
            return replace(health, state=HealthState.STRANGER, message=message)
        answer = await talk.get(engine.props_path(target.spec), target.api_key)
        if answer.status != 200:
            effective: Effective | None = Effective(
                unverified=f"{engine.props_path(target.spec)} answers {answer.status}"
            )
        else:
            effective, misfit = engine.read_props(answer.body, model_path=target.model_path)
            if misfit:
                return replace(health, state=HealthState.STRANGER, message=misfit)
        models = await talk.get(engine.models_path(target.spec), target.api_key)
        layers = engine.gpu_layers_in_log(self._runtime.log_head(target.server, target.uid))
        return replace(
            health,
            verified=True,
            effective=replace(effective or Effective(), gpu_layers=layers),
            models=engine.read_models(models.body) if models.status == 200 else (),
        )

    async def _busy_slots(self, talk: Conversation) -> int | None:
        engine = engine_of(self.target.spec)
        with suppress(OSError, h11.RemoteProtocolError, ValueError):
            answer = await talk.get(engine.slots_path(self.target.spec), self.target.api_key)
            return engine.read_slots(answer.body) if answer.status == 200 else None
        return None

    def _unanswered(self, error: Exception, timeout: float, *, counts: bool) -> Health:
        if not self.health.verified:
            refused = isinstance(error, ConnectionRefusedError)
            message = "" if refused else f"/health: {_why(error, timeout)}"
            return replace(self.health, state=HealthState.REFUSED if refused else HealthState.FAILING, message=message)
        if not counts:
            return self.health
        failures = self.health.failures + 1
        return replace(
            self.health, state=HealthState.FAILING, failures=failures, message=f"/health: {_why(error, timeout)}"
        )

    def _with_progress(self, health: Health) -> Health:
        """Note the time when CPU time or bytes read grew."""
        now = asyncio.get_running_loop().time()
        progress = self._runtime.progress(self.target.pid)
        if progress is None:
            return health
        sample = (now, progress.cpu_seconds, progress.bytes_read)
        if self._sampled is None:
            self._sampled = sample
            return health
        then, cpu, read = self._sampled
        worked, grown = progress.cpu_seconds - cpu, progress.bytes_read - read
        if (worked > 0 and worked >= BUSY_SHARE * (now - then)) or grown >= READ_STEP:
            self._sampled = sample
            return replace(health, last_progress=now)
        if now - then > SAMPLE:
            self._sampled = sample
        return health


def _why(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return str(error) or type(error).__name__
