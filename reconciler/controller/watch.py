"""One instance's probes: asks for its health again and again, and counts what fails."""

import asyncio
import errno
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http import HTTPStatus

import h11

from reconciler.controller.http_get import Answer, Conversation, NotAskedError, conversation
from reconciler.controller.live_logs import Heard, LiveLog
from reconciler.controller.progress import STALL, Lasting, Loading, LoopStoodStillError, Serving, within
from reconciler.controller.served import Served
from reconciler.controller.slots import busy_slots, busy_slots_meanwhile
from reconciler.controller.slowness import Slowness, Stopwatch, limit_of
from reconciler.controller.target import Target
from reconciler.controller.working import RAISE, Working
from reconciler.core.counts import Counts
from reconciler.core.durations import format_duration
from reconciler.core.model import Health, HealthState
from reconciler.engines import engine_of
from reconciler.runtimes.local import LocalRuntime

DRAIN_LOOK = 0.1
"""Seconds between looks at the slots of a server that drains."""
RISE = 1.25
"""Each pause between looks at a loading server is this much longer: Ready is seen within a fifth of the wait."""
BASELINE = 0.25
"""Share of the timeout after which the work of one that has not answered yet begins to be measured."""
MOST_GAP = 2.0
"""So many times the pause and the timeout count of the time between two looks; more was not watched."""
_AWAY = frozenset({HealthState.FAILING, HealthState.LOADING, HealthState.STRANGER})
"""After these it may be another who answers."""
_NOBODY = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH})
"""Errors of a connection that nobody took."""


