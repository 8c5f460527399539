"""One server on its ladder, in any order of causes, times and wishes: it ends, and never flaps."""

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from reconciler.core.causes import CAUSES, Mends, cause_of
from reconciler.core.history import Trigger
from reconciler.core.model import Exit, GateFacts, HealthState, Phase
from tests.core.strict_worlds import StrictWorld
from tests.core.worlds import OPEN as AS_EVER
from tests.core.worlds import ControllerDied

FALLBACKS = st.sampled_from(
    [
        "auto",
        {"steps": [{"ctx": 128}, {"gpuLayers": 0, "on": ["GpuUnavailable", "Hung", "Crashed"]}]},
        {"steps": [{"model": "small.gguf", "on": ["ModelBroken", "GpuOutOfMemory"]}, {"flags": {"x": 1}}]},
        {"steps": [{"ctx": number, "on": list(CAUSES)} for number in (9, 8, 7)]},
    ]
)
POLICIES = st.sampled_from(
    [
        {"retryPrimaryAfter": "5s", "stabilityWindow": "5s"},
        {"retryPrimaryAfter": "5s"},
        {"maxRestarts": 0, "retryPrimaryAfter": "1m"},
        {"retryFailedAfter": "0s"},
        {"policy": "Never"},
    ]
)
WORDS = ["quick", "quick", "too large", "too large", "far too large", "no GPU", "wrong flag", "crash", "crash late"]
MORE = ["memory late", "missing", "slow", "no room"]
OPEN, SHUT = GateFacts(identity="x", trained=4096, layers=9), GateFacts("ModelMissing", "no file", identity="x")
LACKING = GateFacts("ModelBroken", "not a GGUF")
GATES = [
    SHUT,
    OPEN,
    replace(SHUT, on_steps={1: GateFacts(), 2: LACKING}),
    replace(SHUT, on_steps={1: LACKING, 2: GateFacts()}),
    replace(OPEN, on_steps={1: LACKING}),
    replace(OPEN, on_steps={1: LACKING, 2: LACKING, 3: LACKING}),
]
MOST_STEPS = 200


