"""With what a start that is due can be made: the gate may be shut for what was asked for, and open for a step."""

from dataclasses import replace

from reconciler.core.fallback import gate_on, is_barred, ladder_of, last_ready_step, step_to_start
from reconciler.core.history import StopReason, Tried, Trigger
from reconciler.core.ladder import PRIMARY, Step, told_of
from reconciler.core.model import GateFacts
from reconciler.core.server import NOT_LOOKED, Server


def choose_start(server: Server) -> None:
    """Hold the gate against what is to start, which is another setting where only that one can be started."""
    if server.claim == "replace":
        if server.replace_reason is StopReason.RESTART_REQUESTED and server.primary_request is None:
            server.gate = gate_on(server, step_to_start(server))
    elif server.claim == "start":
        due = step_to_start(server)
        if due.number and is_barred(server, due) and not server.gate.reason:
            server.record = replace(server.record, step=0, tried=())
            due = PRIMARY
        shut = gate_on(server, due)
        if shut.reason and (instead := _instead(server, due)):
            _note(server, due, instead, server.gate)
            shut = gate_on(server, instead)
        server.gate = shut


def _instead(server: Server, due: Step) -> Step | None:
    """A step that can be started while what is due cannot: one that ran, or that says that it answers this.

    None that was tried since what was asked for was last due: it would be tried for ever.
    """
    assert server.wanted is not None
    reason, record = server.gate.reason, server.record
    if reason in ("", NOT_LOOKED.reason) or server.gate.for_leaving or server.wanted.spec.restart.policy == "Never":
        return None
    back = last_ready_step(server)
    if back is not None and record.next_trigger is Trigger.PRIMARY_RETRIED and not gate_on(server, back).reason:
        return back
    tried = {one.step for one in record.tried} if due.number else set()
    answers = (step for step in ladder_of(server) if reason in step.on and step.number not in tried)
    return next((step for step in answers if not gate_on(server, step).reason), None)


def _note(server: Server, due: Step, step: Step, shut: GateFacts) -> None:
    assert server.wanted is not None
    record, error = server.record, f"{shut.reason}: {shut.message}"
    before = tuple(one for one in record.tried if one.step != due.number) if due.number else ()
    told = due.told or told_of(server.wanted.spec)
    is_retry = record.next_trigger is Trigger.PRIMARY_RETRIED
    server.record = replace(
        record,
        step=step.number,
        tried=(*before, Tried(due.number, told, shut.reason, shut.message)),
        next_trigger=Trigger.FALLBACK if is_retry else record.next_trigger,
        primary_tries=record.primary_tries + is_retry,
        last_error=error,
        last_cause=shut.reason,
    )
    server.event("Fallback", f"{error}; it is tried with {step.told}", warning=True)