class Watch:
    """One instance's probes."""

    def __init__(
        self, target: Target, runtime: LocalRuntime, on_change: Callable[[], None], counts: Counts | None = None
    ) -> None:
        self.target = target
        self._counts = counts or Counts()
        # The time before this controller looked is no time without progress.
        self.health = Health(verified=target.was_ready, last_progress=time.monotonic())
        self._answered = self.health
        """What `/health` says by itself."""
        self.taken: float | None = None
        """Seconds of the last answer on `/health`; as long as was waited, where none came in time."""
        self._runtime = runtime
        self._on_change = on_change
        self._progress = partial(runtime.progress, target.pid)
        self._loading = Loading(self._progress)
        self._serving = Serving(self._progress)
        self._measured = -math.inf
        self._unheard = Lasting()
        self._next_step = time.monotonic()
        """When the probe goes on at the latest, unless our own loop stands still."""
        self._working: Working | None = None
        self._served = Served(runtime)
        self._slowness = Slowness()
        self._log = LiveLog(target, runtime)
        self._task = self._begin()

    def _begin(self) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(self._run(), name=f"probe {self.target.server}")

    def known(self) -> Health:
        """What is known of its health. While our own loop stood still nobody saw whether a loading one worked."""
        now = time.monotonic()
        if not self.health.verified and now > self._next_step + STALL:
            self._next_step = math.inf
            self._answered = replace(self._answered, last_progress=now)
            self.health = replace(self.health, last_progress=now)
        return self.health

    def heard(self) -> Heard | None:
        """What its log tells that is to be told now, once."""
        found = self._log.take()
        return Heard(self.target, found, self.health.effective) if found else None

    def _expect(self, next_step: float) -> None:
        self.known()
        self._next_step = next_step

    def stop(self) -> None:
        """Ask no more."""
        self._task.cancel()

    def retarget(self, target: Target) -> None:
        """Go on with other settings; a drain is looked at once."""
        drains_now = target.draining and not self.target.draining
        if (target.spec.probes, target.api_key) != (self.target.spec.probes, self.target.api_key):
            self._working = None
        self.target = target
        if drains_now:
            # Who was idle a moment ago may be at work by now: what is not answered is not known.
            self._answered = replace(self._answered, busy_slots=None)
            self.health = replace(self.health, busy_slots=None)
            self._task.cancel()
            self._task = self._begin()

    async def _run(self) -> None:
        with suppress(asyncio.CancelledError):  # a cancelled task would keep it, with all that was in use then
            await self._go_on()

    async def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        startup = self.target.spec.probes.startup
        pause = startup.initial_period
        due = loop.time() + (0.0 if self.health.verified or self.target.draining else pause)
        while True:
            self._expect(max(due, loop.time()))
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
        probes = self.target.spec.probes
        timeout = probes.liveness.timeout if self.health.verified else probes.startup.timeout
        self._expect(time.monotonic() + timeout)
        health = await self._look(timeout, counts=late <= timeout)
        self._counts.probes[health.state] += 1
        if not health.verified and self._loading.worked(now := asyncio.get_running_loop().time()):
            health = replace(health, last_progress=now)
        if health.state is HealthState.OK and self._answered.state in _AWAY:
            self._served.is_doubtful()
        self._answered = health
        self._show(self._with_more(health))
        if health.verified and not self.target.draining:
            if health.state is HealthState.OK and late <= timeout:
                await self._look_at_more()
            if self._log.look(self.target, self.health.effective):
                self._on_change()

    async def _look(self, seconds: float, *, counts: bool) -> Health:
        # Only of those that are slow to answer: to read it of each at every look would cost as much as the look.
        baseline = asyncio.get_running_loop().call_later(BASELINE * seconds, self._measure)
        try:
            return await self._ask(seconds)
        except (LoopStoodStillError, NotAskedError):
            return self._answered
        except (OSError, TimeoutError, h11.RemoteProtocolError, ValueError) as error:
            counts = counts and not (isinstance(error, TimeoutError) and self._was_measured_late(seconds))
            is_known = self._answered.verified and not counts
            return self._answered if is_known else self._unanswered(error, seconds)
        finally:
            baseline.cancel()

    def _measure(self) -> None:
        self._measured = asyncio.get_running_loop().time()
        self._serving.begin(self._measured)

    def _was_measured_late(self, timeout: float) -> bool:
        """Whether its work was watched for too short a time to say that there was none."""
        return asyncio.get_running_loop().time() - self._measured < (1 - BASELINE) / 2 * timeout

    async def _look_at_more(self) -> None:
        if self._working is None:
            self._working = Working(self._progress)
        await self._working.look(self.target)
        await self._served.look_again(self.target)
        if self.target.wants_slots:
            busy, hides = await busy_slots_meanwhile(self.target)
            hides = self._answered.hides_slots if hides is None else hides
            self._answered = replace(self._answered, busy_slots=busy, hides_slots=hides)
        self._show(self._with_more(self._answered))

    def _with_more(self, health: Health) -> Health:
        """What `/health` says, with what else is known of it."""
        health = replace(health, slow=self._slowness.seconds)
        if not health.verified:
            return health
        served = self._served
        health = replace(health, effective=served.effective or health.effective, models=served.models or health.models)
        if served.misfit and health.state is HealthState.OK:
            return replace(health, state=HealthState.STRANGER, failures=served.failures, message=served.misfit)
        return self._with_work(health)

    def _with_work(self, health: Health) -> Health:
        """What `/health` says, and what the work says where that is worse."""
        working = self._working
        if working is None or not health.verified or health.state is HealthState.STRANGER:
            return health
        if health.state is HealthState.LOADING:
            working.reset()
        elif health.state is HealthState.OK:
            state = HealthState.FAILING if working.failures else HealthState.OK
            return replace(health, state=state, failures=working.failures, message=working.message)
        elif working.failures > health.failures:
            return replace(health, failures=working.failures)
        return health

    def _show(self, health: Health) -> None:
        """Signs of work alone are no news: the planner looks when a deadline is due."""
        is_news = replace(health, last_progress=None) != replace(self.health, last_progress=None)
        if health != self.health:
            self.health = health
        if is_news:
            self._on_change()

    async def _ask(self, seconds: float) -> Health:
        target, tls = self.target, engine_of(self.target.spec).scheme(self.target.spec) == "https"
        more = target.draining or not self.health.verified
        limit = limit_of(target.spec.probes.liveness.timeout)
        async with conversation(target.spec.host, target.port, tls=tls, keep=more) as talk:
            try:
                async with within(seconds, talk):
                    with Stopwatch(talk, limit) as watch:
                        answer = await talk.get(engine_of(target.spec).health_path(target.spec))
                        taken = self.taken = watch.taken()
                    if taken is not None:
                        self._counts.answers.observe(taken)
                    if taken is not None and not more:
                        self._slowness.note(taken, limit)
                    return await self._judge(answer, talk)
            except TimeoutError:
                self.taken = seconds
                if not more:
                    self._slowness.note(seconds, limit)
                raise

    async def _judge(self, answer: Answer, talk: Conversation) -> Health:
        target, engine = self.target, engine_of(self.target.spec)
        if answer.status == HTTPStatus.UNAUTHORIZED and target.api_key and self._is_ours():
            # Behind an `api-prefix`, llama-server wants the key here too.
            answer = await talk.get(engine.health_path(target.spec), target.api_key)
        self._unheard.over(asyncio.get_running_loop().time())
        state, message = engine.read_health(answer.status, answer.headers, answer.body)
        busy = self._answered.busy_slots if target.wants_slots else None
        health = replace(self._answered, state=state, message=message, busy_slots=busy, is_unreachable=False)
        if state in (HealthState.OK, HealthState.LOADING):
            health = replace(health, failures=0)
        elif health.verified:
            health = replace(health, failures=health.failures + 1)
        if state is HealthState.OK and not health.verified:
            health = await self._verify(health, talk)
        if target.draining:
            health = replace(health, busy_slots=await busy_slots(target, talk))
        return health

    def _is_ours(self) -> bool:
        """Whether the socket is the process's own, as far as that can be told: nobody else is shown a key."""
        return self._runtime.listens(self.target.pid, self.target.spec.host, self.target.port) is not False

    async def _verify(self, health: Health, talk: Conversation) -> Health:
        """Ready needs more than a 200: the socket is the process's own, and the settings are those asked for."""
        target = self.target
        if not self._is_ours():
            message = f"port {target.port} is answered by another process than pid {target.pid}"
            return replace(health, state=HealthState.STRANGER, message=message)
        await self._served.look(target, talk)
        if self._served.misfit:
            return replace(health, state=HealthState.STRANGER, message=self._served.misfit)
        return replace(health, verified=True, effective=self._served.effective, models=self._served.models)

    def _unanswered(self, error: Exception, timeout: float) -> Health:
        if not self._answered.verified:
            refused = isinstance(error, ConnectionRefusedError)
            message = "" if refused else f"/health: {_why(error, timeout)}"
            state = HealthState.REFUSED if refused else HealthState.FAILING
            return replace(self._answered, state=state, message=message)
        why = f"/health: {_why(error, timeout)}"
        known = replace(self._answered, busy_slots=None, is_unreachable=getattr(error, "errno", None) in _NOBODY)
        if isinstance(error, TimeoutError) and self._serving.worked(now := asyncio.get_running_loop().time()):
            liveness = self.target.spec.probes.liveness
            lasting = self._unheard.still(now, MOST_GAP * (liveness.period + timeout))
            if lasting < liveness.busy_limit:
                return replace(known, state=HealthState.BUSY, failures=0, message=f"{why}, but it computes")
            why += f", for {format_duration(liveness.busy_limit)} or longer, though it computes; {RAISE}"
        return replace(known, state=HealthState.FAILING, failures=known.failures + 1, message=why)


def _why(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return str(error) or type(error).__name__
