"""The loop: every poke leads to one whole look, one plan, and its execution."""

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import replace

from reconciler.controller.accepting import (
    Accepted,
    any_changes,
    desired_of,
    facts_of,
    finished_requests,
    memory_of,
    news,
    save_documents,
    seen_in,
    selection_of,
)
from reconciler.controller.asking import Lapse
from reconciler.controller.bystanders import Bystanders
from reconciler.controller.executor import Executor
from reconciler.controller.keeping import Keeper
from reconciler.controller.launching import Launcher
from reconciler.controller.live_logs import LiveLogs
from reconciler.controller.lock import HeldError
from reconciler.controller.manifests import Manifests
from reconciler.controller.observing import Observer
from reconciler.controller.preview import check_spec
from reconciler.controller.prober import Prober
from reconciler.core.accept import Acceptance, Beside, accept
from reconciler.core.actions import Event, Plan
from reconciler.core.counts import Counts
from reconciler.core.history import Requests
from reconciler.core.idle import WITH_CONTROLLER
from reconciler.core.model import Desired, Now
from reconciler.core.observed import Observed
from reconciler.core.plan import plan
from reconciler.manifests.folder import Look
from reconciler.runtimes.host import ResourceError
from reconciler.runtimes.local import LocalRuntime
from reconciler.settings import Settings
from reconciler.store.trouble import StateUnwritableError
from reconciler.store.writer import Store

log = logging.getLogger("reconciler")
POLL = 0.25
"""Seconds between looks where the end of a process is not told."""
RETRY = 1.0
"""Seconds until the next look after a pass that failed."""


