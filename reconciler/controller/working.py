"""Whether a server that answers `/health` does its work: its slots are looked at now and then, a completion is tried.

`/health` answers 200 while the model hangs, after a GPU error, and while every completion fails.
"""

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus

import h11

from reconciler.controller.http_get import Conversation, NotAskedError, conversation
from reconciler.controller.progress import Lasting, LoopStoodStillError, Read, Serving, within
from reconciler.controller.slots import NOT_TOLD
from reconciler.controller.target import Target
from reconciler.core.durations import format_duration
from reconciler.core.spec import LivenessProbe
from reconciler.engines import engine_of
from reconciler.engines.work import Work

LOOK = 30.0
"""Most seconds between looks at the slots."""
MOST_GAP = 3.0
"""So many times the planned pause, and the timeout, count of the time between two looks; more was not watched."""


RAISE = "if it is that slow, raise probes.liveness.busyLimit"


@dataclass(slots=True)
class Slots:
    """What the looks at a server's slots come to."""

    serving: Serving
    failures: int = 0
    message: str = ""
    _counters: tuple[int, ...] = ()
    _still: Lasting = field(default_factory=Lasting)
    """Neither a counter nor CPU time has moved."""
    _fruitless: Lasting = field(default_factory=Lasting)
    """No counter has moved."""

    def over(self, now: float) -> None:
        """It rests, or went on."""
        self.failures, self.message = 0, ""
        self._still.over(now)
        self._fruitless.over(now)
        self.serving.begin(now)

    def judge(self, work: Work | None, now: float, liveness: LivenessProbe) -> None:
        """What a look says; None: no answer within the timeout."""
        if work is not None and (not work.busy or work.counters != self._counters):
            self._counters = work.counters
            self.over(now)
            return
        most = MOST_GAP * (pause_of(liveness) + liveness.timeout)
        fruitless = self._fruitless.still(now, most)
        if self.serving.worked(now):
            self._still.over(now)
        if self._still.still(now, most) >= liveness.stall:
            lasting = format_duration(liveness.stall)
            self._fail(work, f"nothing has moved for {lasting} or longer: no counter, no CPU time")
        elif fruitless >= liveness.busy_limit:
            lasting = format_duration(liveness.busy_limit)
            self._fail(work, f"no counter has moved for {lasting} or longer, though it computes; {RAISE}")
        else:
            self.failures, self.message = 0, ""

    def _fail(self, work: Work | None, what: str) -> None:
        self.failures += 1
        who = "/slots does not answer, and" if work is None else f"slots at work: {work.busy}, but"
        self.message = f"{who} {what}"


@dataclass(slots=True)
class Trials:
    """What the completions that were tried come to."""

    due: float
    serving: Serving
    failures: int = 0
    message: str = ""
    note: str = ""
    """Why none can be tried; empty when one can."""

    def judge(self, path: str, went_well: bool | None, why: str) -> None:
        """What one of them says; None: it was refused, which says nothing of the work."""
        self.failures = self.failures + 1 if went_well is False else 0
        self.message = f"{path}: {why}" if went_well is False else ""
        self.note = f"no completion can be tried: {path} {why}" if went_well is None else ""


def pause_of(liveness: LivenessProbe) -> float:
    """Seconds between two looks at the slots: several within the time after which they are taken to stand still."""
    return min(LOOK, liveness.stall / 2) if liveness.stall else LOOK


