"""`dependsOn`: first starts wait for it, with the name and what to do; what ran before waits for nobody."""

from collections.abc import Callable
from typing import Any

import pytest

from reconciler.core.history import Trigger
from reconciler.core.model import Exit, GateFacts, HealthState, Phase, Problem
from tests.core.states import crash, crash_until_failed, ready
from tests.core.worlds import World, health_of

WAITS, UNAVAILABLE = (Phase.PENDING, "WaitingForDependency"), (Phase.BLOCKED, "DependencyUnavailable")


def two(**needed: Any) -> World:
    """`a` depends on `b`, which starts."""
    world = World()
    world.declare("a", dependsOn=["b"])
    world.declare("b", **needed)
    world.settle()
    return world


def both_ready() -> World:
    world = two()
    ready(world, "b")
    ready(world, "a")
    assert world.phase("a") is Phase.READY
    return world


def stands(world: World, name: str = "a") -> tuple[Phase, str]:
    return world.phase(name), world.reason(name)


def test_it_starts_once_all_are_ready_and_in_their_order() -> None:
    world = World()
    world.declare("a", dependsOn=["b", "c"])
    world.declare("b", dependsOn=["c"])
    world.declare("c")
    world.settle()
    assert [start.server for start in world.starts] == ["c"]
    assert stands(world) == stands(world, "b") == WAITS
    assert world.status("b").message == "it depends on 'c', which is Starting"
    ready(world, "c")
    assert [start.server for start in world.starts] == ["c", "b"]
    ready(world, "b")
    assert [start.server for start in world.starts] == ["c", "b", "a"]
    assert world.starts[-1].trigger is Trigger.CREATED


def undeclared(world: World) -> None:
    del world.files["b"]


def suspended(world: World) -> None:
    world.declare("b", suspend=True)


def stopped(world: World) -> None:
    world.ask("stop", "b")


def left_out(world: World) -> None:
    world.use("a")


def completed(world: World) -> None:
    world.declare("b", restart={"policy": "OnFailure"})
    world.settle()
    crash(world, "b", Exit(code=0))


def gate_shut(world: World) -> None:
    world.gates["b"] = GateFacts("ModelMissing", "no file at /m/b.gguf")


def hopeless(world: World) -> None:
    world.declare("b", restart={"policy": "Never"})
    world.settle()
    crash(world, "b")


def broken(world: World) -> None:
    del world.files["b"]
    world.problems = (Problem("b.yaml", "is wrong", server="b"),)


def port_taken(world: World) -> None:
    world.run_by_hand(9000, answers=False)
    world.declare("b", port=9000)


@pytest.mark.parametrize(
    ("happens", "expected", "told"),
    [
        (undeclared, UNAVAILABLE, "'b', which no manifest declares; declare it, or take it out of spec.dependsOn"),
        (undeclared, UNAVAILABLE, "reconciler edit server a"),
        (suspended, UNAVAILABLE, "which is suspended; resume it with: reconciler resume server/b"),
        (stopped, UNAVAILABLE, "which was stopped by request; start it with: reconciler start b"),
        (left_out, UNAVAILABLE, "which the active profile 'night' leaves out; add it there, or"),
        (left_out, UNAVAILABLE, "reconciler profile use --none"),
        (completed, UNAVAILABLE, "which has completed; run it again with: reconciler restart b"),
        (gate_shut, WAITS, "'b', which is Blocked (ModelMissing); see: reconciler describe server b"),
        (port_taken, WAITS, "'b', which is Blocked (PortInUse); see: reconciler describe server b"),
        (hopeless, WAITS, "'b', which is Failed (RestartsExhausted); see: reconciler describe server b"),
        (broken, WAITS, "'b', which is Invalid (InvalidManifest); see: reconciler describe server b"),
    ],
)
def test_what_is_missing_is_told(happens: Callable[[World], None], expected: tuple[Phase, str], told: str) -> None:
    world = World()
    world.declare("a", dependsOn=["b"])
    world.declare("b")
    happens(world)
    world.settle()
    assert stands(world) == expected
    assert told in world.status("a").message
    assert not world.alive("a")


