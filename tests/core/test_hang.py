"""A server that is busy, and one that answers and does not work."""

import pytest

from reconciler.core.model import HealthState, Phase
from tests.core.states import fail_probes, running
from tests.core.worlds import World, health_of

BUSY = health_of(HealthState.BUSY, message="/health: no answer within 15 s, but it computes")


def crashed_once() -> World:
    """Ready again after a restart that is not forgotten yet."""
    world = running()
    fail_probes(6)(world)
    world.settle()
    world.advance(0.5)
    world.settle()
    world.process("a").health = health_of()
    world.settle()
    assert (world.phase("a"), world.records["a"].n) == (Phase.READY, 1)
    return world


def test_a_busy_server_is_ready_and_says_that_it_is_busy() -> None:
    world = running()
    world.process("a").health = BUSY
    world.settle()
    ready = world.status("a").conditions[0]
    assert (world.phase("a"), ready.status, ready.reason) == (Phase.READY, True, "Busy")
    assert world.status("a").message == BUSY.message
    assert world.told("Unhealthy") == []
    world.process("a").health = health_of()
    world.settle()
    assert (world.reason("a"), world.status("a").message) == ("Ready", "")


def test_an_unhealthy_server_that_computes_is_neither_ready_nor_restarted() -> None:
    world = running()
    fail_probes(3)(world)
    world.settle()
    world.process("a").health = BUSY
    world.settle()
    assert (world.phase("a"), world.reason("a")) == (Phase.UNHEALTHY, "NotAnswering")
    assert world.status("a").message == BUSY.message
    world.process("a").health = health_of()
    world.settle()
    assert world.phase("a") is Phase.READY


def test_why_no_completion_can_be_tried_is_shown_of_a_ready_server() -> None:
    world = running()
    world.process("a").health = health_of(message="no completion can be tried: /completion answers 401")
    world.settle()
    assert (world.phase("a"), world.reason("a")) == (Phase.READY, "Ready")
    assert world.status("a").message == "no completion can be tried: /completion answers 401"


@pytest.mark.parametrize(("failures", "forgotten"), [(0, True), (2, False)])
def test_a_server_whose_completions_fail_gains_no_stability(failures: int, forgotten: bool) -> None:
    """Ready until it is sure that it does not work, it would be restarted for ever and never be Failed."""
    world = crashed_once()
    state = HealthState.FAILING if failures else HealthState.OK
    world.process("a").health = health_of(state, failures=failures)
    world.advance(60.0)
    world.settle()
    assert (world.records["a"].n == 0) is forgotten


def test_it_is_failed_in_the_end() -> None:
    world = running()
    for _ in range(20):
        for failures in (1, 2, 3, 4, 5, 6):
            if world.alive("a"):
                fail_probes(failures)(world)
                world.settle()
                world.advance(30.0)
                world.settle()
        if world.phase("a") is Phase.FAILED:
            break
        world.process("a").health = health_of()
        world.settle()
    assert world.phase("a") is Phase.FAILED
    assert world.records["a"].restarts == 3
