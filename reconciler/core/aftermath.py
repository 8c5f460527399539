"""What follows from an end that counts: a safer setting, a restart, a wait for the world, or none."""

from dataclasses import replace

from reconciler.core.backoff import LEAST_FROM_GIT, backoff_delay, is_exhausted
from reconciler.core.causes import Cause, Mends, cause_of
from reconciler.core.fallback import (
    gate_on,
    is_barred,
    ladder_of,
    last_ready_step,
    led_to,
    noted,
    off_the_ladder,
    stable_after,
    step_of,
)
from reconciler.core.history import Instance, ServerRecord, Stamp, Tried, Trigger
from reconciler.core.ladder import NAMES_FILES, Step, next_step
from reconciler.core.model import Exit, Wanted
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
        failed_times=0 if was_stable else record.failed_times,
        ended=Stamp.of(server.now),
        delay=0.0,
        next_trigger=trigger,
        was_ready=ended.first_ready is not None,
        last_error=error,
        last_cause=ended.diagnosis,
    )


def _was_stable(server: Server, ended: Instance) -> bool:
    assert server.wanted is not None
    after = stable_after(server.wanted.spec.restart, server.record, ended)
    return ended.ready is not None and ended.ready.age(server.now) >= after


# ---------------------------------------------------------------- a safer setting


def _answer(server: Server, ended: Instance) -> Step | None:
    """The next step that answers the cause, or one before it that the step did not mend either."""
    for cause in _open_causes(server, ended):
        if step := _next_that_may_start(server, ended, cause):
            server.record = replace(server.record, last_cause=cause)
            return step
    if _is_fault_of_step(ended, cause_of(ended.diagnosis)) and (before := led_to(server, ended.step)):
        server.record = replace(server.record, last_cause=before.result)
    return None


def _open_causes(server: Server, ended: Instance) -> list[str]:
    """What has to be answered, the newest first: a step that was never Ready has mended nothing of what led to it."""
    cause, record = cause_of(ended.diagnosis), server.record
    before = [one.result for one in reversed(record.tried) if one.step < ended.step and one.result]
    if _is_fault_of_step(ended, cause):
        return before
    was_ready = ended.first_ready is not None or record.ready_step == ended.step
    return [ended.diagnosis] if was_ready or cause.mends is Mends.WORLD else [ended.diagnosis, *before]


def _next_that_may_start(server: Server, ended: Instance, cause: str) -> Step | None:
    assert server.wanted is not None
    while step := _next(server, server.wanted, ended, cause):
        shut, is_open_for_it = gate_on(server, step), not gate_on(server, step_of(ended)).reason
        if not is_barred(server, step) and not (shut.reason and is_open_for_it):
            return step
        tried = (*server.record.tried, Tried(step.number, step.told, shut.reason, shut.message))
        server.record = replace(server.record, tried=tried)
    return None


def _next(server: Server, wanted: Wanted, ended: Instance, cause: str) -> Step | None:
    tried = frozenset(one.step for one in server.record.tried)
    return next_step(ladder_of(server), wanted.spec, step_of(ended), cause, tried)


def _is_fault_of_step(ended: Instance, cause: Cause) -> bool:
    """Whether the step's own setting did it: its flags, or a file that it names."""
    if not ended.step:
        return False
    names_files = not NAMES_FILES.isdisjoint(ended.changes)
    return cause.mends is Mends.EDIT or (names_files and cause.name in ("ModelMissing", "PermissionDenied"))


def _fall_back(server: Server, step: Step, error: str) -> None:
    """The step starts at once, and no restart is counted."""
    server.record = replace(server.record, step=step.number, next_trigger=Trigger.FALLBACK, starved=None)
    server.event("Fallback", f"{error}; it is tried with {step.told}", warning=True)


# ---------------------------------------------------------------- no safer setting


def _without_a_step(server: Server, ended: Instance) -> None:
    mends, of_step = cause_of(ended.diagnosis).mends, _is_fault_of_step(ended, cause_of(ended.diagnosis))
    if mends is Mends.WORLD and not of_step and ended.first_ready is None:
        _wait_for_the_world(server, ended)
    elif mends is Mends.EDIT and not of_step and not _has_read_others(server):
        _give_up(server)
    else:
        _count(server)


def _has_read_others(server: Server) -> bool:
    """Whether its files were others when it was started: those that are there now may be whole."""
    began, now = server.record.files, server.gate.identity
    return bool(began and now) and began != now


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
        next_trigger=Trigger.UNBLOCKED,
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
    files = server.gate.identity or record.files
    server.record = replace(record, failed=Stamp.of(server.now), failed_files=files, starved=None)
    why = gave_up(policy.max_restarts, policy.policy, record.last_error, record.last_cause)
    server.event("Failed", why, warning=True)
