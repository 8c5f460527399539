"""Puts together what is seen: processes with their health, gates, listening ports."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from reconciler.controller.diagnosing import Diagnoser
from reconciler.controller.launching import Launcher
from reconciler.controller.prober import Prober
from reconciler.controller.shapes import Shapes
from reconciler.controller.squatters import Squatters
from reconciler.controller.strangers import Strangers
from reconciler.controller.target import Target
from reconciler.core.clean import clean
from reconciler.core.ends import STARVED
from reconciler.core.fallback import is_as_declared
from reconciler.core.history import History, Instance, Requests
from reconciler.core.ladder import Step, spec_on
from reconciler.core.model import Desired, GateFacts, Health, Now, Process, Wanted
from reconciler.core.observed import Observed
from reconciler.core.policy import Denial
from reconciler.core.spec import ServerSpec
from reconciler.core.turns import Turn, turns
from reconciler.runtimes.host import ResourceError
from reconciler.runtimes.local import LocalRuntime

UNPROBED = Health()


class Observer:
    """One look at the machine, as the planner wants it."""

    def __init__(
        self, runtime: LocalRuntime, prober: Prober, launcher: Launcher, on_change: Callable[[], None]
    ) -> None:
        """`on_change` is called when a stranger has answered."""
        self._runtime = runtime
        self._prober = prober
        self._launcher = launcher
        self._strangers = Strangers(runtime, launcher, on_change)
        self._squatters = Squatters(runtime)
        self._diagnoser = Diagnoser(launcher)
        self._shapes = Shapes(launcher)
        self._joined: dict[int, tuple[Process, Health, Process]] = {}
        self._targets: dict[str, tuple[tuple[object, ...], Target]] = {}

    def observe(self, desired: Desired, history: History, requests: Requests, now: Now, *, fresh: bool) -> Observed:
        """What is, as far as the plan may need it: gates and ports are looked at for those whose start may be due.

        Raises ResourceError when not even the processes could be looked at.
        """
        self._runtime.keep_watch(history.instances.values())
        processes = {
            server: tuple(self._join(process, desired, history, now) for process in found)
            for server, found in self._runtime.observe(fresh=fresh).items()
        }
        self._diagnoser.look((process for found in processes.values() for process in found), fresh=fresh)
        due = [
            wanted for wanted in desired.servers.values() if _may_start(wanted, desired, processes, history, requests)
        ]
        try:
            return self._look_at_starts(due, processes, desired, history, requests, now)
        except ResourceError as error:
            # Whether a port or file is free could not be seen: nothing may be started on that.
            shut = GateFacts(STARVED, clean(str(error)))
            return Observed(processes, {wanted.document.name: shut for wanted in due})

    def _look_at_starts(
        self,
        due: Sequence[Wanted],
        processes: Mapping[str, tuple[Process, ...]],
        desired: Desired,
        history: History,
        requests: Requests,
        now: Now,
    ) -> Observed:
        gates = self._gates(due, desired, history, requests, now) if due else {}
        gates = self._shapes.add(gates, due, processes, desired, history)
        ports = {wanted.spec.port for wanted in due} | {
            history.ports.get(wanted.document.name, "auto") for wanted in due
        }
        wished = frozenset(port for port in ports if isinstance(port, int))
        if self._runtime.polls and any(wanted.spec.port == "auto" for wanted in due):
            # Without /proc a port is known to be taken only by trying it.
            wished |= frozenset(range(desired.limits.port_low, desired.limits.port_high + 1))
        listeners = self._runtime.listeners(wished) if due else ()
        ours = [process for found in processes.values() for process in found]
        strangers, models = self._strangers.look(due, listeners, ours)
        sharers = self._strangers.sharers(history.instances, processes, now)
        names = {wanted.document.name for wanted in due} | history.instances.keys()
        resting = [wanted for name, wanted in desired.servers.items() if name not in names]
        squatters = self._squatters.look(resting, ours, now)
        return Observed(processes, gates, listeners, strangers, models, sharers, squatters)

    def close(self) -> None:
        """Ask no strangers any more."""
        self._strangers.close()
        self._diagnoser.close()

    def _join(self, process: Process, desired: Desired, history: History, now: Now) -> Process:
        """The process with its health, or with the cause of its end; the same object while both are the same."""
        health = (self._prober.health(process.uid) or UNPROBED) if process.alive else UNPROBED
        pid = process.identity.pid
        before = self._joined.get(pid)
        if before is not None and before[0] is process and before[1] is health:
            return before[2]
        joined = replace(process, health=health) if process.alive else self._diagnosed(process, desired, history, now)
        self._joined[pid] = (process, health, joined)
        return joined

    def _diagnosed(self, process: Process, desired: Desired, history: History, now: Now) -> Process:
        wanted, instance = desired.servers.get(process.server), history.instances.get(process.server)
        if wanted is None or not process.leader:
            return self._diagnoser.without_secrets(process, instance)
        if instance is not None and instance.uid == process.uid:
            return self._diagnoser.diagnosed(process, instance, _spec_of(instance, wanted), now)
        return self._diagnoser.diagnosed(process, None, wanted.spec, now)

    def _gates(
        self, due: Sequence[Wanted], desired: Desired, history: History, requests: Requests, now: Now
    ) -> dict[str, GateFacts]:
        crowded, lasting = self._crowded(desired, history, requests)
        gates = {}
        for document in (wanted.document for wanted in due):
            name = document.name
            gates[name] = self._launcher.look(document, now, lasting.get(name))
            if name in crowded and not gates[name].reason:
                gates[name] = replace(self._launcher.look(document, now, crowded[name]), for_leaving=True)
        return gates

    def _crowded(
        self, desired: Desired, history: History, requests: Requests
    ) -> tuple[Mapping[str, Denial], Mapping[str, Denial]]:
        """Those beyond the policy's number of servers, by name: now, and once those are gone that have to leave."""
        documents = [wanted.document for wanted in desired.servers.values()]
        if not self._launcher.may_be_crowded(documents):
            return {}, {}
        parked = [name for name, wanted in desired.servers.items() if wanted.parked]
        now = turns(documents, history, requests, parked)
        later = {**now, **dict.fromkeys(parked, Turn.STOPPED)}
        lasting = self._launcher.crowded(documents, later)
        return self._launcher.crowded(documents, now) if later != now else lasting, lasting

    def probe(self, desired: Desired, history: History, observed: Observed) -> None:
        """Have every live instance asked for its health, and drop what is known of others."""
        targets = {}
        pids = set()
        for processes in observed.processes.values():
            for process in processes:
                pids.add(process.identity.pid)
                instance = history.instances.get(process.server)
                if process.alive and instance is not None and instance.is_process(process):
                    targets[process.uid] = self._target(process, instance, desired.servers.get(process.server))
        self._prober.sync(targets)
        self._targets = {uid: self._targets[uid] for uid in targets}
        for pid in self._joined.keys() - pids:
            del self._joined[pid]

    def _target(self, process: Process, instance: Instance, wanted: Wanted | None) -> Target:
        draining = instance.stopping is not None and instance.terminated is None
        key = (process.identity, wanted and wanted.document, draining)
        before = self._targets.get(process.uid)
        if before is not None and before[0] == key:
            return before[1]
        spec, restart = _spec_of(instance, wanted), wanted.spec.restart if wanted else None
        target = Target(
            uid=process.uid,
            server=process.server,
            pid=process.identity.pid,
            port=process.port or instance.port,
            spec=spec,
            # An adopted one repeats its model's path as somebody wrote it, from the folder where that one stood.
            model_path=None if instance.adopted else self._launcher.model_path(spec),
            api_key=self._launcher.api_key(spec),
            was_ready=instance.first_ready is not None,
            draining=draining,
            adopted=instance.adopted,
            wants_slots=instance.step > 0 and restart is not None and restart.retry_primary_after > 0,
        )
        self._targets[process.uid] = (key, target)
        return target


