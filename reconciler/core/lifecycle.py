"""One server's part of the plan: what its rows and processes mean, and what it asks for next.

Ports and load slots are shared between servers: what a server wants of them is left in `claim` for the planner.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from reconciler.core.backoff import backoff_delay, is_exhausted
from reconciler.core.durations import parse_duration
from reconciler.core.model import (
    Action,
    Event,
    Exit,
    FinishRequest,
    Forget,
    GateFacts,
    HealthState,
    Instance,
    Kill,
    Now,
    Phase,
    Problem,
    Process,
    SaveInstance,
    SaveServer,
    ServerRecord,
    Stamp,
    StopReason,
    Terminate,
    Trigger,
    Wanted,
)

LEFT_ALONE = "it runs on while some manifest cannot be read: its document may be there; see: reconciler validate"
KEPT_LINES = 20
"""Log lines kept with each end."""
NOT_LOOKED = GateFacts("NotLookedYet", "the gate was not looked at yet")
DRAIN_LOOK = 0.25
"""Seconds between looks at the slots while draining."""
WITH_CONTROLLER = 0
"""In place of a stop request's id: not asked for by a person, but by `run --on-exit stop`."""
KILL_AGAIN = 1.0
"""Seconds between two SIGKILLs to one that does not end: a process may be in an uninterruptible sleep for long."""
UNASKED = frozenset({Trigger.CRASHED, Trigger.UNRESPONSIVE, Trigger.RETRIED})
"""Starts that count as restarts of a server's life."""


