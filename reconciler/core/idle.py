"""A server without a live instance: why it rests, and when it starts."""

from dataclasses import replace

from reconciler.core.actions import FinishRequest, Forget
from reconciler.core.ends import gave_up
from reconciler.core.first_starts import is_first_start
from reconciler.core.history import Stamp, StopReason, Trigger
from reconciler.core.model import Phase, Process
from reconciler.core.server import NO_CONTROLLER, Server
from reconciler.core.strangers import ignore_adopt_request

WITH_CONTROLLER = 0
"""In place of a stop request's id: not asked for by a person, but by `run --on-exit stop`."""
WAITS = "waiting for leftover processes to end"
STUCK = "SIGKILL does not end them"
MOST_SHOWN = 8
"""Leftover processes that are named."""
LEAST_PAUSE, MOST_PAUSE = 0.5, 10.0
"""Seconds before a start is tried again for which the machine had no room: the first and the longest pause."""
MOST_DOUBLINGS = 8


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
        starved=None,
        starved_times=0,
        starved_why="",
    )
    ignore_adopt_request(server, f"it is {reason}: {message}")
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
    if server.adopt_request is not None:
        # Whoever is there is asked for now, whatever became of earlier starts.
        server.record = replace(server.record, n=0, ended=None, delay=0.0, failed=None, completed=False)
    if server.record.completed:
        server.show(
            Phase.STOPPED, "Completed", f"it exited with 0; run it again with: reconciler restart {server.name}"
        )
        return
    if server.record.failed is not None and not _may_retry(server, server.record.failed):
        return
    if _is_backing_off(server) or _is_starved(server):
        return
    if server.in_scope:
        server.claim = "start"
    else:
        server.show(Phase.PENDING, "NoController", NO_CONTROLLER)


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
    why = gave_up(policy.max_restarts, policy.policy, record.last_error)
    server.show(Phase.FAILED, "RestartsExhausted", f"{why}; try again with: reconciler restart {server.name}")
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


def _is_starved(server: Server) -> bool:
    """Whether the machine had no room a moment ago: neither the manifest nor the server can help that."""
    record = server.record
    if record.starved is None or record.starved.boot != server.now.boot:
        return False
    pause = min(LEAST_PAUSE * 2 ** min(record.starved_times - 1, MOST_DOUBLINGS), MOST_PAUSE)
    due = record.starved.after(pause)
    if server.now.monotonic >= due:
        return False
    server.wake(due)
    server.show(Phase.BLOCKED, record.starved_reason, record.starved_why)
    return True