def _may_start(
    wanted: Wanted,
    desired: Desired,
    processes: Mapping[str, tuple[Process, ...]],
    history: History,
    requests: Requests,
) -> bool:
    """Whether the plan may want to start this server, now or in place of what runs."""
    name = wanted.document.name
    if wanted.spec.suspend or wanted.parked or name in requests.stop:
        return False
    instance = history.instances.get(name)
    if instance is None:
        return True
    for process in processes.get(name, ()):
        if process.alive and process.uid == instance.uid:
            break
    else:
        return True
    if name in requests.restart or name in requests.primary:
        return True
    goes_back = instance.step > 0 and wanted.spec.restart.retry_primary_after > 0
    return goes_back or not is_as_declared(instance, wanted, desired.limits)


def _spec_of(instance: Instance, wanted: Wanted | None) -> ServerSpec:
    """How the instance is asked: by the spec it was started with, and by the declared probes when both agree."""
    if instance.adopted:
        adopted = ServerSpec.model_validate(dict(instance.spec))
        return adopted.model_copy(update={"probes": wanted.spec.probes}) if wanted else adopted
    step = Step(instance.step, changes=instance.changes)
    if wanted is not None and (wanted.fingerprint == instance.fingerprint or not instance.spec):
        return spec_on(wanted.spec, step)
    started_with = spec_on(ServerSpec.model_validate(dict(instance.spec) or {"model": "unknown"}), step)
    return started_with.model_copy(update={"probes": wanted.spec.probes}) if wanted else started_with
