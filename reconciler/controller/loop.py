"""The loop: every poke leads to one whole look, one plan, and its execution."""

import asyncio
import json
import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from reconciler.controller.bystanders import Bystanders
from reconciler.controller.executor import Executor
from reconciler.controller.keeping import Keeper
from reconciler.controller.launching import Launcher
from reconciler.controller.lock import HeldError
from reconciler.controller.manifests import Manifests
from reconciler.controller.observing import Observer
from reconciler.controller.prober import Prober
from reconciler.core.accept import Acceptance, Seen, accept
from reconciler.core.actions import Event, Plan
from reconciler.core.history import Requests
from reconciler.core.idle import WITH_CONTROLLER
from reconciler.core.model import Desired, Now, Wanted
from reconciler.core.observed import Observed
from reconciler.core.plan import plan
from reconciler.core.pruning import Memory
from reconciler.engines import engine_of
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
MEMORY = "manifestsMemory"
"""What is kept under this key for the next controller's acceptance."""


@dataclass(slots=True)
class _Accepted:
    """The newest acceptance, and the look it came from."""

    look: Look | None = None
    acceptance: Acceptance = field(default_factory=lambda: Acceptance({}))
    confirmed: frozenset[str] = frozenset()


class Loop:
    """Brings together manifests, store, runtime and prober; decides nothing itself."""

    def __init__(
        self, store: Store, runtime: LocalRuntime, manifests: Manifests, launcher: Launcher, settings: Settings
    ) -> None:
        self.store = store
        self.runtime = runtime
        self.prober = Prober(runtime, self.poke)
        self.passes = 0
        self.stopping_all = False
        """Stop all servers, for as long as this controller lives."""
        self._sources = manifests
        self._observer = Observer(runtime, self.prober, launcher, self.poke)
        self._executor = Executor(store, runtime, launcher, report)
        self.keeper = Keeper(store, report)
        self._accepted = _Accepted(acceptance=Acceptance({}, memory=_memory_of(store)))
        self._desired = Desired({}, limits=settings.limits())
        self._manifests = settings.manifests
        self._poked = asyncio.Event()
        self._fresh = True
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._lock = asyncio.Lock()
        self._told_manifests = ""
        self._told_blindness = ""
        self._bystanders = Bystanders(store, report)

    @property
    def acceptance(self) -> Acceptance:
        """The documents in force and what is wrong with the newest text, as of the last pass."""
        return self._accepted.acceptance

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
            try:
                self._pass(fresh=fresh, hasty=hasty)
            except ResourceError as error:
                self._tell_blindness(str(error))
                self._wake_at(time.monotonic() + RETRY)
            except HeldError:
                # What another controller manages by now is no longer ours to touch.
                raise
            except Exception:
                # A fault of ours must not end supervision: what runs goes on, and the next look may go well.
                log.exception("the pass failed; looking again in %g s", RETRY)
                self._wake_at(time.monotonic() + RETRY)

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
        look = self._sources.look(now.monotonic)
        confirmed = self.store.confirmed_prunes()
        before = self._accepted
        same = look is before.look and confirmed == before.confirmed
        if not same or not _is_quiet(before.acceptance, now):
            seen = Seen(look.documents, look.problems, look.failed, look.empty, look.devices)
            acceptance = accept(self.store.documents, seen, before.acceptance.memory, now.monotonic, confirmed)
            self._save(acceptance, now)
            self._accepted = _Accepted(look, acceptance, confirmed)
            self._desired = desired_of(acceptance, self._desired)
        wakes = [at for at in (look.wake_at, self._accepted.acceptance.wake_at) if at is not None]
        return min(wakes, default=None)

    def _save(self, acceptance: Acceptance, now: Now) -> None:
        told = json.dumps(
            {
                "folder": self._manifests,
                "problems": [str(problem) for problem in acceptance.general],
                "folderProblem": acceptance.folder_problem,
                "prunable": list(acceptance.prunable),
            }
        )
        # One that came back: what was confirmed then says nothing about the next time.
        stale = self.store.confirmed_prunes() - acceptance.memory.missing.keys() - set(acceptance.removed)
        memory = json.dumps({"doubted": sorted(acceptance.memory.doubted), "devices": acceptance.memory.devices})
        same = told == self._told_manifests and memory == self.store.meta.get(MEMORY)
        if same and not (acceptance.changed or acceptance.removed or stale):
            return
        news = [Event("", "ManifestUnreadable", str(problem), warning=True) for problem in acceptance.general]
        if acceptance.folder_problem:
            news.append(Event("", "ManifestsHeld", acceptance.folder_problem, warning=True))
        news = news if told != self._told_manifests else []
        with self.store.transaction(anyway=True):
            for document in acceptance.changed:
                self.store.save_document(document, now)
            for name in acceptance.removed:
                self.store.remove_document(name)
            for name in stale:
                self.store.withdraw("prune", name, now)
            for event in news:
                self.store.add_event(event, now)
            self.store.set_meta("manifests", told)
            self.store.set_meta(MEMORY, memory)
        self._told_manifests = told
        for event in news:
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


def _memory_of(store: Store) -> Memory:
    """What the controller before this one held until a person confirms it, and on which file systems the folders were.

    A device may have another number after a start of the machine: what is missing as well is then held, not removed.
    """
    doubted, devices = frozenset[str](), dict[str, int]()
    with suppress(ValueError, TypeError, KeyError):  # what cannot be read is told anew with the first pass
        doubted = frozenset(str(name) for name in json.loads(store.meta["manifests"])["prunable"])
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        kept = json.loads(store.meta[MEMORY])
        doubted |= frozenset(str(name) for name in kept["doubted"])
        devices = {str(folder): int(device) for folder, device in kept["devices"].items()}
    return Memory(doubted=doubted, devices=devices)


def _is_quiet(acceptance: Acceptance, now: Now) -> bool:
    return not acceptance.memory.missing and (acceptance.wake_at is None or acceptance.wake_at > now.monotonic)


def desired_of(acceptance: Acceptance, before: Desired) -> Desired:
    """What the documents in force ask for; what did not change stays the same object."""
    servers = {}
    for name, document in acceptance.documents.items():
        known = before.servers.get(name)
        same = known is not None and known.document is document
        wanted = Wanted(
            document,
            known.fingerprint if known and same else engine_of(document.spec).fingerprint(document.spec),
            acceptance.problems.get(name, ()),
            acceptance.held.get(name, ""),
        )
        servers[name] = known if known == wanted else wanted
    return Desired(
        servers,
        scope=before.scope,
        invalid={name: found for name, found in acceptance.problems.items() if name not in servers},
        unreadable=bool(acceptance.general or acceptance.folder_problem),
        limits=before.limits,
    )


def report(event: Event) -> None:
    """One log line for each decision."""
    level = logging.WARNING if event.warning else logging.INFO
    extra = {"server": event.server, "reason": event.reason}
    log.log(level, "%s%s: %s", f"{event.server}  " if event.server else "", event.reason, event.message, extra=extra)
