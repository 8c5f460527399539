"""What ended, and why: failures are counted, wishes are not. What runs unknown to the rows is taken over."""

from dataclasses import replace

from reconciler.core.actions import Withdraw
from reconciler.core.aftermath import follow
from reconciler.core.causes import CAUSES
from reconciler.core.fallback import is_of_its_spec, ladder_of, off_the_ladder
from reconciler.core.history import Instance, ServerRecord, Stamp, StopReason, Trigger
from reconciler.core.ladder import as_marked
from reconciler.core.model import Exit, Process
from reconciler.core.server import UNASKED, Server

KEPT_LINES = 20
"""Log lines kept with each end."""
STARVED = "ResourcesExhausted"
"""Diagnosis of an intent for whose process the machine had no room."""
UNBEGUN = frozenset({STARVED, "LogUnwritable"})
"""Diagnoses of intents of which nothing came, for a reason that lies neither in the manifest nor in the server."""


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
        record = replace(server.record, n=0, ended=None, delay=0.0, next_trigger=Trigger.REBOOTED)
        server.record = off_the_ladder(record)
        return
    if instance.diagnosis and instance.identity is None and process is None:
        server.save_instance(ended)
        if server.wanted is not None:
            follow(server, ended, f"{instance.diagnosis}: {instance.evidence}", Trigger.CRASHED)
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
        diagnosis, evidence = ended.verdict or str(ended.stop_reason), ended.evidence
    tail = "\n".join(process.log_tail.splitlines()[-KEPT_LINES:]) if process else ""
    ended = replace(ended, exit=exit_, diagnosis=diagnosis, evidence=evidence, log_tail=tail)
    server.save_instance(ended)
    how = "ended by the controller" if stopped_by_us else str(exit_)
    error = ": ".join(part for part in (how, diagnosis, evidence) if part)
    if ended.stop_reason is not None and not ended.stop_reason.is_failure:
        server.event("Stopped", f"instance {ended.uid} ended ({exit_}): {ended.stop_reason}")
        record = _after_wish(server.record, ended.stop_reason)
        is_of_it = server.wanted is None or is_of_its_spec(ended, server.wanted)
        server.record = record if is_of_it else off_the_ladder(record)
    elif server.wanted is not None and not is_of_its_spec(ended, server.wanted):
        server.event("Crashed", f"{error}; it starts again as declared now", warning=True)
        record = replace(server.record, n=0, next_trigger=Trigger.SPEC_CHANGED, last_error=error)
        server.record = off_the_ladder(record)
    elif server.wanted is not None:
        follow(server, ended, error, Trigger.UNRESPONSIVE if stopped_by_us else Trigger.CRASHED)


def _after_wish(record: ServerRecord, reason: StopReason) -> ServerRecord:
    record = replace(record, next_trigger=_trigger_after(reason))
    if reason is StopReason.RESTART_REQUESTED:
        return record
    if reason is StopReason.PRIMARY_RETRIED:
        return replace(record, step=0, tried=())
    return off_the_ladder(replace(record, n=0))


def _trigger_after(reason: StopReason) -> Trigger:
    if reason is StopReason.PRIMARY_RETRIED:
        return Trigger.PRIMARY_RETRIED
    if reason is StopReason.CPU_ONLY:
        return Trigger.CPU_ONLY
    if reason is StopReason.RESTART_REQUESTED:
        return Trigger.REQUESTED
    if reason in (StopReason.SUSPENDED, StopReason.PARKED, StopReason.STOP_REQUESTED):
        return Trigger.RESUMED
    return Trigger.SPEC_CHANGED


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
        server.save_instance(_found_running(server, chosen))
        server.record = replace(server.record, failed=None, completed=False, step=chosen.step)
        server.event("Adopted", f"found running as pid {chosen.identity.pid}, instance {chosen.uid}")
    instance, process = server.instance, server.process
    if instance is None or process is None:
        return
    if instance.identity is None:
        server.save_instance(replace(instance, identity=process.identity))
    if server.record.starved is not None and server.record.starved_reason not in CAUSES:
        server.record = replace(server.record, starved=None, starved_times=0, starved_why="")
    swept = server.sweep([process for process in server.processes if process.alive and process.uid != instance.uid])
    for process in swept:
        if process in leaders:
            server.event("Superfluous", f"pid {process.identity.pid} is a second instance: killed", warning=True)


def _found_running(server: Server, process: Process) -> Instance:
    """The row of one that the rows do not know. Its step is what its mark says, for the ladder may be another today."""
    marked = as_marked(process.step, process.step_told, process.changes, hides_gpus=process.hides_gpus)
    step = marked or next((step for step in ladder_of(server) if step.number == process.step), None)
    return Instance(
        uid=process.uid,
        server=server.name,
        fingerprint=process.fingerprint,
        generation=server.wanted.document.generation if server.wanted and _fits(server, process) else 0,
        port=process.port,
        intent=Stamp.of(server.now),
        trigger=Trigger.ADOPTED,
        identity=process.identity,
        step=process.step,
        step_told=step.told if step else "",
        changes=step.changes if step else {},
        hides_gpus=process.hides_gpus,
    )


def _fits(server: Server, process: Process) -> bool:
    return server.wanted is not None and process.fingerprint == server.wanted.fingerprint
