"""What was asked for is tried again in place of a step: when due, while nobody is served, and ever less often."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.history import Tried
from reconciler.core.model import GateFacts, HealthState, Phase
from tests.core.states import ready
from tests.core.test_fallback import begun, degraded, dies, on_step, server
from tests.core.worlds import Simulated, World, health_of

AFTER = {"retryPrimaryAfter": "100s", "stabilityWindow": "60s"}


def serves(world: World, slots: int | None) -> None:
    world.process("a").busy_slots = slots
    world.let_happen()
    world.settle()


def idle_on_step(after: float = 100.0, **restart: Any) -> World:
    """One that has run on a step for so long, and is idle."""
    world = on_step(restart={**AFTER, **restart})
    serves(world, 0)
    world.advance(after)
    world.settle()
    return world


def tried_again(after: float = 100.0, **restart: Any) -> World:
    """What was asked for has just been begun again."""
    world = idle_on_step(after, **restart)
    world.advance(0.5)
    world.settle()
    assert begun(world)[-1] == ("PrimaryRetried", 0)
    return world


def test_it_is_off_by_default() -> None:
    world = on_step()
    serves(world, 0)
    world.advance(1e6)
    world.settle()
    assert (world.last.wake_at, len(world.starts)) == (None, 2)


def test_when_due_the_slots_are_asked_once_more_and_then_it_makes_room() -> None:
    world = idle_on_step(99.0)
    assert world.phase("a") is Phase.READY
    assert world.last.wake_at == pytest.approx(world.now.monotonic + 1.0)
    world.advance(1.0)
    world.settle()
    assert (world.phase("a"), world.sent) == (Phase.STOPPING, [])
    world.advance(0.5)
    world.settle()
    assert begun(world)[-1] == ("PrimaryRetried", 0)
    assert (world.records["a"].n, world.records["a"].restarts) == (0, 0)
    assert world.records["a"].ready_step == 1


@pytest.mark.parametrize("slots", [1, None], ids=["busy", "not known"])
def test_who_serves_is_left_alone(slots: int | None) -> None:
    world = on_step(restart=AFTER)
    serves(world, slots)
    for _ in range(5):
        world.advance(1000.0)
        world.settle()
    assert (len(world.starts), world.sent, world.told("Stopping")) == (2, [], [])
    serves(world, 0)
    assert world.phase("a") is Phase.STOPPING


@pytest.mark.parametrize(("after", "is_told"), [("100s", True), ("0s", False)])
def test_one_that_hides_its_slots_is_told_not_to_go_back_by_itself(after: str, is_told: bool) -> None:
    world = on_step(restart={"retryPrimaryAfter": after})
    assert "by itself" not in degraded(world)[2]
    world.process("a").health = replace(world.process("a").health, hides_slots=True)
    world.settle()
    assert ("; it does not go back by itself, for it does not tell" in degraded(world)[2]) is is_told
    assert degraded(world)[2].endswith("; go back with: reconciler restart a --primary")


@pytest.mark.parametrize("slots", [1, None])
def test_who_comes_while_it_makes_room_is_served(slots: int | None) -> None:
    world = idle_on_step()
    world.process("a").busy_slots = slots
    world.advance(0.5)
    world.let_happen()
    world.settle()
    assert (world.phase("a"), world.sent) == (Phase.READY, [])
    assert world.instances["a"].stopping is None
    serves(world, 0)
    world.advance(99.0)
    world.settle()
    assert world.phase("a") is Phase.READY
    world.advance(1.0)
    world.settle()
    assert world.phase("a") is Phase.STOPPING


def test_a_stop_that_is_asked_for_meanwhile_is_obeyed() -> None:
    world = idle_on_step()
    world.process("a").busy_slots = 1
    world.ask("stop", "a")
    world.advance(0.5)
    world.let_happen()
    world.settle()
    assert world.phase("a") is Phase.STOPPED


def test_a_shut_gate_postpones_it_and_says_nothing() -> None:
    world = on_step(restart=AFTER)
    serves(world, 0)
    world.gates["a"] = GateFacts("ModelMissing", "no file")
    world.advance(200.0)
    world.settle()
    assert (world.phase("a"), world.reason("a", "Reconciled")) == (Phase.READY, "AsDeclared")
    world.gates.clear()
    world.settle()
    assert world.phase("a") is Phase.STOPPING


def test_one_that_does_not_answer_is_not_stopped_for_it() -> None:
    world = on_step(restart=AFTER)
    world.process("a").health = health_of(HealthState.FAILING, failures=1, busy_slots=0)
    world.advance(200.0)
    world.settle()
    assert world.sent == []


def test_a_try_that_fails_goes_straight_back_to_the_step_that_was_ready() -> None:
    world = tried_again()
    dies(world)
    assert begun(world)[-1] == ("Fallback", 1)
    record = world.records["a"]
    assert (record.n, record.restarts, record.primary_tries) == (0, 0, 1)
    world.advance(2.0)
    ready(world)
    tried = world.records["a"].tried
    assert [(one.step, one.result) for one in tried] == [(0, "GpuOutOfMemory"), (1, "")]
    assert tried[1] == Tried(1, "ctx 16384", "", "", 2.0)
    assert degraded(world)[1] == "GpuOutOfMemory"


@pytest.mark.parametrize("cause", ["Crashed", "InvalidFlag", "ModelMissing"])
def test_it_goes_back_whatever_ended_the_try(cause: str) -> None:
    world = tried_again(maxRestarts=0)
    ready(world)
    world.advance(59.0)
    dies(world, cause)
    assert begun(world)[-1] == ("Fallback", 1)


def test_a_try_that_loads_for_ever_goes_back_too() -> None:
    world = tried_again()
    world.advance(600.0)
    world.settle()
    assert begun(world)[-1] == ("Fallback", 1)


@pytest.mark.parametrize(("after", "held"), [("100s", 600.0), ("700s", 700.0)])
def test_one_that_held_for_as_long_as_it_was_waited_for_has_arrived(after: str, held: float) -> None:
    world = tried_again(float(after[:-1]), retryPrimaryAfter=after)
    ready(world)
    assert degraded(world)[0] is False
    world.advance(held - 1.0)
    assert not world.settle().actions
    assert (world.records["a"].ready_step, world.last.wake_at) == (1, world.now.monotonic + 1.0)
    world.advance(1.0)
    world.settle()
    record = world.records["a"]
    assert (record.ready_step, record.primary_tries, record.tried) == (0, 0, ())
    dies(world)
    assert begun(world)[-1] == ("Fallback", 1)
    assert world.records["a"].primary_tries == 0


def test_one_that_was_stable_unseen_has_arrived_too() -> None:
    world = tried_again()
    ready(world)
    world.advance(601.0)
    dies(world, "Crashed")
    assert (world.phase("a"), world.records["a"].ready_step) == (Phase.BACKOFF, 0)


def test_each_failed_try_doubles_the_pause_up_to_a_day() -> None:
    world = on_step(restart={"retryPrimaryAfter": "1h"})
    pauses = []
    for _ in range(9):
        serves(world, 0)
        assert world.last.wake_at is not None
        pauses.append(world.last.wake_at - world.now.monotonic)
        world.advance(pauses[-1])
        world.settle()
        world.advance(0.5)
        world.settle()
        dies(world)
        ready(world)
    hour = 3600.0
    assert pauses == pytest.approx([hour, 2 * hour, 4 * hour, 8 * hour, 16 * hour, *[24 * hour] * 4])


@pytest.mark.parametrize(("window", "lasts"), [("0s", 0.5), ("5s", 6.0), ("60s", 65.0)])
def test_one_that_dies_in_service_each_time_is_tried_ever_less_often(window: str, lasts: float) -> None:
    world = server(restart={"retryPrimaryAfter": "1s", "stabilityWindow": window})

    def behave(process: Simulated) -> None:
        now, process.busy_slots, process.diagnosis = world.now.monotonic, 0, "OomKilled"
        process.ready_at = now + 0.1
        process.exits_at = float("inf") if process.step else now + lasts

    world.on_spawn = behave
    dies(world)
    while world.now.monotonic < 1000.0 + 24 * 3600.0:
        world.follow()
    assert {step for _, step in begun(world)} == {0, 1}
    assert world.records["a"].primary_tries > 10
    assert len(world.starts) < 60


def test_a_controller_that_dies_on_the_way_loses_nothing_of_it() -> None:
    world = tried_again()
    world.new_controller()
    world.settle()
    dies(world)
    assert begun(world)[-1] == ("Fallback", 1)


def test_a_person_who_restarts_during_a_try_gets_one_as_asked_for() -> None:
    world = tried_again()
    world.ask("restart", "a")
    world.settle()
    assert begun(world)[-1] == ("Requested", 0)
    dies(world)
    assert begun(world)[-1] == ("Fallback", 1)
