"""Where a server stands on its fallback ladder: what is remembered, and when it goes back to what was asked for."""

from dataclasses import replace

from reconciler.core.causes import Mends, cause_of
from reconciler.core.history import Instance, ServerRecord, Tried
from reconciler.core.ladder import PRIMARY, Step, steps, told_of
from reconciler.core.model import Limits, Wanted
from reconciler.core.server import Server
from reconciler.core.spec import Restart, dump_spec

LONGEST_PAUSE = 86400.0
"""Seconds to which the pauses double before what was asked for is tried again."""
MOST_DOUBLINGS = 32


def ladder_of(server: Server) -> tuple[Step, ...]:
    """The server's safer settings, in the order of trying."""
    if server.wanted is None:
        return ()
    limits, gate = server.limits, server.gate
    return steps(
        server.wanted.spec, limits.fallback, trained=gate.trained, layers=gate.layers, cpu_only=limits.cpu_only
    )


def step_to_start(server: Server) -> Step:
    """What the next start is made with: a step, where one is due and the ladder still has it."""
    return _numbered(server, server.record.step) or replace(PRIMARY, hides_gpus=server.limits.cpu_only)


def last_ready_step(server: Server) -> Step | None:
    """The last step that was Ready."""
    return _numbered(server, server.record.ready_step)


def _numbered(server: Server, number: int) -> Step | None:
    found = ladder_of(server) if number else ()
    return next((step for step in found if step.number == number), None)


def step_of(instance: Instance) -> Step:
    """What an instance was started with."""
    return Step(instance.step, instance.step_told, instance.changes, instance.hides_gpus)


def off_the_ladder(record: ServerRecord) -> ServerRecord:
    """Nothing of earlier tries counts any more: what was asked for is tried next."""
    return replace(record, step=0, tried=(), ready_step=0, primary_tries=0, last_cause="")


def noted(record: ServerRecord, wanted: Wanted, instance: Instance, result: str = "") -> ServerRecord:
    """With what came of the instance's try: the cause of its end, or none while it runs."""
    began, ready = instance.intent, instance.first_ready
    took = ready.monotonic - began.monotonic if ready and ready.boot == began.boot else None
    told = instance.step_told or (f"step {instance.step}" if instance.step else told_of(wanted.spec))
    others = tuple(one for one in record.tried if one.step != instance.step)
    evidence = instance.evidence if result else ""
    return replace(record, tried=(*others, Tried(instance.step, told, result, evidence, took)))


def led_to(record: ServerRecord, step: int) -> Tried | None:
    """The try whose end led to a step: the last before it, but for those whose own setting was at fault."""
    ended = [one for one in reversed(record.tried) if one.step < step and one.result]
    return next((one for one in ended if cause_of(one.result).mends is Mends.RETRY), next(iter(ended), None))


def is_on_trial(record: ServerRecord, instance: Instance) -> bool:
    """Whether it has still to show that it is stable before earlier failures are forgotten."""
    tried_again = not instance.step and bool(record.ready_step or record.primary_tries)
    return bool(record.n) or tried_again


def is_as_declared(instance: Instance, wanted: Wanted, limits: Limits) -> bool:
    """Whether what runs need not be replaced. A fallback step is no drift, until the document says something else."""
    if instance.fingerprint != wanted.fingerprint:
        return False
    by_itself = instance.step > 0 and instance.changes.get("gpuLayers") == 0
    if not by_itself and instance.hides_gpus != limits.cpu_only:
        return False
    is_old = instance.step > 0 and instance.generation != wanted.document.generation
    return not is_old or dict(instance.spec) == dump_spec(wanted.spec)


def primary_due(restart: Restart, record: ServerRecord, instance: Instance) -> float | None:
    """Monotonic time from which what was asked for is tried again beside a step that runs; None: never by itself."""
    after = restart.retry_primary_after
    if not after or not instance.step or instance.ready is None or restart.policy == "Never":
        return None
    pause = after * 2.0 ** min(record.primary_tries, MOST_DOUBLINGS)
    return instance.ready.after(min(pause, max(after, LONGEST_PAUSE)))
