"""The gate is held against what is to start: a step may need other files than what was asked for, and be open alone."""

from typing import Any

import pytest

from reconciler.core.history import Tried
from reconciler.core.model import GateFacts, Phase
from tests.core.states import ready
from tests.core.test_fallback import begun, degraded, dies, server
from tests.core.worlds import World

GONE = GateFacts("ModelMissing", "no file at m.gguf", identity="x")
SMALL = {"steps": [{"model": "small.gguf", "on": ["ModelMissing", "GpuOutOfMemory"]}]}
LORA = {"steps": [{"flags": {"lora": "gone.gguf"}}, {"ctx": 128}]}
NO_LORA = GateFacts("ModelMissing", "no file at gone.gguf")


def gate(shut: GateFacts | None = None, **on_steps: GateFacts) -> GateFacts:
    """The gate of what was asked for, and those of steps: `_1=…`."""
    steps = {int(name[1:]): one for name, one in on_steps.items()}
    found = shut or GateFacts(identity="x")
    return GateFacts(found.reason, found.message, identity="x", on_steps=steps)


def on_small(**fields: Any) -> World:
    """One that runs on a step with another model, and whose own is gone by now."""
    world = server(fallback=SMALL, **fields)
    dies(world)
    world.advance(1.0)
    ready(world)
    world.gates["a"] = gate(GONE, _1=GateFacts())
    world.settle()
    return world


# ---------------------------------------------------------------- a step that lacks something


def test_a_step_whose_file_is_missing_is_passed_over_and_told() -> None:
    world = server(fallback=LORA)
    world.gates["a"] = gate(_1=NO_LORA)
    dies(world)
    assert begun(world)[1:] == [("Fallback", 2)]
    assert world.records["a"].tried[1] == Tried(1, "lora gone.gguf", "ModelMissing", "no file at gone.gguf")
    world.advance(1.0)
    ready(world)
    assert degraded(world)[:2] == (True, "GpuOutOfMemory")


def test_without_a_step_that_can_start_it_backs_off_and_ends() -> None:
    world = server(fallback={"steps": LORA["steps"][:1]}, restart={"maxRestarts": 2})
    world.gates["a"] = gate(_1=NO_LORA)
    for n in (1, 2):
        dies(world)
        assert (world.phase("a"), world.records["a"].n) == (Phase.BACKOFF, n)
        world.advance(60.0)
        world.settle()
    dies(world)
    assert world.phase("a") is Phase.FAILED
    assert begun(world) == [("Created", 0), ("Crashed", 0), ("Crashed", 0)]


def test_what_is_missing_for_all_bars_no_step() -> None:
    world = server(fallback=LORA)
    no_binary = GateFacts("BinaryMissing", "no program")
    world.gates["a"] = gate(no_binary, _1=no_binary)
    dies(world)
    assert (world.phase("a"), world.records["a"].step) == (Phase.BLOCKED, 1)
    world.gates["a"] = gate(_1=GateFacts())
    world.settle()
    assert begun(world)[1:] == [("Fallback", 1)]


@pytest.mark.parametrize("cause", ["ModelMissing", "PermissionDenied"])
def test_a_file_of_its_flags_that_was_missing_after_all_is_its_own_fault(cause: str) -> None:
    world = server(fallback=LORA)
    dies(world)
    dies(world, cause)
    assert begun(world)[1:] == [("Fallback", 1), ("Fallback", 2)]


def test_a_step_that_ran_and_lacks_its_file_now_leaves_the_turn_to_what_was_asked_for() -> None:
    world = server(fallback=SMALL, restart={"maxRestarts": 2})
    dies(world)
    world.advance(1.0)
    ready(world)
    dies(world, "Crashed")
    world.gates["a"] = gate(_1=NO_LORA)
    world.advance(60.0)
    world.settle()
    assert begun(world)[-1] == ("Crashed", 0)
    dies(world)
    world.advance(60.0)
    world.settle()
    assert begun(world)[-1] == ("Crashed", 0)
    dies(world)
    assert (world.phase("a"), len(world.starts)) == (Phase.FAILED, 4)


def test_one_that_lacks_a_file_is_passed_over_while_what_was_asked_for_lacks_another() -> None:
    world = server(fallback={"steps": [LORA["steps"][0], {"model": "small.gguf"}]})
    world.gates["a"] = gate(GONE, _1=NO_LORA, _2=GateFacts())
    dies(world)
    assert begun(world)[1:] == [("Fallback", 2)]


def test_what_a_step_lacks_is_not_what_led_to_the_next() -> None:
    steps = [{"flags": {"chat-template-file": "gone"}}, {"flags": {"x": 1}}, {"ctx": 128}]
    world = server(fallback={"steps": steps})
    world.gates["a"] = gate(_1=GateFacts("FileMissing", "no file at gone"))
    dies(world)
    dies(world, "InvalidFlag")
    assert begun(world)[1:] == [("Fallback", 2), ("Fallback", 3)]


# ---------------------------------------------------------------- only a step can start


def test_a_step_that_answers_what_shuts_the_gate_is_started() -> None:
    world = World(gates={"a": gate(GONE, _1=GateFacts())})
    world.declare("a", port=8001, fallback=SMALL)
    world.settle()
    assert begun(world) == [("Created", 1)]
    world.advance(1.0)
    ready(world)
    assert (world.phase("a"), degraded(world)[:2]) == (Phase.READY, (True, "ModelMissing"))
    assert world.told("Fallback") == ["ModelMissing: no file at m.gguf; it is tried with model small.gguf"]
    record = world.records["a"]
    assert [(one.step, one.result) for one in record.tried] == [(0, "ModelMissing"), (1, "")]
    assert (record.n, record.restarts) == (0, 0)
    world.advance(1e6)
    assert not world.settle().actions


