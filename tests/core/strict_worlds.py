"""A world that does not forgive: what is planned and done in it is judged at once."""

from typing import Any
from unittest.mock import patch

from reconciler.core.actions import Plan, SaveInstance, Start, Terminate
from reconciler.core.causes import CAUSES
from reconciler.core.fallback import is_as_declared
from reconciler.core.first_starts import FIRST
from reconciler.core.history import Instance, StopReason, Trigger
from reconciler.core.model import Desired, Exit, GateFacts, Identity, Limits, Wanted
from reconciler.core.plan import plan
from reconciler.core.server import UNASKED
from reconciler.runtimes.host import ResourceError
from tests.core.worlds import Action, Simulated, World

CAUSE_OF_BEHAVIOUR = {
    "too large": "ContextTooLarge",
    "far too large": "GpuOutOfMemory",
    "no GPU": "GpuUnavailable",
    "wrong flag": "InvalidFlag",
    "missing": "ModelMissing",
    "port taken": "PortInUse",
    "memory late": "OomKilled",
}
ANEW = frozenset(
    {
        Trigger.SPEC_CHANGED,
        Trigger.RESUMED,
        Trigger.REBOOTED,
        Trigger.RETRIED,
        Trigger.PRIMARY_RETRIED,
        Trigger.CPU_ONLY,
    }
)
"""Triggers of starts that begin with what was asked for."""
LASTS = {"crash": 0.05, "crash late": 5.0, "exit 0": 0.3, "memory late": 70.0}
WORDS = [
    "quick",
    "slow",
    "stuck",
    "crash",
    "crash late",
    "exit 0",
    "spawn fails",
    "no program",
    "no room",
    "deaf",
    *CAUSE_OF_BEHAVIOUR,
]
"""How a server may behave."""


