"""What ended, and why: failures are counted, wishes are not. What runs unknown to the rows is taken over."""

from dataclasses import replace

from reconciler.core.actions import Withdraw
from reconciler.core.backoff import LEAST_FROM_GIT, backoff_delay, is_exhausted
from reconciler.core.history import Instance, Stamp, StopReason, Trigger
from reconciler.core.model import Exit, Process
from reconciler.core.server import UNASKED, Server

KEPT_LINES = 20
"""Log lines kept with each end."""
STARVED = "ResourcesExhausted"
"""Diagnosis of an intent for whose process the machine had no room."""
UNBEGUN = frozenset({STARVED, "LogUnwritable"})
"""Diagnoses of intents of which nothing came, for a reason that lies neither in the manifest nor in the server."""


def gave_up(max_restarts: int, policy: str, error: str) -> str:
    """What people are told of a server that is Failed."""
    if policy == "Never":
        return f"not restarted (policy Never): {error}"
    return f"gave up after {max_restarts} restarts: {error}"


def end_what_died(server: Server) -> None:
    """Close the row of an instance whose process is gone."""
    instance, process = server.instance, server.process
    if instance is None or (process is not None and process.alive):
        return
    if instance.diagnosis in UNBEGUN and instance.intent.boot == server.now.boot:
        _withdraw(server, instance)
        return
    ended = replace(instance, ended=Stamp.of(server.now))
    server.record = replace(server.record, ended_uid=instance.uid)
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


def _withdraw(server: Server, instance: Instance) -> None:
    """Nothing was begun: as if it had not been tried, but for the pause until the next try."""
    server.actions.append(Withdraw(instance))
    server.instance = None
    record = server.record
    server.record = replace(
        record,
        next_trigger=instance.trigger,
        restarts=record.restarts - (instance.trigger in UNASKED),
        starved=Stamp.of(server.now),
        starved_times=record.starved_times + 1,
        starved_why=instance.evidence,
        starved_reason=instance.diagnosis,
    )


def _record_exit(server: Server, ended: Instance, process: Process | None) -> None:
    """An end that was asked for is no failure; one that was not is counted."""
    exit_ = process.exit if process and process.exit else Exit()
    stopped_by_us = ended.stopping is not None
    diagnosis, evidence = (process.diagnosis, process.evidence) if process else ("Unknown", "")
    if stopped_by_us:
        diagnosis, evidence = str(ended.stop_reason), ended.evidence
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
    if reason in (StopReason.SUSPENDED, StopReason.PARKED, StopReason.STOP_REQUESTED):
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
        delay=max(backoff_delay(policy, n), LEAST_FROM_GIT if server.is_from_git else 0.0),
        next_trigger=trigger,
        was_ready=ended.first_ready is not None,
        last_error=error,
    )
    if exit_.code == 0 and policy.policy != "Always" and trigger is Trigger.CRASHED:
        server.record = replace(record, n=0, completed=True, last_error="")
        server.event("Completed", "it exited with 0, and its restart policy asks for no more")
    elif policy.policy == "Never" or is_exhausted(policy, n):
        server.record = replace(record, failed=Stamp.of(server.now), failed_files=server.gate.identity)
        server.event("Failed", gave_up(policy.max_restarts, policy.policy, error), warning=True)
    else:
        server.record = record
        server.event("Crashed", f"{error}; restart {n} of {policy.max_restarts}", warning=True)


def adopt(server: Server) -> None:
    """Take over live leaders that the rows do not know; of several, one. What is left of one that ended is none."""
    leaders = [
        process
        for process in server.processes
        if process.leader and process.alive and process.is_launched and process.uid != server.record.ended_uid
    ]
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
    if server.record.starved is not None:
        server.record = replace(server.record, starved=None, starved_times=0, starved_why="")
    swept = server.sweep([process for process in server.processes if process.alive and process.uid != instance.uid])
    for process in swept:
        if process in leaders:
            server.event("Superfluous", f"pid {process.identity.pid} is a second instance: killed", warning=True)


def _fits(server: Server, process: Process) -> bool:
    return server.wanted is not None and process.fingerprint == server.wanted.fingerprint
