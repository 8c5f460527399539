"""A server with a live instance: whether it is well, and what is declared."""

from dataclasses import replace

from reconciler.core.fallback import (
    is_as_declared,
    is_of_its_spec,
    is_on_trial,
    noted,
    off_the_ladder,
    primary_due,
    stable_after,
)
from reconciler.core.history import Instance, Stamp, StopReason, Trigger
from reconciler.core.model import HealthState, Phase, Process
from reconciler.core.server import NO_CONTROLLER, STATE_UNWRITABLE, Server
from reconciler.core.stopping import begin_stop, go_on_stopping, reason_to_stop
from reconciler.core.strangers import show_shared

LEFT_ALONE = "it runs on while some manifest cannot be read: its document may be there; see: reconciler validate"


def plan_running(server: Server) -> None:
    """Judge its health, stop it, or claim that another takes its place."""
    instance, process = server.instance, server.process
    assert instance is not None
    assert process is not None
    if instance.stopping is not None:
        go_on_stopping(server, instance, process)
        return
    reason = reason_to_stop(server)
    if reason is not None and server.in_scope:
        begin_stop(server, reason)
        if not server.state_trouble:
            return
    _judge_health(server, instance, process)
    if server.instance is None or server.instance.stopping or server.wanted is None:
        return
    if server.stays is not None:
        _go_on(server, server.stays)
    elif server.in_scope:
        _claim_successor(server, server.instance, process)
    elif reason is not None or server.is_to_restart or not _fits(server, instance):
        server.waiting = ("NoController", NO_CONTROLLER)


def _claim_successor(server: Server, instance: Instance, process: Process) -> None:
    if server.is_to_restart:
        server.claim, server.replace_reason = "replace", StopReason.RESTART_REQUESTED
    elif not _fits(server, instance):
        server.claim, server.replace_reason = "replace", _why_replaced(server, instance)
    elif _makes_room(server, instance, process):
        server.claim, server.replace_reason = "replace", StopReason.PRIMARY_RETRIED


def _go_on(server: Server, why: tuple[str, str]) -> None:
    """It is about to leave: nothing of it is renewed any more."""
    server.waiting = why
    if server.is_to_restart:
        server.finish_restart()
        server.event("RestartIgnored", f"a restart was asked for, but {why[1]}", warning=True)


def _fits(server: Server, instance: Instance) -> bool:
    return server.wanted is not None and is_as_declared(instance, server.wanted, server.limits)


def _why_replaced(server: Server, instance: Instance) -> StopReason:
    assert server.wanted is not None
    return StopReason.CPU_ONLY if is_of_its_spec(instance, server.wanted) else StopReason.SPEC_CHANGED


def _makes_room(server: Server, instance: Instance, process: Process) -> bool:
    """Whether one that runs on a fallback step is idle, and what was asked for is due to be tried again."""
    assert server.wanted is not None
    due = primary_due(server.wanted.spec.restart, server.record, instance)
    if due is None or server.phase is not Phase.READY:
        return False
    if server.now.monotonic < due:
        server.wake(due)
        return False
    return process.health.busy_slots == 0 and not server.state_trouble


def _judge_health(server: Server, instance: Instance, process: Process) -> None:
    health, wanted = process.health, server.wanted
    if wanted is None and not server.invalid and not server.keep_unknown:
        why = ("NoController", NO_CONTROLLER) if not server.in_scope else (STATE_UNWRITABLE, server.state_trouble)
        server.show(Phase.PENDING, why[0], f"its document is gone, but {why[1]}")
        return
    if wanted is None:
        problem = next(iter(server.invalid), None)
        server.show(Phase.INVALID, *(problem.reason, str(problem)) if problem else ("InvalidManifest", LEFT_ALONE))
        return
    if not health.verified:
        _judge_start(server, instance, process)
        return
    threshold = wanted.spec.probes.liveness.failure_threshold
    if health.failures >= 2 * threshold and server.in_scope:
        begin_stop(server, StopReason.UNRESPONSIVE)
    if server.instance is not None and server.instance.stopping:
        return
    if health.failures >= threshold:
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
    if server.sharer is not None:
        show_shared(server, instance)
        return
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
    is_busy = health.state is HealthState.BUSY
    server.show(Phase.READY, "Busy" if is_busy else "", health.message if is_busy or not health.failures else "")
    # Where completions fail it is Ready for as long as it takes to be sure: that is no stability.
    if is_on_trial(server.record, instance) and not health.failures:
        after = stable_after(server.wanted.spec.restart, server.record, instance)
        if instance.ready.age(server.now) >= after:
            record = replace(server.record, n=0, delay=0.0, failed_times=0)
            server.record = record if instance.step else off_the_ladder(record)
        else:
            server.wake(instance.ready.after(after))


def _now_ready(server: Server, instance: Instance, process: Process) -> Instance:
    stamp = Stamp.of(server.now)
    took = f"{instance.intent.age(server.now):.1f} s"
    ready = f"ready, {took} after it was taken over" if instance.trigger is Trigger.ADOPTED else f"ready after {took}"
    again = instance.first_ready is not None
    server.event("Ready", "it answers again" if again else f"pid {process.identity.pid} is {ready}")
    instance = replace(instance, ready=stamp, first_ready=instance.first_ready or stamp)
    server.save_instance(instance)
    if not again:
        _note_first_ready(server, instance)
    return instance


def _note_first_ready(server: Server, instance: Instance) -> None:
    assert server.wanted is not None
    record = replace(server.record, was_ready=True, last_error="", starved=None, starved_times=0, starved_why="")
    if instance.step:
        record = replace(noted(record, server.wanted, instance), step=instance.step, ready_step=instance.step)
    server.record = record