class Descent(RuleBasedStateMachine):
    """Rules are what may befall a server that has a ladder."""

    def __init__(self) -> None:
        super().__init__()
        self.world = StrictWorld()
        self.boots, self.labels = 1, 0
        self.fields: dict[str, Any] = {}

    @initialize(fallback=FALLBACKS, restart=POLICIES, behaviour=st.sampled_from(WORDS))
    def begin(self, fallback: Any, restart: Any, behaviour: str) -> None:
        drains = {"drain": "30s"}
        self.fields = {"ctx": 32768, "gpuLayers": "all", "fallback": fallback, "restart": restart, "stop": drains}
        self.fields["port"] = 8001
        self.world.behaviours["a"] = behaviour
        self._declare()
        self.follow(8)

    def _declare(self) -> None:
        self.world.declare("a", labels={"n": str(self.labels)}, **self.fields)

    @rule()
    def label(self) -> None:
        self.labels += 1
        self._declare()

    @rule(restart=POLICIES)
    def change_policy(self, restart: Any) -> None:
        self.fields["restart"] = restart
        self._declare()

    @rule(fallback=FALLBACKS)
    def change_ladder(self, fallback: Any) -> None:
        self.fields["fallback"] = fallback
        self._declare()

    @rule(ctx=st.sampled_from([4096, 32768]))
    def change_ctx(self, ctx: int) -> None:
        self.fields["ctx"] = ctx
        self._declare()

    @rule(kind=st.sampled_from(["restart", "primary", "stop", "adopt"]))
    def ask(self, kind: str) -> None:
        self.world.ask(kind, "a")

    @rule()
    def start(self) -> None:
        self.world.requests["stop"].clear()

    @rule(behaviour=st.sampled_from(WORDS + MORE))
    def behave(self, behaviour: str) -> None:
        self.world.behaviours["a"] = behaviour

    @precondition(lambda self: self.world.alive("a"))
    @rule(cause=st.sampled_from([*CAUSES]))
    def end(self, cause: str) -> None:
        self.world.process("a").end(Exit(code=1), cause)

    @precondition(lambda self: self.world.alive("a"))
    @rule(slots=st.sampled_from([None, 0, 0, 1]))
    def serve(self, slots: int | None) -> None:
        self.world.process("a").busy_slots = slots

    @precondition(lambda self: self.world.alive("a"))
    @rule()
    def the_file_became_whole_meanwhile(self) -> None:
        self.world.gates.clear()
        self.world.process("a").end(Exit(code=1), "ModelBroken")

    @precondition(lambda self: self.world.alive("a"))
    @rule()
    def stop_is_taken_back_while_it_drains(self) -> None:
        self.serve(1)
        self.look()
        self.world.ask("stop", "a")
        self.look()
        self.world.requests["stop"].clear()
        for process in self.world.alive("a"):
            process.busy_slots = 0
        self.look()

    def _makes_room(self) -> bool:
        instance = self.world.instances.get("a")
        waits = instance is not None and instance.stopping is not None and instance.terminated is None
        return waits and bool(self.world.alive("a"))

    @precondition(lambda self: self._makes_room())
    @rule()
    def somebody_comes_meanwhile(self) -> None:
        self.world.process("a").busy_slots = 1
        self.world.advance(0.6)
        self.look()

    @rule()
    def look(self) -> None:
        self.world.let_happen()
        self.world.settle()

    @precondition(lambda self: self.world.alive("a"))
    @rule(answers=st.sampled_from([HealthState.OK, HealthState.FAILING]))
    def answer(self, answers: HealthState) -> None:
        self.world.process("a").answers = answers

    @rule(facts=st.sampled_from(GATES))
    def gate(self, facts: GateFacts) -> None:
        self.world.gates["a"] = facts

    @rule(cpu_only=st.booleans())
    def set_cpu_only(self, cpu_only: bool) -> None:
        self.world.limits = replace(self.world.limits, cpu_only=cpu_only)

    @rule(times=st.integers(1, 6))
    def follow(self, times: int) -> None:
        for _ in range(times):
            for process in self.world.alive("a"):
                process.busy_slots = 0 if process.busy_slots is None else process.busy_slots
            self.world.follow()

    @rule(seconds=st.sampled_from([0.6, 6.0, 65.0, 301.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.settle()
        self.world.advance(seconds)

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
    def power_cut(self) -> None:
        self.boots += 1
        self.world.reboot(f"boot-{self.boots}")

    @rule()
    def converge(self) -> None:
        """It comes to rest, and takes no more starts for it than its restarts times its steps."""
        self.world.gates.clear()
        before = self.world.spawned
        for _ in range(MOST_STEPS):
            if not self.world.follow() or self._is_settled():
                break
        assert self._is_settled(), f"{self.world.status('a')} {self.world.last}"
        assert self.world.spawned - before <= 5 * 16
        self._judge_files()

    def _judge_files(self) -> None:
        """No file that came while it was started is left untried."""
        record = self.world.records["a"]
        policy = self.fields["restart"]
        if record.failed is None or policy.get("policy") == "Never" or policy.get("maxRestarts") == 0:
            return
        assert cause_of(record.last_cause).mends is not Mends.EDIT or record.files == AS_EVER.identity

    def _is_settled(self) -> bool:
        phase, alive = self.world.phase("a"), self.world.alive("a")
        if phase is Phase.READY:
            return len(alive) == 1 and self._tells_its_step()
        given_up = phase in (Phase.FAILED, Phase.BLOCKED, Phase.STOPPED) or self.world.reason("a") == "Completed"
        return given_up and not alive

    def _tells_its_step(self) -> bool:
        degraded = next(one for one in self.world.status("a").conditions if one.type == "Degraded")
        instance = self.world.instances["a"]
        lacks_its_gpu = instance.hides_gpus and instance.spec.get("gpuLayers") not in (None, 0, "auto")
        return degraded.status == bool(instance.step or lacks_its_gpu) and bool(degraded.message) == degraded.status

    def teardown(self) -> None:
        self.converge()


TestDescent = Descent.TestCase
TestDescent.settings = settings(max_examples=200, stateful_step_count=40)


def test_the_machine_goes_back_to_what_was_asked_for() -> None:
    """The machine above would prove little if no server were ever tried as asked for again."""
    world = StrictWorld()
    world.behaviours["a"] = "too large"
    world.declare("a", ctx=32768, restart={"retryPrimaryAfter": "5s"})
    for _ in range(60):
        world.follow()
        for process in world.alive("a"):
            process.busy_slots = 0
    assert [str(start.trigger) for start in world.starts[:6]] == [
        "Created",
        "Fallback",
        "Fallback",
        Trigger.PRIMARY_RETRIED,
        "Fallback",
        Trigger.PRIMARY_RETRIED,
    ]
    assert [start.step.number for start in world.starts[:6]] == [0, 1, 2, 0, 2, 0]
