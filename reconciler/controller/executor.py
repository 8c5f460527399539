"""Does what the plan says, in three steps: commit the intents, do the deeds, commit what came of them.

A controller that dies between any two of them leaves rows and marks from which the next one plans.
"""

import errno
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.controller.launching import Launcher, LaunchError
from reconciler.core.actions import Action, Event, Kill, Plan, SaveInstance, Start, Terminate
from reconciler.core.causes import CAUSES
from reconciler.core.clean import clean
from reconciler.core.counts import Counts
from reconciler.core.history import Instance, Stamp
from reconciler.core.model import Desired, Identity, Now, Wanted
from reconciler.core.spec import dump_spec
from reconciler.runtimes.host import ResourceError
from reconciler.runtimes.local import Launch, LocalRuntime
from reconciler.store.writer import Store

Report = Callable[[Event], None]
SPAWN_FAILED = "SpawnFailed"
_NAMED = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG), "BinaryMissing"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "PermissionDenied"),
    errno.ENOEXEC: "WrongArchitecture",
}
"""What the error of a spawn means."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why nothing was spawned."""

    cause: str
    told: str

    @property
    def diagnosis(self) -> str:
        """The cause where it has a name, else that it could not be spawned."""
        return self.cause if self.cause in CAUSES else SPAWN_FAILED


_Outcome = Identity | ResourceError | _Refusal
"""What came of a spawn."""


@dataclass(frozen=True, slots=True)
class _Intent:
    """A start that is about to be committed."""

    instance: Instance
    launch: Launch | None
    public: dict[str, object] | None
    refusal: _Refusal | None = None


class Executor:
    """The only one who acts."""

    def __init__(
        self, store: Store, runtime: LocalRuntime, launcher: Launcher, report: Report, counts: Counts | None = None
    ) -> None:
        """`report` is told every event, once it is committed; in `counts` it is counted what was done."""
        self._store = store
        self._runtime = runtime
        self._launcher = launcher
        self._report = report
        self._counts = counts or Counts()

    def execute(self, plan: Plan, desired: Desired, now: Now) -> None:
        """Carry out a plan. Raises StateUnwritableError when its intents cannot be committed: then nothing was done.

        A plan without intents is carried out in any case, and written down as soon as that is possible.
        """
        if not plan.actions and not plan.events:
            return
        if not self._holds_adopted(plan):
            return  # the next look tells who was faster
        starts = [
            self._intend(action, desired.servers[action.server], now)
            for action in plan.actions
            if isinstance(action, Start)
        ]
        before = dict(self._store.history().instances)
        self._commit_intents(plan, starts, now)
        for action in plan.actions:
            if isinstance(action, Terminate):
                self._runtime.terminate(action.identity)
            elif isinstance(action, Kill):
                self._runtime.kill(action.identity)
        outcomes = [(intent, self._try_spawn(intent)) for intent in starts]
        for event in plan.events:
            self._report(event)
        self._record_spawns(outcomes, now)
        self._counts.note(plan.actions, before)

    def _holds_adopted(self, plan: Plan) -> bool:
        """Whether all that are to be adopted could be had: two installations may be about to take over the same."""
        known = self._store.history().instances
        found = [action.instance for action in plan.actions if isinstance(action, SaveInstance)]
        new = [one for one in found if one.adopted and (one.server not in known or known[one.server].uid != one.uid)]
        return all(self._runtime.hold(one) for one in new if one.ended is None)

    def _intend(self, start: Start, wanted: Wanted, now: Now) -> _Intent:
        instance = Instance(
            uid=uuid.uuid4().hex[:12],
            server=start.server,
            fingerprint=wanted.fingerprint,
            generation=wanted.document.generation,
            port=start.port,
            intent=Stamp.of(now),
            trigger=start.trigger,
            attempt=start.attempt,
            delay=start.delay,
            spec=dump_spec(wanted.spec),
            step=start.step.number,
            step_told=start.step.told,
            changes=start.step.changes,
            hides_gpus=self._launcher.hides_gpus(start.step),
        )
        try:
            launch = self._launcher.launch(wanted.document, start.port, start.step)
        except LaunchError as error:
            return _Intent(instance, None, None, _Refusal(error.reason, str(error)))
        effective = self._launcher.effective(wanted.spec, start.step)
        return _Intent(instance, launch, self._launcher.public(effective, launch))

    def _commit_intents(self, plan: Plan, starts: list[_Intent], now: Now) -> None:
        with self._store.transaction(anyway=not starts and not any(_is_intent(action) for action in plan.actions)):
            for event in plan.events:
                self._store.add_event(event, now)
            for action in plan.actions:
                if not isinstance(action, Start | Terminate | Kill):
                    self._store.record(action, now)
            for intent in starts:
                self._store.assign_port(intent.instance.server, intent.instance.port)
                self._store.save_instance(intent.instance, intent.public)

    def _record_spawns(self, outcomes: list[tuple[_Intent, _Outcome]], now: Now) -> None:
        if not outcomes:
            return
        events = []
        with self._store.transaction(anyway=True):
            for intent, outcome in outcomes:
                instance = intent.instance
                if isinstance(outcome, Identity):
                    instance = replace(instance, identity=outcome)
                    events.append(Event(instance.server, "Started", _started(instance)))
                elif isinstance(outcome, ResourceError):
                    # No event: the planner says it once, however often it is tried.
                    instance = replace(instance, diagnosis=outcome.reason, evidence=clean(str(outcome)))
                else:
                    instance = replace(instance, diagnosis=outcome.diagnosis, evidence=outcome.told)
                    events.append(Event(instance.server, SPAWN_FAILED, outcome.told, warning=True))
                self._store.save_instance(instance)
            for event in events:
                self._store.add_event(event, now)
        for event in events:
            self._report(event)

    def _try_spawn(self, intent: _Intent) -> _Outcome:
        if intent.launch is None:
            return intent.refusal or _Refusal(SPAWN_FAILED, "")
        try:
            return self._runtime.start(intent.instance, intent.launch)
        except ResourceError as error:
            return error
        except (OSError, ValueError) as error:
            return _refused(intent.launch.argv[0], error)


def _is_intent(action: Action) -> bool:
    """Whether it must be on disk before what follows from it."""
    match action:
        case Start() | Terminate():
            return True
        case SaveInstance(instance):
            return instance.stopping is not None and instance.ended is None and instance.killed is None
    return False


def _refused(program: str, error: OSError | ValueError) -> _Refusal:
    cause = _NAMED.get(error.errno or 0, SPAWN_FAILED) if isinstance(error, OSError) else SPAWN_FAILED
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if cause == "BinaryMissing" and Path(program).exists():
        why = "the interpreter or loader that it names is missing"
    elif cause == "WrongArchitecture":
        why += ": it is a program for another kind of machine, or a script whose first line names no interpreter"
    return _Refusal(cause, clean(f"{program} could not be executed: {why}"))


def _started(instance: Instance) -> str:
    pid = instance.identity.pid if instance.identity else 0
    why = f"{instance.trigger}: {instance.step_told}" if instance.step_told else str(instance.trigger)
    return f"pid {pid} on port {instance.port}, instance {instance.uid} ({why})"
