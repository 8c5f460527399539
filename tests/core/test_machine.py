"""Everything that may happen, in any order: what holds always, and that following `wake_at` comes to an end."""

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from reconciler.core.at_rest import is_at_rest
from reconciler.core.causes import CAUSES
from reconciler.core.model import Exit, GateFacts, HealthState, Phase, Problem
from reconciler.core.observed import Listener
from tests.core.strict_worlds import WORDS, StrictWorld
from tests.core.worlds import ControllerDied, Simulated, fingerprint_of

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
SPECS = st.fixed_dictionaries(
    {"probes": st.just({"startup": {"deadline": "30s"}})},
    optional={
        "ctx": st.sampled_from([256, 512, 9000]),
        "port": st.sampled_from([8001, 8002, 9000]),
        "host": st.sampled_from(["127.0.0.1", "0.0.0.0"]),
        "suspend": st.booleans(),
        "restart": st.sampled_from(
            [
                {"policy": "OnFailure"},
                {"policy": "Never"},
                {"maxRestarts": 0},
                {"retryFailedAfter": "0s"},
                {"retryPrimaryAfter": "5s"},
                {"retryPrimaryAfter": "2m", "stabilityWindow": "5s"},
            ]
        ),
        "gpuLayers": st.sampled_from([0, 1, 20, "all"]),
        "fallback": st.sampled_from(
            [
                "auto",
                "off",
                {"steps": [{"ctx": 128}, {"gpuLayers": 0, "on": ["GpuUnavailable", "Hung", "Crashed"]}]},
                {"steps": [{"model": "small.gguf", "on": ["ModelBroken", "GpuOutOfMemory"]}, {"flags": {"x": 1}}]},
            ]
        ),
        "stop": st.sampled_from([{"drain": "2s"}, {"gracePeriod": "0s"}]),
        "dependsOn": st.lists(st.sampled_from(["b", "c", "d", "e", "x"]), max_size=2),
    },
)
BEHAVIOURS = st.sampled_from(WORDS)
ANSWERS = [HealthState.OK, HealthState.LOADING, HealthState.BUSY, HealthState.FAILING]
WHICH = st.integers(0, 9)
MOST_STEPS = 400
"""Looks that converging may take: the longest way is a start that makes no progress, four times over."""


