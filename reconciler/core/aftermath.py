"""What follows from an end that counts: a safer setting, a restart, a wait for the world, or none."""

from dataclasses import replace

from reconciler.core.backoff import LEAST_FROM_GIT, backoff_delay, is_exhausted
from reconciler.core.causes import Cause, Mends, cause_of
from reconciler.core.fallback import ladder_of, last_ready_step, led_to, noted, off_the_ladder, step_of
from reconciler.core.history import Instance, ServerRecord, Stamp, Trigger
from reconciler.core.ladder import Step, next_step
from reconciler.core.model import Exit
from reconciler.core.server import Server


def gave_up(max_restarts: int, policy: str, error: str, cause: str = "") -> str:
    """What people are told of a server that is Failed."""
    if policy == "Never":
        return f"not restarted (policy Never): {error}"
    if cause_of(cause).mends is Mends.EDIT:
        return f"no restart mends this: {error}"
    return f"gave up after {max_restarts} restarts: {error}"


def follow(server: Server, ended: Instance, error: str, trigger: Trigger) -> None:
    """Decide what comes after an end that nobody asked for, or that was a failure."""
    assert server.wanted is not None
    policy, exit_ = server.wanted.spec.restart, ended.exit or Exit()
    server.record = _remembered(server, ended, error, trigger)
    if exit_.code == 0 and policy.policy != "Always" and trigger is Trigger.CRASHED:
        server.record = replace(server.record, n=0, completed=True, last_error="", last_cause="")
        server.event("Completed", "it exited with 0, and its restart policy asks for no more")
    elif policy.policy == "Never":
        _give_up(server)
    elif (back := last_ready_step(server)) and not ended.step:
        server.record = replace(server.record, primary_tries=server.record.primary_tries + 1)
        _fall_back(server, back, f"what was asked for did not run: {error}")
    elif step := _answer(server, ended):
        _fall_back(server, step, error)
    else:
        _without_a_step(server, ended)


def _remembered(server: Server, ended: Instance, error: str, trigger: Trigger) -> ServerRecord:
    assert server.wanted is not None
    was_stable = _was_stable(server, ended)
    record = off_the_ladder(server.record) if was_stable and not ended.step else server.record
    return replace(
        noted(record, server.wanted, ended, ended.diagnosis),
        n=0 if was_stable else record.n,
        ended=Stamp.of(server.now),
        delay=0.0,
        next_trigger=trigger,
        was_ready=ended.first_ready is not None,
        last_error=error,
        last_cause=ended.diagnosis,
    )


def _was_stable(server: Server, ended: Instance) -> bool:
    assert server.wanted is not None
    window = server.wanted.spec.restart.stability_window
    return ended.ready is not None and ended.ready.age(server.now) >= window


# ---------------------------------------------------------------- a safer setting


def _answer(server: Server, ended: Instance) -> Step | None:
    """The next step that answers the cause. Where a step's own setting is at fault, the cause that led to it stands."""
    assert server.wanted is not None
    cause = ended.diagnosis
    if _is_fault_of_step(ended, cause_of(cause)) and (before := led_to(server.record, ended.step)):
        cause = before.result
        server.record = replace(server.record, last_cause=cause)
    tried = frozenset(one.step for one in server.record.tried)
    return next_step(ladder_of(server), server.wanted.spec, step_of(ended), cause, tried)


def _is_fault_of_step(ended: Instance, cause: Cause) -> bool:
    if not ended.step:
        return False
    return cause.mends is Mends.EDIT or (
        "model" in ended.changes and cause.name in ("ModelMissing", "PermissionDenied")
    )


def _fall_back(server: Server, step: Step, error: str) -> None:
    """The step starts at once, and no restart is counted."""
    server.record = replace(server.record, step=step.number, next_trigger=Trigger.FALLBACK, starved=None)
    server.event("Fallback", f"{error}; it is tried with {step.told}", warning=True)


# ---------------------------------------------------------------- no safer setting


def _without_a_step(server: Server, ended: Instance) -> None:
    mends, of_step = cause_of(ended.diagnosis).mends, _is_fault_of_step(ended, cause_of(ended.diagnosis))
    if mends is Mends.WORLD and not of_step:
        _wait_for_the_world(server, ended)
    elif mends is Mends.EDIT and not of_step:
        _give_up(server)
    else:
        _count(server)


def _wait_for_the_world(server: Server, ended: Instance) -> None:
    """Only a try tells when the cause is gone, unless its file or port is seen to change."""
    record = server.record
    server.record = replace(
        record,
        starved=record.ended,
        starved_times=record.starved_times + 1,
        starved_why=f"{record.last_error}; it is tried again by itself",
        starved_reason=ended.diagnosis,
        failed_files=server.gate.identity,
        ended=None,
    )


def _count(server: Server) -> None:
    """One more of the restarts in a row: on the step that was Ready last, or else all over again."""
    assert server.wanted is not None
    policy, back = server.wanted.spec.restart, last_ready_step(server)
    n = server.record.n + 1
    delay = max(backoff_delay(policy, n), LEAST_FROM_GIT if server.is_from_git else 0.0)
    server.record = replace(server.record, n=n, delay=delay, step=back.number if back else 0, starved=None)
    if is_exhausted(policy, n):
        _give_up(server)
    else:
        error = server.record.last_error
        server.event("Crashed", f"{error}; restart {n} of {policy.max_restarts}", warning=True)


def _give_up(server: Server) -> None:
    assert server.wanted is not None
    policy, record = server.wanted.spec.restart, server.record
    server.record = replace(record, failed=Stamp.of(server.now), failed_files=server.gate.identity, starved=None)
    why = gave_up(policy.max_restarts, policy.policy, record.last_error, record.last_cause)
    server.event("Failed", why, warning=True)
