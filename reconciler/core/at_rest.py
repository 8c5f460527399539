"""Which servers need no planning: the shortcut for the many that are Ready and as declared."""

from reconciler.core.fallback import is_as_declared, is_on_trial, stable_after
from reconciler.core.history import History, Instance, Requests, ServerRecord
from reconciler.core.model import Desired, HealthState, Now, Phase, Wanted
from reconciler.core.observed import Observed


def is_at_rest(name: str, desired: Desired, observed: Observed, history: History, requests: Requests, now: Now) -> bool:
    """Whether nothing about a server can call for a step or a new status now: it is Ready and as declared.

    A shortcut for the many: planning such a server in full comes to nothing but a wake-up, which a test holds.
    """
    wanted, record, instance = desired.servers.get(name), history.servers.get(name), history.instances.get(name)
    processes = observed.processes.get(name, ())
    if wanted is None or record is None or instance is None or record.status is None or len(processes) != 1:
        return False
    process, document, status = processes[0], wanted.document, record.status
    health = process.health
    return (
        process.alive
        and instance.identity is not None
        and instance.is_process(process)
        and instance.ready is not None
        and instance.stopping is None
        and is_as_declared(instance, wanted, desired.limits)
        and not instance.step
        and health.verified
        and health.state is HealthState.OK
        and health.failures == 0
        and not health.slow
        and (health.effective is None or (health.effective, health.models) == (instance.effective, instance.models))
        and not (wanted.problems or wanted.held or wanted.parked or document.spec.suspend)
        and record.generation == document.generation
        and record.starved is None
        and not record.swept_pids
        and status.phase is Phase.READY
        and ("Ready", Phase.READY.value, health.message) in {(c.type, c.reason, c.message) for c in status.conditions}
        and all(condition.status for condition in status.conditions if condition.type in ("Ready", "Reconciled"))
        and not any(condition.type == "Slow" for condition in status.conditions)
        and name not in requests.stop
        and name not in requests.restart
        and name not in requests.adopt
        and name not in requests.primary
        and name not in observed.sharers
        and (
            not is_on_trial(record, instance)
            or (instance.ready.boot == now.boot and stable_at(wanted, record, instance) > now.monotonic)
        )
    )


def stable_at(wanted: Wanted, record: ServerRecord, instance: Instance) -> float:
    """Monotonic time at which earlier failures are forgotten."""
    assert instance.ready
    return instance.ready.after(stable_after(wanted.spec.restart, record, instance))
