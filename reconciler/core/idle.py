"""A server without a live instance: why it rests, and when it starts."""

from dataclasses import replace

from reconciler.core.actions import Forget
from reconciler.core.aftermath import gave_up
from reconciler.core.causes import CAUSES, Mends, cause_of
from reconciler.core.fallback import off_the_ladder
from reconciler.core.first_starts import is_first_start
from reconciler.core.history import Stamp, StopReason, Trigger
from reconciler.core.model import Phase, Process
from reconciler.core.server import NO_CONTROLLER, NOT_LOOKED, Server
from reconciler.core.strangers import ignore_adopt_request

WITH_CONTROLLER = 0
"""In place of a stop request's id: not asked for by a person, but by `run --on-exit stop`."""
WAITS = "waiting for leftover processes to end"
STUCK = "SIGKILL does not end them"
MOST_SHOWN = 8
"""Leftover processes that are named."""
LEAST_PAUSE, MOST_PAUSE = 0.5, 10.0
"""Seconds before a start is tried again for which the machine had no room: the first and the longest pause."""
MOST_PAUSE_OF_WORLD = 30.0
"""The longest pause where something outside the manifest must change, and only a try tells whether it has."""
MOST_PAUSE_OF_FAILED = 3600.0
"""Seconds to which the pauses of one grow that fails with all its fallback steps each time."""
MOST_DOUBLINGS = 16


def plan_idle(server: Server) -> None:
    """Let it rest, wait, or claim a start."""
    leftovers = [process for process in server.processes if process.alive]
    if leftovers:
        _wait_for(server, leftovers)
        return
    server.sweep([])
    if server.wanted is None:
        _plan_unwanted(server)
    elif server.wanted.spec.suspend:
        _rest(server, "Suspended", "suspended by its manifest")
    elif server.wanted.parked:
        _rest(server, str(StopReason.PARKED), server.wanted.parked)
    elif server.stop_request == WITH_CONTROLLER:
        _rest(server, "ControllerEnded", "stopped with its controller; go on with: reconciler run")
    elif server.stop_request is not None:
        _rest(server, "StopRequested", f"stopped by request; start it with: reconciler start {server.name}")
    elif server.waits and is_first_start(server.record):
        # A restart that was asked for waits too: begun now, it would run beside those that are to leave.
        server.show(*server.waits)
    else:
        _plan_start(server)


def _wait_for(server: Server, leftovers: list[Process]) -> None:
    """None that bears the mark may run beside the next instance: it would hold its port, or the GPU's memory."""
    server.sweep(leftovers)
    pids = ",".join(str(pid) for pid in sorted(process.identity.pid for process in leftovers)[:MOST_SHOWN])
    if server.resists:
        message = f"{WAITS} (pid {pids}): {STUCK}; see what they wait for: ps -o pid,stat,wchan:32,args -p {pids}"
    else:
        message = f"{WAITS} (pid {pids})"
    server.show(Phase.PENDING, "WaitingForLeftovers", message)


def _plan_unwanted(server: Server) -> None:
    if server.invalid:
        server.show(Phase.INVALID, server.invalid[0].reason, str(server.invalid[0]))
        return
    server.forgotten = True
    server.actions.append(Forget(server.name))
    if server.saved is not None and server.saved.generation:
        server.event("Removed", "its document is gone, and nothing of it runs")
    server.finish_restart()


def _rest(server: Server, reason: str, message: str) -> None:
    server.record = replace(
        off_the_ladder(server.record),
        n=0,
        ended=None,
        delay=0.0,
        failed=None,
        completed=False,
        next_trigger=Trigger.RESUMED if server.record.generation else None,
        last_error="",
        starved=None,
        starved_times=0,
        starved_why="",
    )
    ignore_adopt_request(server, f"it is {reason}: {message}")
    if server.is_to_restart:
        server.finish_restart()
        server.event("RestartIgnored", f"a restart was asked for, but it is {reason}: {message}", warning=True)
    server.show(Phase.STOPPED, reason, message)


