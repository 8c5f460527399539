"""Where a server stands on its fallback ladder: what is remembered, and when it goes back to what was asked for."""

from dataclasses import replace

from reconciler.core.history import Instance, ServerRecord, Tried
from reconciler.core.ladder import EASED, PRIMARY, Step, steps, told_of
from reconciler.core.model import GateFacts, Limits, Wanted
from reconciler.core.server import NOT_LOOKED, Server
from reconciler.core.spec import Restart, dump_spec

LONGEST_PAUSE = 86400.0
"""Seconds to which the pauses double before what was asked for is tried again."""
LEAST_HELD = 600.0
"""Seconds of Ready for which it has to hold then, at least, before those pauses begin anew."""
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
    """The last step that was Ready, unless it could not be started now."""
    step = _numbered(server, server.record.ready_step)
    return None if step is not None and is_barred(server, step) else step


def gate_on(server: Server, step: Step) -> GateFacts:
    """What was seen of the things that a start on a step needs: its files and flags may be its own."""
    gate, own = server.gate, server.gate.on_steps.get(step.number)
    return gate if own is None else replace(gate, reason=own.reason, message=own.message, retry_at=own.retry_at)


def is_barred(server: Server, step: Step) -> bool:
    """Whether something is missing that only this step needs."""
    gate, own = server.gate, gate_on(server, step)
    return own.reason not in ("", NOT_LOOKED.reason) and (own.reason, own.message) != (gate.reason, gate.message)


def _numbered(server: Server, number: int) -> Step | None:
    found = ladder_of(server) if number else ()
    return next((step for step in found if step.number == number), None)


def step_of(instance: Instance) -> Step:
    """What an instance was started with."""
    return Step(instance.step, instance.step_told, instance.changes, instance.hides_gpus)


def off_the_ladder(record: ServerRecord) -> ServerRecord:
    """Nothing of earlier tries counts any more: what was asked for is tried next."""
    return replace(record, step=0, tried=(), ready_step=0, primary_tries=0, failed_times=0, last_cause="")


def noted(record: ServerRecord, wanted: Wanted, instance: Instance, result: str = "") -> ServerRecord:
    """With what came of the instance's try: the cause of its end, or none while it runs."""
    began, ready = instance.intent, instance.first_ready
    took = ready.monotonic - began.monotonic if ready and ready.boot == began.boot else None
    told = instance.step_told or (f"step {instance.step}" if instance.step else told_of(wanted.spec))
    others = tuple(one for one in record.tried if one.step != instance.step)
    evidence = instance.evidence if result else ""
    return replace(record, tried=(*others, Tried(instance.step, told, result, evidence, took)))


def led_to(server: Server, step: int) -> Tried | None:
    """The try whose end led to a step: the last before it that ended by a cause which the step answers."""
    answered = next((one.on for one in ladder_of(server) if one.number == step), EASED)
    ended = [one for one in reversed(server.record.tried) if one.step < step and one.result]
    return next((one for one in ended if one.result in answered), ended[-1] if ended else None)


def is_on_trial(record: ServerRecord, instance: Instance) -> bool:
    """Whether it has still to show that it is stable before earlier failures are forgotten."""
    return bool(record.n or record.failed_times) or _is_tried_again(record, instance)


def _is_tried_again(record: ServerRecord, instance: Instance) -> bool:
    return not instance.step and bool(record.ready_step or record.primary_tries)


def stable_after(restart: Restart, record: ServerRecord, instance: Instance) -> float:
    """Seconds of Ready after which earlier failures are forgotten.

    What was asked for, tried again in place of a step, has to hold for as long as that was waited for: else it would
    come and go for ever.
    """
    window = restart.stability_window
    return max(window, LEAST_HELD, _pause(restart, record)) if _is_tried_again(record, instance) else window


def is_as_declared(instance: Instance, wanted: Wanted, limits: Limits) -> bool:
    """Whether what runs need not be replaced."""
    return is_of_its_spec(instance, wanted) and _may_have_its_gpus(instance, wanted, limits)


def is_of_its_spec(instance: Instance, wanted: Wanted) -> bool:
    """Whether it is what its document says. A fallback step is no drift, until the document says something else."""
    if instance.fingerprint != wanted.fingerprint:
        return False
    is_old = instance.step > 0 and instance.generation != wanted.document.generation
    return not is_old or dict(instance.spec) == dump_spec(wanted.spec)


def _may_have_its_gpus(instance: Instance, wanted: Wanted, limits: Limits) -> bool:
    """Whether the GPUs are hidden from it, or not, as `cpu_only` says, or that makes no difference."""
    if instance.adopted:  # as it runs, until there is another reason to replace it
        return True
    if instance.hides_gpus == limits.cpu_only or instance.changes.get("gpuLayers") == 0:
        return True
    # Where there are GPUs it has a context on them, even without layers there.
    return wanted.spec.gpu_layers == 0 and not instance.step and not limits.has_gpus


def primary_due(restart: Restart, record: ServerRecord, instance: Instance) -> float | None:
    """Monotonic time from which what was asked for is tried again beside a step that runs; None: never by itself."""
    after = restart.retry_primary_after
    if not after or not instance.step or instance.ready is None or restart.policy == "Never":
        return None
    return instance.ready.after(_pause(restart, record))


def _pause(restart: Restart, record: ServerRecord) -> float:
    """Seconds of a step before what was asked for is tried again."""
    after = restart.retry_primary_after
    return min(after * 2.0 ** min(record.primary_tries, MOST_DOUBLINGS), max(after, LONGEST_PAUSE))