class Loop:
    """Brings together manifests, store, runtime and prober; decides nothing itself."""

    def __init__(
        self, store: Store, runtime: LocalRuntime, manifests: Manifests, launcher: Launcher, settings: Settings
    ) -> None:
        self.store = store
        self.runtime = runtime
        self.counts = Counts()
        self.prober = Prober(runtime, self.poke, self.counts)
        self.passes = 0
        self._went_well_at: float | None = None
        self.stopping_all = False
        """Stop all servers, for as long as this controller lives."""
        self._sources = manifests
        self._observer = Observer(runtime, self.prober, launcher, self.poke)
        self._executor = Executor(store, runtime, launcher, report, self.counts)
        self.keeper = Keeper(store, report)
        self._accepted = Accepted(
            acceptance=Acceptance({}, memory=memory_of(store), selection=selection_of(store.meta))
        )
        self._desired = Desired({}, limits=settings.limits())
        self._manifests = settings.manifests
        self.server_host = settings.server_host
        self._poked = asyncio.Event()
        self._fresh = True
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._lock = asyncio.Lock()
        self._lapse = Lapse(store)
        self._told_manifests = ""
        self._told_blindness = ""
        self._bystanders = Bystanders(store, report)
        self._live_logs = LiveLogs(store, report)

    @property
    def acceptance(self) -> Acceptance:
        """The documents in force and what is wrong with the newest text, as of the last pass."""
        return self._accepted.acceptance

    @property
    def looked(self) -> Look:
        """The manifests as they were judged by the last pass."""
        return self._accepted.look or Look()

    @property
    def age(self) -> float | None:
        """Seconds since the last pass that went well; None where there was none."""
        return None if self._went_well_at is None else time.monotonic() - self._went_well_at

    @property
    def unsettled(self) -> bool:
        """Whether files are not quiet yet, or missing documents not yet taken for gone."""
        look = self._accepted.look
        return (look is not None and look.wake_at is not None) or self.acceptance.wake_at is not None

    def limit_to(self, names: frozenset[str]) -> None:
        """Start and stop only these from now on."""
        self._desired = replace(self._desired, scope=names)

    def extend_to(self, names: Iterable[str]) -> None:
        """These may be started and stopped too, where there is a limit."""
        if self._desired.scope is not None:
            self._desired = replace(self._desired, scope=self._desired.scope | frozenset(names))

    def look(self) -> Look:
        """The manifests as they are now."""
        return self._sources.look(time.monotonic())

    def poke(self, *, fresh: bool = False) -> None:
        """Look again soon; `fresh` looks at every process of the machine too."""
        self._fresh = self._fresh or fresh
        self._poked.set()

    def poke_after_end(self) -> None:
        """A process may have ended: look at the processes at once, and at everything in the pass after that."""
        self._ended = True
        self._poked.set()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self._poked.wait()
            await self.run_pass()

    async def run_pass(self) -> None:
        """One whole look, plan and execution. Raises HeldError when another controller has the state folder."""
        async with self._lock:
            self._poked.clear()
            fresh, self._fresh = self._fresh, False
            hasty, self._ended = self._ended and not fresh, False
            self.passes += 1
            began = time.monotonic()
            try:
                self._pass(fresh=fresh, hasty=hasty)
                self._went_well_at = time.monotonic()
            except ResourceError as error:
                self._tell_blindness(str(error))
                self._wake_at(time.monotonic() + RETRY)
            except HeldError:
                # What another controller manages by now is no longer ours to touch.
                raise
            except Exception:
                # A fault of ours must not end supervision: what runs goes on, and the next look may go well.
                log.exception("the pass failed; looking again in %g s", RETRY)
                self.counts.failed_passes += 1
                self._wake_at(time.monotonic() + RETRY)
            self.counts.passes.observe(time.monotonic() - began)

    def _tell_blindness(self, why: str) -> None:
        """Say once why nobody can be looked at: whoever runs is left alone until that is known again."""
        if why != self._told_blindness:
            log.error("nothing is started or stopped until it is known what runs: %s", why)
        self._told_blindness = why

    def _pass(self, *, fresh: bool, hasty: bool) -> None:
        now = self.now()
        mend_at = self.keeper.look(now.monotonic, fresh=fresh)
        # A hundred manifests are half a millisecond, which a restart need not wait for.
        wake_at = None if hasty else self._accept(now)
        history, requests = self.store.history(), self.store.requests()
        if self.stopping_all:
            names = {*self._desired.servers, *history.instances}
            requests = replace(requests, stop={**dict.fromkeys(names, WITH_CONTROLLER), **requests.stop})
        observed = self._observer.observe(self._desired, history, requests, now, fresh=fresh)
        self._told_blindness = ""
        self._bystanders.tell(self.runtime.bystanders, now)
        decided = self._plan_and_execute(observed, requests, now)
        self._observer.probe(self._desired, self.store.history(), observed)
        self._live_logs.tell(self.prober.heard(), self.store.history(), now)
        self.runtime.forget_ended({instance.uid for instance in self.store.history().instances.values()})
        if decided.actions or hasty:
            # What was done, or left out, may call for a next step, and only a look tells.
            self.poke()
        wakes = [at for at in (wake_at, decided.wake_at, mend_at) if at is not None]
        if self.runtime.polls:
            wakes.append(now.monotonic + POLL)
        self._wake_at(min(wakes, default=None))

    def _plan_and_execute(self, observed: Observed, requests: Requests, now: Now) -> Plan:
        """While no intent can be written, only what needs none is done."""
        while True:
            trouble = self.store.trouble
            seen = replace(observed, state_trouble=str(trouble)) if trouble else observed
            decided = plan(self._desired, seen, self.store.history(), requests, now)
            try:
                self._executor.execute(decided, self._desired, now)
            except StateUnwritableError:
                if trouble is not None:
                    raise
                self.poke()
            else:
                return decided

    def now(self) -> Now:
        """This moment."""
        return Now(time.monotonic(), time.time(), self.runtime.boot)

    # -- manifests

    def _accept(self, now: Now) -> float | None:
        """Judge the newest look at the manifests, unless nothing there can have changed."""
        look, lapses_at = self._sources.look(now.monotonic), self._lapse.look(now)
        confirmed, asked = self.store.confirmed_prunes(), self.store.asked_profile()
        before = self._accepted
        same = look is before.look and (confirmed, asked) == (before.confirmed, before.asked)
        if not same or not before.is_quiet(now):
            others, selection = self.store.others, before.acceptance.selection
            counted, host = self.store.counted, self.server_host
            beside = Beside(others, selection, asked, check_spec, counted=counted, server_host=host)
            memory = before.acceptance.memory
            acceptance = accept(self.store.documents, seen_in(look), memory, now.monotonic, confirmed, beside)
            self._save(acceptance, now)
            self._accepted = Accepted(look, acceptance, confirmed, self.store.asked_profile(), now.monotonic)
            self._desired = desired_of(acceptance, self._desired)
        wakes = [at for at in (look.wake_at, self._accepted.acceptance.wake_at, lapses_at) if at is not None]
        return min(wakes, default=None)

    def _save(self, acceptance: Acceptance, now: Now) -> None:
        facts = facts_of(acceptance, self._manifests)
        finished = finished_requests(acceptance, self._accepted.acceptance.selection, self.store)
        same = all(self.store.meta.get(key) == value for key, value in facts.items())
        same = same and self._told_manifests == facts["manifests"]
        if same and not (finished or any_changes(acceptance)):
            return
        events = news(acceptance, self._accepted.acceptance) if facts["manifests"] != self._told_manifests else []
        with self.store.transaction(anyway=True):
            save_documents(self.store, acceptance, now)
            for kind, name in finished:
                self.store.withdraw(kind, name, now)
            for event in events:
                self.store.add_event(event, now)
            for key, value in facts.items():
                self.store.set_meta(key, value)
        self._told_manifests = facts["manifests"]
        for event in events:
            report(event)

    # -- waking

    def _wake_at(self, at: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at is not None:
            self._timer = asyncio.get_running_loop().call_at(at, self.poke)

    def close(self) -> None:
        """Stop looking; all servers run on."""
        self._wake_at(None)
        self.prober.close()
        self._observer.close()
        self.runtime.close()


def report(event: Event) -> None:
    """One log line for each decision."""
    level = logging.WARNING if event.warning else logging.INFO
    extra = {"server": event.server, "reason": event.reason}
    log.log(level, "%s%s: %s", f"{event.server}  " if event.server else "", event.reason, event.message, extra=extra)