def _plan_start(server: Server) -> None:
    if server.is_to_restart:
        server.finish_restart()
        anew = server.primary_request is not None or server.record.failed is not None
        record = off_the_ladder(server.record) if anew else server.record
        server.record = replace(
            record, n=0, ended=None, delay=0.0, failed=None, completed=False, starved=None, starved_times=0
        )
        server.record = replace(server.record, next_trigger=Trigger.REQUESTED)
    if server.adopt_request is not None:
        # Whoever is there is asked for now, whatever became of earlier starts.
        record = off_the_ladder(replace(server.record, n=0, ended=None, delay=0.0, failed=None, completed=False))
        server.record = record if is_first_start(record) else replace(record, next_trigger=Trigger.REQUESTED)
    if server.record.completed:
        server.show(
            Phase.STOPPED, "Completed", f"it exited with 0; run it again with: reconciler restart {server.name}"
        )
        return
    if server.record.failed is not None and not _may_retry(server, server.record.failed):
        return
    # Who holds the port is seen at the start: once that one is gone, nothing is waited for.
    if _is_backing_off(server) or (server.record.starved_reason != "PortInUse" and is_starved(server)):
        return
    if server.in_scope:
        server.claim = "start"
    else:
        server.show(Phase.PENDING, "NoController", NO_CONTROLLER)


def _may_retry(server: Server, failed: Stamp) -> bool:
    """Another boot, other files, or enough time where that can help: a Failed server is tried again, as asked for."""
    assert server.wanted is not None
    policy, record = server.wanted.spec.restart, server.record
    if failed.boot != server.now.boot or _has_other_files(server):
        record = replace(server.record, failed=None, ended=None, n=0, delay=0.0, next_trigger=Trigger.RETRIED)
        server.record = off_the_ladder(record)
        return True
    times = record.failed_times if any(one.step for one in record.tried) else -1
    due = failed.after(_pause_of_failed(policy.retry_failed_after, times))
    needs_edit = cause_of(record.last_cause).mends is Mends.EDIT
    retries = policy.retry_failed_after > 0 and policy.policy != "Never" and not needs_edit
    if retries and server.now.monotonic >= due:
        # One try only: the budget stays used up, so that a hopeless server does not load four times in a row.
        kept = min(record.n, policy.max_restarts)
        record = replace(record, failed=None, ended=None, n=kept, delay=0.0, next_trigger=Trigger.RETRIED)
        server.record = replace(off_the_ladder(record), failed_times=times + 1)
        return True
    if retries:
        server.wake(due)
    _show_failed(server, needs_edit=needs_edit)
    return False


def _pause_of_failed(first: float, times: int) -> float:
    """Seconds until a Failed server is tried again: ever more where a try is a whole ladder."""
    return min(first * 2.0 ** min(max(times, 0), MOST_DOUBLINGS), max(first, MOST_PAUSE_OF_FAILED))


def _has_other_files(server: Server) -> bool:
    """Whether its files are others than when it failed, or was kept from running."""
    identity = server.gate.identity
    if server.gate.reason == NOT_LOOKED.reason:
        return False  # what the flags come to is not known yet
    if identity and not server.record.failed_files:
        server.record = replace(server.record, failed_files=identity)
    return bool(identity) and identity != server.record.failed_files


def _show_failed(server: Server, *, needs_edit: bool) -> None:
    assert server.wanted is not None
    policy, record = server.wanted.spec.restart, server.record
    why = gave_up(policy.max_restarts, policy.policy, record.last_error, record.last_cause)
    again = f"try again with: reconciler restart {server.name}"
    if needs_edit and policy.policy != "Never":
        again = "it is tried again once its manifest or its files change"
    server.show(Phase.FAILED, record.last_cause or "RestartsExhausted", f"{why}; {again}")


def _is_backing_off(server: Server) -> bool:
    assert server.wanted is not None
    record = server.record
    if record.ended is None:
        return False
    if record.ended.boot != server.now.boot:
        server.record = off_the_ladder(replace(record, ended=None))
        return False
    due = record.ended.after(record.delay)
    if server.now.monotonic >= due:
        return False
    server.wake(due)
    most = server.wanted.spec.restart.max_restarts
    server.show(Phase.BACKOFF, "BackOff", f"{record.last_error}; restart {record.n} of {most} after {record.delay:g} s")
    return True


def is_starved(server: Server) -> bool:
    """Whether a moment ago the machine had no room, or the world was not such that a start could go well."""
    record = server.record
    if record.starved is None or record.starved.boot != server.now.boot:
        return False
    of_world = record.starved_reason in CAUSES
    if of_world and _has_other_files(server):
        server.record = replace(record, starved=None, starved_times=0)
        return False
    most = MOST_PAUSE_OF_WORLD if of_world else MOST_PAUSE
    due = record.starved.after(min(LEAST_PAUSE * 2 ** min(record.starved_times - 1, MOST_DOUBLINGS), most))
    if server.now.monotonic >= due:
        return False
    server.wake(due)
    server.show(Phase.BLOCKED, record.starved_reason, record.starved_why)
    return True