class Life(RuleBasedStateMachine):
    """Rules are what people, programs and power cuts do; the controller looks when it wants to, or is poked."""

    def __init__(self) -> None:
        super().__init__()
        self.world = StrictWorld()
        self.boots = 1

    # -- manifests

    @initialize(specs=st.dictionaries(NAMES, SPECS, max_size=5))
    def begin(self, specs: dict[str, dict[str, Any]]) -> None:
        for name, fields in specs.items():
            self.declare(name, fields)

    @rule(name=NAMES, fields=SPECS)
    def declare(self, name: str, fields: dict[str, Any]) -> None:
        # In circles they would not be accepted.
        needed = [one for one in fields.get("dependsOn", ()) if one > name]
        self.world.declare(name, **{**fields, "dependsOn": needed})
        self._mend(name)

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        self.world.files.pop(name, None)
        self._mend(name)

    @rule(name=NAMES)
    def break_document(self, name: str) -> None:
        self.world.files.pop(name, None)
        self.world.problems = (*self.world.problems, Problem(f"{name}.yaml", "is wrong", 3, 1, "spec.ctx", name))

    def _mend(self, name: str) -> None:
        self.world.problems = tuple(p for p in self.world.problems if p.server != name)

    @rule()
    def junk_appears(self) -> None:
        self.world.problems = (*self.world.problems, Problem("junk.yaml", "is not YAML"))

    @rule()
    def junk_goes(self) -> None:
        self.world.problems = tuple(p for p in self.world.problems if p.server)

    @rule(failed=st.booleans())
    def folder(self, failed: bool) -> None:
        self.world.folder_failed = "the folder cannot be read" if failed else ""

    # -- people

    @rule(kind=st.sampled_from(["stop", "restart", "adopt", "primary"]), name=NAMES)
    def ask(self, kind: str, name: str) -> None:
        if name in self.world.documents or name in self.world.records:
            self.world.ask(kind, name)

    @rule(name=NAMES)
    def start(self, name: str) -> None:
        self.world.requests["stop"].pop(name, None)

    @rule()
    def confirm_prune(self) -> None:
        for name in self.world.acceptance.prunable:
            self.world.ask("prune", name)

    @rule(names=st.none() | st.frozensets(NAMES), switch=st.sampled_from(["StopFirst", "StartFirst"]))
    def use_profile(self, names: frozenset[str] | None, switch: Any) -> None:
        self.world.profile, self.world.switch = names, switch

    @rule(names=st.none() | st.frozensets(NAMES))
    def act_only_on(self, names: frozenset[str] | None) -> None:
        """A command without a controller acts on what it names alone."""
        self.world.scope = names

    # -- processes

    def _alive(self) -> list[Simulated]:
        return [process for process in self.world.processes if process.alive]

    def _one(self, which: int) -> Simulated:
        alive = self._alive()
        return alive[which % len(alive)]

    @precondition(lambda self: self._alive())
    @rule(
        which=WHICH,
        exit_=st.sampled_from([Exit(code=0), Exit(code=1), Exit(signal=9), Exit()]),
        cause=st.sampled_from(["", *CAUSES]),
    )
    def crash(self, which: int, exit_: Exit, cause: str) -> None:
        self._one(which).end(exit_, cause)

    @precondition(lambda self: self._alive())
    @rule(which=WHICH, slots=st.sampled_from([None, 0, 0, 1]))
    def serve(self, which: int, slots: int | None) -> None:
        """Requests come and go."""
        self._one(which).busy_slots = slots

    @rule(cpu_only=st.booleans())
    def set_cpu_only(self, cpu_only: bool) -> None:
        self.world.limits = replace(self.world.limits, cpu_only=cpu_only)

    @precondition(lambda self: self._alive())
    @rule(which=WHICH, answers=st.sampled_from(ANSWERS))
    def answer(self, which: int, answers: HealthState) -> None:
        self._one(which).answers = answers

    @precondition(lambda self: self._alive())
    @rule(which=WHICH)
    def sleep_uninterruptibly(self, which: int) -> None:
        process = self._one(which)
        process.obeys = process.killable = False

    @rule()
    def wake_up(self) -> None:
        for process in self._alive():
            process.killable = True

    @rule(name=NAMES, leader=st.booleans(), fits=st.booleans())
    def somebody_with_our_mark(self, name: str, leader: bool, fits: bool) -> None:
        """A copy of the state folder came back, or a helper outlived its leader."""
        document = self.world.documents.get(name)
        mark = fingerprint_of(document.spec) if document and fits else "1:other"
        process = self.world.add_process(name, f"other-{self.world.spawned}", leader=leader, fingerprint=mark)
        process.ready_at = self.world.now.monotonic

    @precondition(lambda self: self._alive())
    @rule(which=WHICH)
    def helper_in_its_own_session(self, which: int) -> None:
        """It bears the instance's uid, and leads a session as the instance does."""
        parent = self._one(which)
        self.world.add_process(parent.server, parent.uid, fingerprint=parent.fingerprint)

    @rule(name=NAMES, behaviour=BEHAVIOURS)
    def behave(self, name: str, behaviour: str) -> None:
        self.world.behaviours[name] = behaviour

    # -- the machine

    @rule(port=st.sampled_from([8001, 8002, 9000]))
    def stranger_comes(self, port: int) -> None:
        if not any(process.port == port for process in self._alive()):
            self.world.strangers.append(Listener("127.0.0.1", port, 77, "nginx"))

    @rule(port=st.sampled_from([8001, 8002, 9000]), same_user=st.booleans(), answers=st.sampled_from([True, None]))
    def somebody_runs_one_by_hand(self, port: int, same_user: bool, answers: bool | None) -> None:
        if not any(process.port == port for process in self._alive()):
            self.world.run_by_hand(port, is_same_user=same_user, answers=answers)

    @rule()
    def those_by_hand_answer(self) -> None:
        self.world.by_hand = [(replace(seen, answers=True), process) for seen, process in self.world.by_hand]

    @rule()
    def strangers_go(self) -> None:
        self.world.strangers.clear()
        for _, process in self.world.by_hand:
            if process not in self.world.processes:
                process.end(Exit())

    @rule(
        name=NAMES,
        facts=st.sampled_from(
            [
                GateFacts(),
                GateFacts("ModelMissing", "no file"),
                GateFacts(identity="x"),
                GateFacts(identity="y", trained=16384, layers=32),
            ]
        ),
    )
    def gate(self, name: str, facts: GateFacts) -> None:
        self.world.gates[name] = facts

    @rule(days=st.sampled_from([-1, 1]))
    def wall_clock_jumps(self, days: int) -> None:
        self.world.now = replace(self.world.now, wall=self.world.now.wall + days * 86400)

    @rule(seconds=st.sampled_from([0.0, 0.3, 1.0, 2.5, 9.0, 40.0, 70.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule()
    def power_cut(self) -> None:
        self.boots += 1
        self.world.reboot(f"boot-{self.boots}")

    # -- the controller

    @rule()
    def look(self) -> None:
        self.world.let_happen()
        self.world.run()

    @rule()
    def looks(self) -> None:
        self.world.let_happen()
        self.world.settle()

    @rule()
    def follow(self) -> None:
        self.world.follow()

    @rule(steps=st.integers(0, 4))
    def controller_dies(self, steps: int) -> None:
        self.world.let_happen()
        self.world.steps_left = steps
        try:
            self.world.run()
        except ControllerDied:
            self.world.deaths += 1
        finally:
            self.world.steps_left = None
        self.world.new_controller()

    @rule()
    def converge(self) -> None:
        self.wake_up()
        self.those_by_hand_answer()
        self.world.scope = None
        for _ in range(MOST_STEPS):
            goes_on = self.world.follow()
            if not goes_on or not self._unsettled():
                break
        assert not self._unsettled(), f"not settled at {self.world.now}: {self._unsettled()} {self.world.last}"

    def _unsettled(self) -> list[str]:
        names = {*self.world.documents, *self.world.records, *(process.server for process in self._alive())}
        return sorted(name for name in names if not self._is_settled(name))

    def _is_settled(self, name: str) -> bool:
        world, alive = self.world, [p for p in self.world.alive(name) if p.leader]
        if name not in world.records:
            return not world.alive(name) and name not in world.documents
        phase, status = world.phase(name), world.status(name)
        if name in world.requests["stop"]:
            return not alive and phase in (Phase.STOPPED, Phase.INVALID)
        if name not in world.documents:
            return phase is Phase.INVALID and len({process.uid for process in alive}) <= 1
        if world.documents[name].spec.suspend or world.parked(name):
            return (phase is Phase.STOPPED and not world.alive(name)) or self._is_kept(name)
        # One that loaded again may compute now; for how long it may is the prober's business.
        computes = phase is Phase.UNHEALTHY and [process.answers for process in alive] == [HealthState.BUSY]
        if phase is Phase.READY or computes:
            return self._is_told(name)
        given_up = phase in (Phase.FAILED, Phase.BLOCKED) or world.reason(name) in ("Completed", "WaitingForDependency")
        return given_up and not alive and bool(status.message)

    def _is_kept(self, name: str) -> bool:
        """It runs on although the profile leaves it out, for another one cannot run."""
        world = self.world
        asked = {one for one, document in world.documents.items() if not (document.spec.suspend or world.parked(one))}
        awaited = asked - world.requests["stop"].keys()
        lacking = {one for one in awaited if world.phase(one) is not Phase.READY or world.reason(one) == "Loading"}
        if not world.parked(name) or world.switch == "StopFirst" or not (lacking or world.desired.broken):
            return False
        return world.reason(name, "Reconciled") in ("WaitingForSwitch", "SwitchHeld", "InvalidManifest", "PruneHeld")

    def _is_told(self, name: str) -> bool:
        """One instance runs, and it is what is declared, or the status says why not."""
        if {process.uid for process in self.world.alive(name) if process.leader} != {self.world.instances[name].uid}:
            return False
        fits = self.world.instances[name].fingerprint == fingerprint_of(self.world.documents[name].spec)
        condition = next(c for c in self.world.status(name).conditions if c.type == "Reconciled")
        return fits or (not condition.status and bool(condition.message))

    def teardown(self) -> None:
        self.converge()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=300, stateful_step_count=40)


def test_at_rest_is_reached() -> None:
    """The machine above would prove little if servers never came to rest in it."""
    world = StrictWorld()
    world.declare("a")
    for _ in range(10):
        world.follow()
    assert is_at_rest("a", *world.inputs())