def test_what_only_a_person_brings_is_told_first() -> None:
    world = World()
    world.declare("a", dependsOn=["b", "nobody"])
    world.declare("b")
    world.settle()
    assert stands(world) == UNAVAILABLE
    assert [event.reason for event in world.events if event.server == "a"] == ["DependencyUnavailable"]


def test_its_own_shut_gate_is_told_before_what_it_waits_for() -> None:
    world = World(gates={"a": GateFacts("ModelMissing", "no file at /m/a.gguf")})
    world.declare("a", dependsOn=["b"])
    world.settle()
    assert stands(world) == (Phase.BLOCKED, "ModelMissing")


def test_one_that_loads_again_is_not_ready() -> None:
    world = World()
    world.declare("b")
    world.settle()
    ready(world, "b")
    world.process("b").health = health_of(HealthState.LOADING)
    world.declare("a", dependsOn=["b"])
    world.settle()
    assert stands(world) == WAITS
    ready(world, "b")
    assert world.phase("a") is Phase.STARTING


def loses(world: World) -> None:
    crash_until_failed(world, "b")


@pytest.mark.parametrize("happens", [loses, undeclared, suspended, stopped, left_out])
def test_a_later_loss_restarts_nothing(happens: Callable[[World], None]) -> None:
    world = both_ready()
    identity, starts = world.process("a").identity, [start for start in world.starts if start.server == "a"]
    happens(world)
    world.settle()
    world.advance(3.0)
    world.settle()
    assert world.process("a").identity == identity
    assert [start for start in world.starts if start.server == "a"] == starts
    assert stands(world) == (Phase.READY, "Ready")


@pytest.mark.parametrize(
    ("change", "trigger"),
    [
        (lambda world: crash(world, "a"), Trigger.CRASHED),
        (lambda world: world.declare("a", dependsOn=["b"], ctx=512), Trigger.SPEC_CHANGED),
        (lambda world: world.ask("restart", "a"), Trigger.REQUESTED),
    ],
)
def test_what_ran_comes_back_without_it(change: Callable[[World], Any], trigger: Trigger) -> None:
    world = both_ready()
    world.ask("stop", "b")
    world.settle()
    change(world)
    world.settle()
    world.advance(0.5)
    world.settle()
    assert (world.starts[-1].server, world.starts[-1].trigger) == ("a", trigger)


def test_after_a_rest_and_after_a_reboot_it_waits_again() -> None:
    world = both_ready()
    world.ask("stop", "a")
    world.settle()
    world.requests["stop"] = {"b": 9}
    world.settle()
    assert stands(world) == UNAVAILABLE
    del world.requests["stop"]["b"]
    world.reboot("boot-2")
    world.settle()
    assert stands(world) == WAITS
    ready(world, "b")
    assert world.phase("a") is Phase.STARTING


def test_a_person_may_start_it_without_what_it_depends_on() -> None:
    world = two(suspend=True)
    assert stands(world) == UNAVAILABLE
    world.ask("restart", "a")
    world.settle()
    assert world.starts[-1].trigger is Trigger.REQUESTED


def test_an_edit_while_it_waits_does_not_let_it_go() -> None:
    world = two()
    world.declare("a", dependsOn=["b"], ctx=512)
    world.settle()
    assert stands(world) == WAITS
    world.declare("a", ctx=512)
    world.settle()
    assert world.phase("a") is Phase.STARTING
    assert world.starts[-1].trigger is Trigger.CREATED


def test_it_is_no_part_of_the_fingerprint() -> None:
    world = both_ready()
    identity = world.process("a").identity
    world.declare("a", dependsOn=["b", "nobody"])
    world.settle()
    assert world.process("a").identity == identity
    assert world.documents["a"].generation == 2
