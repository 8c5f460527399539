"""Stopping an instance: drain, SIGTERM once, SIGKILL when the grace is over. Nothing here waits."""

from dataclasses import replace

from reconciler.core.actions import Kill, Terminate
from reconciler.core.durations import format_duration, parse_duration
from reconciler.core.fallback import off_the_ladder
from reconciler.core.history import Instance, Stamp, StopReason
from reconciler.core.model import Phase, Process
from reconciler.core.server import KILL_AGAIN, Server
from reconciler.core.spec import LivenessProbe

LAST_LOOK = 0.5
"""Seconds within which the slots of one are asked once more that is stopped of our own accord."""
DRAIN_LOOK = 0.25
"""Seconds between looks at the slots while draining."""


def reason_to_stop(server: Server) -> StopReason | None:
    """Why it should not run at all."""
    if server.wanted is None and not server.invalid and not server.keep_unknown:
        return StopReason.REMOVED
    if server.wanted is not None and server.wanted.spec.suspend:
        return StopReason.SUSPENDED
    if server.wanted is not None and server.wanted.parked and not server.stays:
        return StopReason.PARKED
    return StopReason.STOP_REQUESTED if server.stop_request is not None else None


def begin_stop(server: Server, reason: StopReason) -> None:
    """Commit that the instance is to stop, and go on with it at once."""
    if not server.in_scope:
        return
    if server.state_trouble:
        server.wait_for_state()
        return
    instance, process = server.instance, server.process
    assert instance is not None
    assert process is not None
    server.event("Stopping", f"instance {instance.uid} (pid {process.identity.pid}): {reason}")
    if reason is StopReason.RESTART_REQUESTED and server.is_to_restart:
        server.finish_restart()
        record = server.record if server.primary_request is None else off_the_ladder(server.record)
        server.record = replace(record, n=0, failed=None, completed=False)
    stopping = replace(
        instance,
        stopping=Stamp.of(server.now),
        stop_reason=reason,
        verdict=_verdict(reason, process),
        evidence=_evidence(server, reason, process),
    )
    server.save_instance(stopping)
    go_on_stopping(server, stopping, process)


def _verdict(reason: StopReason, process: Process) -> str:
    """The named cause of a stop that counts as a failure."""
    if not reason.is_failure:
        return ""
    if reason is StopReason.STARTUP_TIMEOUT:
        return "StartupTimeout"
    return "Unreachable" if process.health.is_unreachable else "Hung"


def _evidence(server: Server, reason: StopReason, process: Process) -> str:
    """Why it is held to be of no use any more."""
    health = process.health
    if not reason.is_failure or server.wanted is None:
        return ""
    if reason is StopReason.UNRESPONSIVE:
        return health.message
    deadline = format_duration(server.wanted.spec.probes.startup.deadline)
    told = f"not Ready, and no progress for {deadline} (probes.startup.deadline)"
    return f"{told}; {health.message}" if health.message else told


def go_on_stopping(server: Server, instance: Instance, process: Process) -> None:
    """Drain, then SIGTERM once, then SIGKILL when the grace is over."""
    assert instance.stopping is not None
    server.show(Phase.STOPPING, str(instance.stop_reason), _stopping_message(instance))
    monotonic, grace = server.now.monotonic, server.wanted.spec.stop.grace_period if server.wanted else _grace(instance)
    if instance.terminated is None:
        if instance.stop_reason is StopReason.PRIMARY_RETRIED and _is_needed(server, instance, process):
            return
        drained_at = instance.stopping.after(_drain(server, instance, process))
        if monotonic < drained_at and process.health.busy_slots != 0:
            server.wake(min(drained_at, monotonic + DRAIN_LOOK))
            return
        if server.state_trouble:
            server.wait_for_state()
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


def _is_needed(server: Server, instance: Instance, process: Process) -> bool:
    """Whether one that was to make room for what was asked for is left to those who came meanwhile.

    Its slots are asked once more before it is stopped, for nobody wanted it to be.
    """
    assert instance.stopping is not None
    looked_at = instance.stopping.after(LAST_LOOK)
    if server.now.monotonic < looked_at:
        server.wake(looked_at)
        return True
    if process.health.busy_slots == 0:
        return False
    # Once more after as long as it had been Ready before.
    server.save_instance(replace(instance, stopping=None, stop_reason=None, ready=Stamp.of(server.now)))
    server.show(Phase.READY)
    server.wake(server.now.monotonic)
    return True


def _drain(server: Server, instance: Instance, process: Process) -> float:
    """Seconds to wait for idle slots; one that is not Ready, or hangs by now, has none to wait for."""
    if instance.ready is None or (instance.stop_reason and instance.stop_reason.is_failure):
        return 0.0
    if process.health.failures >= _failure_threshold(server, instance):
        return 0.0
    if server.wanted is not None:
        return server.wanted.spec.stop.drain
    return _duration_of(instance, "drain", 0.0)


def _failure_threshold(server: Server, instance: Instance) -> int:
    if server.wanted is not None:
        return server.wanted.spec.probes.liveness.failure_threshold
    written = (instance.spec.get("probes") or {}).get("liveness") or {}
    return int(written.get("failureThreshold", LivenessProbe().failure_threshold))


def _grace(instance: Instance) -> float:
    return _duration_of(instance, "gracePeriod", 10.0)


def _duration_of(instance: Instance, name: str, default: float) -> float:
    """A stop setting of a server whose document is gone: as its instance was started with."""
    written = (instance.spec.get("stop") or {}).get(name)
    return default if written is None else parse_duration(written)


def _stopping_message(instance: Instance) -> str:
    return "SIGTERM sent" if instance.terminated else ""