@dataclass(slots=True)
class Server:
    """One server while it is planned: the inputs, and what comes of them."""

    name: str
    now: Now
    wanted: Wanted | None
    record: ServerRecord
    instance: Instance | None
    processes: tuple[Process, ...]
    gate: GateFacts = NOT_LOOKED
    stop_request: int | None = None
    restart_request: int | None = None
    invalid: tuple[Problem, ...] = ()
    keep_unknown: bool = False
    """Its document may be in text that cannot be read: do not stop it for having none."""
    in_scope: bool = True
    """It may be started and stopped now."""

    actions: list[Action] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    wakes: list[float] = field(default_factory=list)
    claim: Literal["", "start", "replace"] = ""
    replace_reason: StopReason = StopReason.SPEC_CHANGED
    phase: Phase = Phase.PENDING
    reason: str = ""
    """The phase's cause in one word, for conditions."""
    message: str = ""
    waiting: tuple[str, str] = ("", "")
    """Reason and message of why what runs is not yet what is declared; empty when it is."""
    forgotten: bool = False
    saved: ServerRecord | None = None
    """The record as the database has it."""

    @property
    def process(self) -> Process | None:
        """The process of the open instance; its children may lead sessions and bear its uid as well."""
        if self.instance is None:
            return None
        leaders = [process for process in self.processes if process.uid == self.instance.uid and process.leader]
        recorded = (process for process in leaders if process.identity == self.instance.identity)
        return next(recorded, leaders[0] if leaders else None)

    def sweep(self, processes: list[Process]) -> None:
        """SIGKILL what must not run beside the instance, or at all."""
        if not processes:
            return
        swept = self.saved.swept if self.saved else None
        if swept is None or swept.age(self.now) >= KILL_AGAIN:
            self.actions.extend(Kill(process.uid, process.identity) for process in processes)
            swept = Stamp.of(self.now)
            self.record = replace(self.record, swept=swept)
        self.wake(swept.after(KILL_AGAIN))

    def wake(self, at: float) -> None:
        """Look again at this monotonic time at the latest."""
        self.wakes.append(at)

    def save_instance(self, instance: Instance) -> None:
        """Commit the instance's row; the last save of a pass wins."""
        self.actions = [
            action
            for action in self.actions
            if not (isinstance(action, SaveInstance) and action.instance.uid == instance.uid)
        ]
        self.actions.append(SaveInstance(instance))
        self.instance = instance if instance.ended is None else None

    def event(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Tell people."""
        self.events.append(Event(self.name, reason, message, warning=warning))

    def show(self, phase: Phase, reason: str = "", message: str = "") -> None:
        """What people see of it, unless a later step knows better."""
        self.phase, self.reason, self.message = phase, reason or phase.value, message


def settle(server: Server) -> None:
    """Plan all that this server decides alone, and leave a claim for the rest."""
    _end_what_died(server)
    _adopt(server)
    _note_generation(server)
    if server.instance is not None:
        _plan_running(server)
    else:
        _plan_idle(server)


# ---------------------------------------------------------------- ends and adoptions


def _end_what_died(server: Server) -> None:
    instance, process = server.instance, server.process
    if instance is None or (process is not None and process.alive):
        return
    ended = replace(instance, ended=Stamp.of(server.now))
    if instance.intent.boot != server.now.boot:
        server.save_instance(replace(ended, diagnosis="Rebooted"))
        server.record = replace(server.record, n=0, ended=None, delay=0.0, next_trigger=Trigger.REBOOTED)
        return
    if instance.diagnosis == "SpawnFailed":
        server.save_instance(ended)
        if server.wanted is not None:
            _count_failure(server, ended, Exit(), f"SpawnFailed: {instance.evidence}", Trigger.CRASHED)
        return
    if instance.identity is None and process is None:
        server.save_instance(replace(ended, diagnosis="NotStarted"))
        counted = instance.trigger in UNASKED
        server.record = replace(server.record, next_trigger=instance.trigger, restarts=server.record.restarts - counted)
        return
    _record_exit(server, ended, process)


def _record_exit(server: Server, ended: Instance, process: Process | None) -> None:
    """An end that was asked for is no failure; one that was not is counted."""
    exit_ = process.exit if process and process.exit else Exit()
    stopped_by_us = ended.stopping is not None
    diagnosis, evidence = (process.diagnosis, process.evidence) if process else ("Unknown", "")
    if stopped_by_us:
        diagnosis, evidence = str(ended.stop_reason), ""
    tail = "\n".join(process.log_tail.splitlines()[-KEPT_LINES:]) if process else ""
    ended = replace(ended, exit=exit_, diagnosis=diagnosis, evidence=evidence, log_tail=tail)
    server.save_instance(ended)
    error = ": ".join(part for part in (str(exit_), diagnosis, evidence) if part)
    if stopped_by_us and not (ended.stop_reason and ended.stop_reason.is_failure):
        server.event("Stopped", f"instance {ended.uid} ended ({exit_}): {ended.stop_reason}")
        renewed = ended.stop_reason is StopReason.SPEC_CHANGED
        n = 0 if renewed else server.record.n
        server.record = replace(server.record, n=n, next_trigger=_trigger_after(ended.stop_reason))
    elif server.wanted is not None and ended.fingerprint != server.wanted.fingerprint:
        server.event("Crashed", f"{error}; it starts again as declared now", warning=True)
        server.record = replace(server.record, n=0, next_trigger=Trigger.SPEC_CHANGED, last_error=error)
    elif server.wanted is not None:
        trigger = Trigger.UNRESPONSIVE if stopped_by_us else Trigger.CRASHED
        _count_failure(server, ended, exit_, error, trigger)


def _trigger_after(reason: StopReason | None) -> Trigger:
    if reason is StopReason.RESTART_REQUESTED:
        return Trigger.REQUESTED
    if reason in (StopReason.SUSPENDED, StopReason.STOP_REQUESTED):
        return Trigger.RESUMED
    return Trigger.SPEC_CHANGED


def _count_failure(server: Server, ended: Instance, exit_: Exit, error: str, trigger: Trigger) -> None:
    assert server.wanted is not None
    policy = server.wanted.spec.restart
    was_stable = ended.ready is not None and ended.ready.age(server.now) >= policy.stability_window
    n = 1 if was_stable else server.record.n + 1
    record = replace(
        server.record,
        n=n,
        ended=Stamp.of(server.now),
        delay=backoff_delay(policy, n),
        next_trigger=trigger,
        was_ready=ended.first_ready is not None,
        last_error=error,
    )
    if exit_.code == 0 and policy.policy != "Always" and trigger is Trigger.CRASHED:
        server.record = replace(record, n=0, completed=True, last_error="")
        server.event("Completed", "it exited with 0, and its restart policy asks for no more")
    elif policy.policy == "Never" or is_exhausted(policy, n):
        server.record = replace(record, failed=Stamp.of(server.now), failed_files=server.gate.identity)
        server.event("Failed", _gave_up(policy.max_restarts, policy.policy, error), warning=True)
    else:
        server.record = record
        server.event("Crashed", f"{error}; restart {n} of {policy.max_restarts}", warning=True)


def _gave_up(max_restarts: int, policy: str, error: str) -> str:
    if policy == "Never":
        return f"not restarted (policy Never): {error}"
    return f"gave up after {max_restarts} restarts: {error}"


def _adopt(server: Server) -> None:
    """Take over live leaders that the rows do not know; of several, one."""
    ended = {action.instance.uid for action in server.actions if isinstance(action, SaveInstance)}
    leaders = [p for p in server.processes if p.leader and p.alive and p.uid not in ended]
    if server.instance is None and leaders:
        # Of one uid the oldest is the instance, and the others are its children.
        oldest = {p.uid: p for p in sorted(leaders, key=lambda p: -p.identity.start_ticks)}
        chosen = max(oldest.values(), key=lambda p: (_fits(server, p), p.identity.start_ticks))
        server.save_instance(
            Instance(
                uid=chosen.uid,
                server=server.name,
                fingerprint=chosen.fingerprint,
                generation=server.wanted.document.generation if server.wanted and _fits(server, chosen) else 0,
                port=chosen.port,
                intent=Stamp.of(server.now),
                trigger=Trigger.ADOPTED,
                identity=chosen.identity,
            )
        )
        server.record = replace(server.record, failed=None, completed=False)
        server.event("Adopted", f"found running as pid {chosen.identity.pid}, instance {chosen.uid}")
    instance, process = server.instance, server.process
    if instance is None or process is None:
        return
    if instance.identity is None:
        server.save_instance(replace(instance, identity=process.identity))
    superfluous = [process for process in leaders if process.uid != instance.uid]
    server.sweep(superfluous)
    for process in superfluous:
        server.event("Superfluous", f"pid {process.identity.pid} is a second instance: killed", warning=True)


def _fits(server: Server, process: Process) -> bool:
    return server.wanted is not None and process.fingerprint == server.wanted.fingerprint


def _note_generation(server: Server) -> None:
    """A new generation clears what earlier ones earned."""
    record, wanted = server.record, server.wanted
    if wanted is None or wanted.document.generation == record.generation:
        return
    keeps_trigger = record.generation == 0 or record.next_trigger is Trigger.RESUMED
    server.record = replace(
        record,
        generation=wanted.document.generation,
        n=record.n if server.instance else 0,
        ended=None,
        delay=0.0,
        failed=None,
        completed=False,
        next_trigger=record.next_trigger if keeps_trigger else Trigger.SPEC_CHANGED,
    )


# ---------------------------------------------------------------- running


def _plan_running(server: Server) -> None:
    instance, process = server.instance, server.process
    assert instance is not None
    assert process is not None
    if instance.stopping is not None:
        _go_on_stopping(server, instance, process)
        return
    reason = _reason_to_stop(server)
    if reason is not None and server.in_scope:
        begin_stop(server, reason)
        return
    _judge_health(server, instance, process)
    if server.instance is None or server.instance.stopping or server.wanted is None:
        return
    if server.restart_request is not None:
        server.claim, server.replace_reason = "replace", StopReason.RESTART_REQUESTED
    elif instance.fingerprint != server.wanted.fingerprint:
        server.claim, server.replace_reason = "replace", StopReason.SPEC_CHANGED


def _reason_to_stop(server: Server) -> StopReason | None:
    if server.wanted is None and not server.invalid and not server.keep_unknown:
        return StopReason.REMOVED
    if server.wanted is not None and server.wanted.spec.suspend:
        return StopReason.SUSPENDED
    return StopReason.STOP_REQUESTED if server.stop_request is not None else None


def begin_stop(server: Server, reason: StopReason) -> None:
    """Commit that the instance is to stop, and go on with it at once."""
    if not server.in_scope:
        return
    instance, process = server.instance, server.process
    assert instance is not None
    assert process is not None
    server.event("Stopping", f"instance {instance.uid} (pid {process.identity.pid}): {reason}")
    if reason is StopReason.RESTART_REQUESTED and server.restart_request is not None:
        server.actions.append(FinishRequest(server.restart_request))
        server.record = replace(server.record, n=0, failed=None, completed=False)
    stopping = replace(instance, stopping=Stamp.of(server.now), stop_reason=reason)
    server.save_instance(stopping)
    _go_on_stopping(server, stopping, process)


def _go_on_stopping(server: Server, instance: Instance, process: Process) -> None:
    """Drain, then SIGTERM once, then SIGKILL when the grace is over."""
    assert instance.stopping is not None
    server.show(Phase.STOPPING, str(instance.stop_reason), _stopping_message(instance))
    monotonic, grace = server.now.monotonic, server.wanted.spec.stop.grace_period if server.wanted else _grace(instance)
    if instance.terminated is None:
        drained_at = instance.stopping.after(_drain(server, instance))
        if monotonic < drained_at and process.health.busy_slots != 0:
            server.wake(min(drained_at, monotonic + DRAIN_LOOK))
            return
        instance = replace(instance, terminated=Stamp.of(server.now))
        server.save_instance(instance)
        server.actions.append(Terminate(instance.uid, process.identity))
    kill_at = instance.terminated.after(grace) if instance.terminated else monotonic
    if monotonic < kill_at:
        server.wake(kill_at)
        return
    if instance.killed is None:
        server.event("Killed", f"pid {process.identity.pid} did not end within {grace:g} s of SIGTERM", warning=True)
    killed = instance.killed
    if killed is None or killed.age(server.now) >= KILL_AGAIN:
        killed = Stamp.of(server.now)
        server.save_instance(replace(instance, killed=killed))
        server.actions.append(Kill(instance.uid, process.identity))
    server.wake(killed.after(KILL_AGAIN))


def _drain(server: Server, instance: Instance) -> float:
    """Seconds to wait for idle slots; one that does not answer, or is not Ready yet, has none to wait for."""
    if instance.first_ready is None or (instance.stop_reason and instance.stop_reason.is_failure):
        return 0.0
    if server.wanted is not None:
        return server.wanted.spec.stop.drain
    return _duration_of(instance, "drain", 0.0)


def _grace(instance: Instance) -> float:
    return _duration_of(instance, "gracePeriod", 10.0)


def _duration_of(instance: Instance, name: str, default: float) -> float:
    """A stop setting of a server whose document is gone: as its instance was started with."""
    written = (instance.spec.get("stop") or {}).get(name)
    return default if written is None else parse_duration(written)


def _stopping_message(instance: Instance) -> str:
    return "SIGTERM sent" if instance.terminated else ""


def _judge_health(server: Server, instance: Instance, process: Process) -> None:
    health, wanted = process.health, server.wanted
    if wanted is None:
        server.show(Phase.INVALID, "InvalidManifest", str(server.invalid[0]) if server.invalid else LEFT_ALONE)
        return
    if not health.verified:
        _judge_start(server, instance, process)
        return
    threshold = wanted.spec.probes.liveness.failure_threshold
    if health.failures >= 2 * threshold:
        begin_stop(server, StopReason.UNRESPONSIVE)
    elif health.failures >= threshold:
        if instance.ready is not None:
            server.save_instance(replace(instance, ready=None))
            server.event("Unhealthy", f"{health.failures} probes in a row failed: {health.message}", warning=True)
        server.show(Phase.UNHEALTHY, "LivenessFailed", f"{health.failures} probes failed: {health.message}")
    else:
        _judge_ready(server, instance, process)


def _judge_start(server: Server, instance: Instance, process: Process) -> None:
    assert server.wanted is not None
    health = process.health
    server.show(Phase.STARTING, "Loading" if health.state is HealthState.LOADING else "Starting", health.message)
    deadline = server.wanted.spec.probes.startup.deadline
    if health.last_progress is None:
        # Nobody has looked at it yet: time without a controller is no time without progress.
        server.wake(server.now.monotonic + deadline)
        return
    since = max(instance.intent.monotonic, health.last_progress)
    if server.now.monotonic >= since + deadline:
        begin_stop(server, StopReason.STARTUP_TIMEOUT)
    else:
        server.wake(since + deadline)


def _judge_ready(server: Server, instance: Instance, process: Process) -> None:
    assert server.wanted is not None
    health = process.health
    if health.state is HealthState.LOADING:
        if instance.ready is not None:
            server.save_instance(replace(instance, ready=None))
        server.show(Phase.READY, "Loading", health.message or "it answers 503: loading again")
        return
    if instance.ready is None and health.failures == 0 and health.state is HealthState.OK:
        instance = _now_ready(server, instance, process)
    if health.effective is not None and (instance.effective, instance.models) != (health.effective, health.models):
        instance = replace(instance, effective=health.effective, models=health.models)
        server.save_instance(instance)
    if instance.ready is None:
        server.show(Phase.UNHEALTHY, "NotAnswering", health.message or "it has not answered again yet")
        return
    server.show(Phase.READY)
    if server.record.n:
        window = server.wanted.spec.restart.stability_window
        if instance.ready.age(server.now) >= window:
            server.record = replace(server.record, n=0, delay=0.0)
        else:
            server.wake(instance.ready.after(window))


def _now_ready(server: Server, instance: Instance, process: Process) -> Instance:
    stamp = Stamp.of(server.now)
    took = instance.intent.age(server.now)
    again = instance.first_ready is not None
    server.event("Ready", "it answers again" if again else f"pid {process.identity.pid} is ready after {took:.1f} s")
    server.record = replace(server.record, was_ready=True, last_error="" if not again else server.record.last_error)
    ready = replace(instance, ready=stamp, first_ready=instance.first_ready or stamp)
    server.save_instance(ready)
    return ready


# ---------------------------------------------------------------- idle


def _plan_idle(server: Server) -> None:
    leftovers = [process for process in server.processes if process.alive]
    if leftovers:
        server.sweep(leftovers)
        server.show(Phase.PENDING, "WaitingForLeftovers", "waiting for leftover processes to end")
        return
    if server.wanted is None:
        _plan_unwanted(server)
    elif server.wanted.spec.suspend:
        _rest(server, "Suspended", "suspended by its manifest")
    elif server.stop_request == WITH_CONTROLLER:
        _rest(server, "ControllerEnded", "stopped with its controller; go on with: reconciler run")
    elif server.stop_request is not None:
        _rest(server, "StopRequested", f"stopped by request; start it with: reconciler start {server.name}")
    else:
        _plan_start(server)


def _plan_unwanted(server: Server) -> None:
    if server.invalid:
        server.show(Phase.INVALID, "InvalidManifest", str(server.invalid[0]))
        return
    server.forgotten = True
    server.actions.append(Forget(server.name))
    if server.saved is not None and server.saved.generation:
        server.event("Removed", "its document is gone, and nothing of it runs")
    if server.restart_request is not None:
        server.actions.append(FinishRequest(server.restart_request))


def _rest(server: Server, reason: str, message: str) -> None:
    server.record = replace(
        server.record,
        n=0,
        ended=None,
        delay=0.0,
        failed=None,
        completed=False,
        next_trigger=Trigger.RESUMED if server.record.generation else None,
        last_error="",
    )
    if server.restart_request is not None:
        server.actions.append(FinishRequest(server.restart_request))
        server.event("RestartIgnored", f"a restart was asked for, but it is {reason}: {message}", warning=True)
    server.show(Phase.STOPPED, reason, message)


def _plan_start(server: Server) -> None:
    if server.restart_request is not None:
        server.actions.append(FinishRequest(server.restart_request))
        server.record = replace(
            server.record, n=0, ended=None, delay=0.0, failed=None, completed=False, next_trigger=Trigger.REQUESTED
        )
    if server.record.completed:
        server.show(
            Phase.STOPPED, "Completed", f"it exited with 0; run it again with: reconciler restart {server.name}"
        )
        return
    if server.record.failed is not None and not _may_retry(server, server.record.failed):
        return
    if _is_backing_off(server):
        return
    if server.in_scope:
        server.claim = "start"
    else:
        server.show(Phase.PENDING, "NoController", "no controller is running; start one with: reconciler run")


def _may_retry(server: Server, failed: Stamp) -> bool:
    """Another boot, other files, or enough time: a Failed server is tried again."""
    assert server.wanted is not None
    if not server.record.failed_files and server.gate.identity:
        server.record = replace(server.record, failed_files=server.gate.identity)
    policy, record, identity = server.wanted.spec.restart, server.record, server.gate.identity
    other_files = bool(identity) and identity != record.failed_files
    if failed.boot != server.now.boot or other_files:
        server.record = replace(record, failed=None, ended=None, n=0, delay=0.0, next_trigger=Trigger.RETRIED)
        return True
    due = failed.after(policy.retry_failed_after)
    retries = policy.retry_failed_after > 0 and policy.policy != "Never"
    if retries and server.now.monotonic >= due:
        # One try only: the budget stays used up, so that a hopeless server does not load four times in a row.
        kept = min(record.n, policy.max_restarts)
        server.record = replace(record, failed=None, ended=None, n=kept, delay=0.0, next_trigger=Trigger.RETRIED)
        return True
    if retries:
        server.wake(due)
    gave_up = _gave_up(policy.max_restarts, policy.policy, record.last_error)
    server.show(Phase.FAILED, "RestartsExhausted", f"{gave_up}; try again with: reconciler restart {server.name}")
    return False


def _is_backing_off(server: Server) -> bool:
    assert server.wanted is not None
    record = server.record
    if record.ended is None or record.ended.boot != server.now.boot:
        return False
    due = record.ended.after(record.delay)
    if server.now.monotonic >= due:
        return False
    server.wake(due)
    most = server.wanted.spec.restart.max_restarts
    server.show(Phase.BACKOFF, "BackOff", f"{record.last_error}; restart {record.n} of {most} after {record.delay:g} s")
    return True


def finish(server: Server) -> None:
    """Commit what is remembered, if it changed."""
    if not server.forgotten and server.record != server.saved:
        server.actions.append(SaveServer(server.record))