@pytest.mark.parametrize(
    ("fields", "step"),
    [
        ({"fallback": SMALL}, NO_LORA),
        ({"fallback": {"steps": [{"model": "small.gguf"}]}}, GateFacts()),
        ({"fallback": SMALL, "restart": {"policy": "Never"}}, GateFacts()),
    ],
    ids=["it lacks its model too", "it does not answer that", "never"],
)
def test_no_other_step_is_started_while_the_gate_is_shut(fields: dict[str, Any], step: GateFacts) -> None:
    world = World(gates={"a": gate(GONE, _1=step)})
    world.declare("a", port=8001, **fields)
    world.settle()
    assert (world.phase("a"), world.status("a").message, world.starts) == (Phase.BLOCKED, GONE.message, [])
    world.gates["a"] = gate(_1=step)
    world.settle()
    assert begun(world) == [("Created", 0)]


def test_a_first_start_waits_for_what_it_depends_on_whatever_it_starts_with() -> None:
    world = World(gates={"a": gate(GONE, _1=GateFacts())})
    world.declare("b")
    world.declare("a", fallback=SMALL, dependsOn=["b"])
    world.settle()
    assert [start.server for start in world.starts] == ["b"]
    ready(world, "b")
    assert [(start.server, start.step.number) for start in world.starts] == [("b", 0), ("a", 1)]


def test_one_on_a_step_comes_back_on_it_where_only_what_was_asked_for_lacks_something() -> None:
    world = on_small()
    dies(world, "Crashed")
    world.advance(60.0)
    world.settle()
    assert begun(world)[-1] == ("Crashed", 1)


def test_a_step_is_not_tried_for_ever_while_the_gate_is_shut() -> None:
    steps = [{"model": "small.gguf", "on": ["ModelMissing", "GpuOutOfMemory"]}, {"ctx": 128}]
    world = World(gates={"a": gate(GONE, _1=GateFacts())})
    world.declare("a", port=8001, ctx=256, fallback={"steps": steps}, restart={"maxRestarts": 2})
    world.settle()
    for _ in range(3):
        dies(world)
        world.advance(60.0)
        world.settle()
    assert world.phase("a") is Phase.FAILED
    assert begun(world) == [("Created", 1), ("Crashed", 1), ("Crashed", 1)]


def test_a_step_that_was_tried_is_no_way_out_for_a_later_one() -> None:
    steps = [{"model": "small.gguf", "on": ["ModelMissing", "GpuOutOfMemory"]}, {"ctx": 128}]
    world = server(fallback={"steps": steps})
    dies(world)
    dies(world)
    world.advance(1.0)
    ready(world)
    dies(world, "Crashed")
    world.gates["a"] = gate(GONE, _1=GateFacts())
    world.advance(60.0)
    world.settle()
    assert begun(world)[1:] == [("Fallback", 1), ("Fallback", 2)]
    assert (world.phase("a"), world.records["a"].step) == (Phase.BLOCKED, 2)


def test_steps_with_wrong_flags_follow_each_other_for_what_shut_the_gate() -> None:
    steps = [{"model": f"{number}.gguf", "on": ["ModelMissing"]} for number in (1, 2, 3)]
    world = World(gates={"a": gate(GONE, _1=GateFacts(), _2=GateFacts(), _3=GateFacts())})
    world.declare("a", port=8001, fallback={"steps": steps})
    world.settle()
    dies(world, "InvalidFlag")
    dies(world, "InvalidFlag")
    assert begun(world) == [("Created", 1), ("Fallback", 2), ("Fallback", 3)]


def test_a_step_without_a_model_of_its_own_makes_way_for_one_that_has_it() -> None:
    steps = [{"ctx": 128}, {"model": "small.gguf", "on": ["ModelMissing"]}]
    world = server(fallback={"steps": steps})
    dies(world)
    world.advance(1.0)
    ready(world)
    world.gates["a"] = gate(GONE, _2=GateFacts())
    dies(world, "Crashed")
    world.advance(60.0)
    world.settle()
    assert begun(world)[-1] == ("Crashed", 2)
    assert [(one.step, one.result) for one in world.records["a"].tried] == [(0, "GpuOutOfMemory"), (1, "ModelMissing")]


def test_a_restart_is_held_against_the_step_and_one_as_asked_for_is_not() -> None:
    world = on_small()
    world.ask("primary", "a")
    world.settle()
    assert (world.reason("a", "Reconciled"), len(world.starts)) == ("GateShut", 2)
    world.requests["primary"].clear()
    world.ask("restart", "a")
    world.settle()
    assert begun(world)[-1] == ("Requested", 1)


def test_a_step_that_made_room_in_vain_is_gone_back_to() -> None:
    world = server(fallback=SMALL, restart={"retryPrimaryAfter": "5s"})
    dies(world)
    world.advance(1.0)
    ready(world)
    world.process("a").busy_slots = 0
    world.process("a").obeys = False
    for seconds in (6.0, 0.6):
        world.advance(seconds)
        world.let_happen()
        world.settle()
    world.gates["a"] = gate(GateFacts("ModelGrowing", "still being written"), _1=GateFacts())
    world.advance(20.0)
    world.settle()
    assert begun(world)[1:] == [("Fallback", 1)] * 2
    record = world.records["a"]
    assert (record.primary_tries, record.ready_step, record.n, record.restarts) == (1, 1, 0, 0)