class Working:
    """One server's work, as far as it is looked at."""

    def __init__(self, read: Read) -> None:
        now = asyncio.get_running_loop().time()
        # Each judge has samples of its own: one that others move on shows him less work than there was.
        self._slots = Slots(Serving(read))
        self._slots.over(now)
        self._slots_due: float | None = None
        self._are_told = True
        """Whether the server shows its slots to us."""
        self._trials = Trials(now, Serving(read))
        self._trials.serving.begin(now)

    @property
    def failures(self) -> int:
        """Failed looks in a row, of the kind that has most."""
        return max(self._slots.failures, self._trials.failures)

    @property
    def message(self) -> str:
        """What is wrong, or why it cannot be told."""
        if not self.failures:
            return self._trials.note
        return self._slots.message if self._slots.failures >= self._trials.failures else self._trials.message

    def reset(self) -> None:
        """It loads anew, or is asked in other ways: what was before says nothing."""
        now = asyncio.get_running_loop().time()
        self._slots.over(now)
        self._trials.serving.begin(now)
        self._trials.failures, self._trials.note, self._are_told = 0, "", True

    async def look(self, target: Target) -> None:
        """Look at what is due."""
        now, liveness = asyncio.get_running_loop().time(), target.spec.probes.liveness
        tries = liveness.completion and now >= self._trials.due and not target.adopted
        if not tries and not self._looks(target, now):
            return
        self._slots_due = now + pause_of(liveness)
        is_tls = engine_of(target.spec).scheme(target.spec) == "https"
        try:
            async with conversation(target.spec.host, target.port, tls=is_tls) as talk:
                is_idle = await self._look_at_slots(target, talk)
                if tries:
                    self._trials.due = now + liveness.completion_period
                    if is_idle:
                        await self._try(target, talk)
        except LoopStoodStillError:
            now = asyncio.get_running_loop().time()
            self._slots.serving.begin(now)
            self._trials.serving.begin(now)

    def _looks(self, target: Target, now: float) -> bool:
        """Whether the slots are to be looked at now. Of one that may sleep never: that would keep it awake."""
        liveness = target.spec.probes.liveness
        if self._slots_due is None:
            self._slots_due = now + pause_of(liveness)
        if not (liveness.stall and self._are_told) or target.adopted or engine_of(target.spec).may_sleep(target.spec):
            return False
        return now >= self._slots_due or self._slots.failures > 0

    async def _look_at_slots(self, target: Target, talk: Conversation) -> bool:
        """Judge the slots; whether nothing is in the way of a completion."""
        loop, liveness = asyncio.get_running_loop(), target.spec.probes.liveness
        work = None
        try:
            async with within(liveness.timeout, talk):
                work = await self._ask_slots(target, talk) if self._are_told else None
        except TimeoutError:
            if liveness.stall:
                self._slots.judge(None, loop.time(), liveness)
            return False
        except (OSError, h11.RemoteProtocolError, ValueError):
            return False  # that is no silence; `/health` tells what is wrong with such a one
        if work is None:
            return not self._trials.serving.worked(loop.time())
        if liveness.stall:
            self._slots.judge(work, loop.time(), liveness)
        return not work.busy

    async def _ask_slots(self, target: Target, talk: Conversation) -> Work | None:
        engine = engine_of(target.spec)
        answer = await talk.get(engine.slots_path(target.spec), target.api_key)
        self._are_told = answer.status not in NOT_TOLD
        return engine.read_work(answer.body) if answer.status == HTTPStatus.OK else None

    async def _try(self, target: Target, talk: Conversation) -> None:
        """Ask for a completion, and judge it."""
        loop, engine, timeout = asyncio.get_running_loop(), engine_of(target.spec), target.spec.probes.liveness.timeout
        trial = engine.trial(target.spec)
        self._trials.serving.begin(loop.time())
        try:
            async with within(timeout, talk):
                answer = await talk.post(trial.path, trial.body, target.api_key)
        except TimeoutError:
            # With work going on, somebody else's request came first; the slots tell whether that gets anywhere.
            if not self._trials.serving.worked(loop.time()):
                self._trials.judge(trial.path, went_well=False, why=f"no answer within {timeout:g} s")
        except NotAskedError:
            pass
        except (OSError, h11.RemoteProtocolError, ValueError) as error:
            self._trials.judge(trial.path, went_well=False, why=str(error) or type(error).__name__)
        else:
            self._trials.serving.begin(loop.time())  # what it took was our own doing
            self._trials.judge(trial.path, *engine.read_trial(answer.status, answer.body))