class StrictWorld(World):
    """A world that does not forgive."""

    behaviours: dict[str, str]
    known: dict[str, Simulated]
    terminated: set[Identity]
    desired: Desired
    deaths: int
    descended: dict[str, set[int]]
    """The steps that were begun one after the other since what was asked for was begun."""
    last_begun: dict[str, Instance]

    def __init__(self) -> None:
        super().__init__(limits=Limits(loads=2, port_high=8003))
        self.behaviours, self.known, self.terminated, self.deaths, self.descended = {}, {}, set(), 0, {}
        self.last_begun = {}
        self.on_spawn = self._behave

    def _behave(self, process: Simulated) -> None:
        others = [other for other in self.alive(process.server) if other is not process]
        assert not others, f"a second {process.server} was started beside {others}"
        now, behaviour = self.now.monotonic, self.behaviours.get(process.server, "quick")
        if behaviour in ("spawn fails", "no program"):
            process.diagnosis = "BinaryMissing" if behaviour == "no program" else ""
            raise OSError("no such program")
        if behaviour == "no room":
            raise ResourceError(24, "no descriptor is left")
        process.ready_at = now + {"slow": 20.0, "stuck": float("inf")}.get(behaviour, 0.1)
        process.exits_at = now + self._lasts(process, behaviour)
        process.exits_as = Exit(code=0 if behaviour == "exit 0" else 1)
        process.diagnosis = CAUSE_OF_BEHAVIOUR.get(behaviour, "")
        process.obeys = behaviour != "deaf"
        self._judge_descent(process)

    def _lasts(self, process: Simulated, behaviour: str) -> float:
        """Seconds until it ends by itself."""
        fits = {"too large": process.step >= 2, "no GPU": process.hides_gpus}
        if behaviour in CAUSE_OF_BEHAVIOUR and behaviour not in LASTS:
            return float("inf") if fits.get(behaviour, False) else 0.05
        return LASTS.get(behaviour, float("inf"))

    def _judge_descent(self, process: Simulated) -> None:
        """Each step is begun once for each time that what was asked for is, and follows a start from the same spec."""
        instance = self.instances[process.server]
        before = self.last_begun.get(process.server, instance)
        self.last_begun[process.server] = instance
        # Other policies alone do not have what was asked for begun anew.
        follows = before.spec == instance.spec or (not before.step and before.fingerprint == instance.fingerprint)
        tried = [(one.step, one.result) for one in self.records[process.server].tried]
        is_led_here = tried == [(0, "ModelMissing")]  # by the gate that was shut for what was asked for
        is_known = not instance.step or follows or is_led_here
        assert is_known, f"{instance.step_told} follows a start of another spec"
        begun = self.descended.setdefault(process.server, set())
        if instance.step == 0 or is_led_here:
            begun.clear()
        if before.uid in {one.uid for one in self.ended if one.diagnosis == "NotStarted"}:
            begun.discard(before.step)  # it ended between the controller's death and the next: nobody knows that it ran
        if instance.step and instance.trigger is Trigger.FALLBACK:
            assert instance.step not in begun, f"{instance.step_told} was begun twice: {begun}"
            begun.add(instance.step)

    def inputs(self) -> Any:
        inputs = super().inputs()
        decided = plan(*inputs)
        assert plan(*inputs) == decided, "the same input gave another plan"
        with patch("reconciler.core.plan.is_at_rest", return_value=False):
            assert plan(*inputs) == decided, "the shortcut for servers at rest left something out"
        assert decided.wake_at is None or decided.wake_at >= self.now.monotonic
        self.desired = inputs[0]
        self._judge(decided)
        return inputs

    def _judge(self, decided: Plan) -> None:
        starts = [action.server for action in decided.actions if isinstance(action, Start)]
        assert len(starts) == len(set(starts))
        assert self.scope is None or self.scope >= set(starts)
        self._judge_starts([action for action in decided.actions if isinstance(action, Start)])
        for action in decided.actions:
            if isinstance(action, SaveInstance) and action.instance.stopping and not action.instance.ended:
                self._judge_stop(action)
            elif isinstance(action, Terminate):
                self._judge_sigterm(action, decided)

    def _judge_starts(self, starts: list[Start]) -> None:
        """First starts wait for the switch, and for those that they depend on; what is left out is not started."""
        for start in starts:
            wanted = self.desired.servers[start.server]
            self._judge_way(start)
            assert not wanted.parked
            assert start.step.hides_gpus or not self.limits.cpu_only
            if start.trigger in (Trigger.CRASHED, Trigger.UNRESPONSIVE):
                assert start.attempt <= wanted.spec.restart.max_restarts
                assert wanted.spec.restart.policy != "Never"
            if start.trigger not in FIRST:
                continue
            leaving = [process for name in self.desired.servers if self.parked(name) for process in self.alive(name)]
            assert self.switch == "StartFirst" or not leaving, f"{start.server} was started beside {leaving}"
            for name in wanted.spec.depends_on:
                ready = any(process.health.verified for process in self.alive(name))
                assert ready, f"{start.server} was started before {name}"

    def _judge_way(self, start: Start) -> None:
        """Who was blocked is not counted, and who begins anew does so as asked for, if the gate lets it."""
        record = self.records.get(start.server)
        is_blocked = record is not None and record.starved is not None and record.starved_reason in CAUSES
        assert not is_blocked or start.trigger not in UNASKED, f"{start.trigger} is counted"
        is_shut = record is not None and record.last_cause == "ModelMissing"
        is_shut = is_shut or bool(self.gates.get(start.server, GateFacts()).reason)
        assert not start.step.number or start.trigger not in ANEW or is_shut, f"{start.trigger} on {start.step.told}"

    def _judge_stop(self, action: SaveInstance) -> None:
        """Nothing that is as it should be is stopped, and what stays while its successor could not start stays."""
        instance = action.instance
        before, wanted = self.instances.get(instance.server), self.desired.servers.get(instance.server)
        if before is None or before.stopping or instance.stop_reason is None or instance.stop_reason.is_failure:
            return
        assert self.scope is None or instance.server in self.scope
        if instance.server in self.requests["stop"] or self.parked(instance.server):
            return
        if wanted is None:
            assert not self.desired.unreadable or self.records[instance.server].generation
            assert instance.server not in self.desired.invalid
            return
        if instance.stop_reason is StopReason.PRIMARY_RETRIED:
            self._judge_retry(instance, wanted, before)
            return
        asked = instance.server in self.requests["restart"] or instance.server in self.requests["primary"]
        changed = asked or not is_as_declared(instance, wanted, self.limits)
        assert wanted.spec.suspend or changed, f"{instance.server} was stopped for nothing: {instance.stop_reason}"
        gate = self.gates.get(instance.server, GateFacts())
        if instance.stop_reason is StopReason.RESTART_REQUESTED and instance.server not in self.requests["primary"]:
            gate = gate.on_steps.get(self.records[instance.server].step, gate)
        assert wanted.spec.suspend or not gate.reason, f"{instance.server} was stopped though it could not start again"

    def _judge_retry(self, instance: Instance, wanted: Wanted, before: Instance) -> None:
        """What runs makes room for what was asked for only where that is asked for, and nobody is served."""
        assert instance.step
        assert before.ready
        assert wanted.spec.restart.retry_primary_after
        assert before.ready.after(wanted.spec.restart.retry_primary_after) <= self.now.monotonic

    def _judge_sigterm(self, action: Terminate, decided: Plan) -> None:
        """Whoever makes room of our own accord serves nobody at that moment."""
        saved = [one.instance for one in decided.actions if isinstance(one, SaveInstance)]
        if any(one.uid == action.uid and one.stop_reason is StopReason.PRIMARY_RETRIED for one in saved):
            process = next(one for one in self.processes if one.identity == action.identity)
            assert process.health.busy_slots == 0, f"{process} was stopped while it serves"

    def signal(self, action: Any) -> None:
        target = next((p for p in self.known.values() if p.identity == action.identity), None)
        assert target is not None, f"{action} is not about a process of ours"
        assert target.uid == action.uid
        if isinstance(action, Terminate):
            assert action.identity not in self.terminated, f"a second SIGTERM for {action.uid}"
            self.terminated.add(action.identity)
        super().signal(action)

    def add_process(self, server: str, uid: str, **fields: Any) -> Simulated:
        process = super().add_process(server, uid, **fields)
        self.known[f"{process.identity}"] = process
        return process

    def record(self, action: Action) -> None:
        if isinstance(action, SaveInstance) and action.instance.ended:
            identity = action.instance.identity
            alive = [process for process in self.processes if process.identity == identity and process.alive]
            assert not alive, f"{alive} was recorded as ended while it runs"
        super().record(action)
