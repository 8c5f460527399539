"""A command without a controller acts on what it names alone, and says so of the rest."""

import pytest

from reconciler.core.model import Exit, Phase
from tests.core.states import STATES, declares, fail_probes, ready, removed, running, starting
from tests.core.worlds import World

NO_CONTROLLER = "no controller is running; start one with: reconciler run"


def outside(world: World) -> World:
    world.scope = frozenset({"b"})
    return world


@pytest.mark.parametrize(
    "event",
    [
        declares(ctx=512),
        declares(suspend=True),
        lambda world: world.ask("stop", "a"),
        lambda world: world.ask("restart", "a"),
    ],
    ids=["ctx", "suspend", "stop", "restart"],
)
def test_what_was_not_named_goes_on_as_it_is(event: object) -> None:
    world = outside(running())
    assert callable(event)
    event(world)
    world.settle()
    assert (world.sent, world.phase("a")) == ([], Phase.READY)
    assert (world.reason("a", "Reconciled"), world.status("a").message) == ("NoController", NO_CONTROLLER)
    world.scope = None
    world.settle()
    assert [kind for kind, _ in world.sent] == ["Terminate"]


def test_what_is_as_declared_needs_no_controller() -> None:
    world = outside(running())
    world.settle()
    assert (world.reason("a", "Reconciled"), world.status("a").message) == ("AsDeclared", "")


def test_what_is_gone_from_the_files_runs_on() -> None:
    world = outside(running())
    removed(world)
    world.settle()
    assert (world.sent, world.phase("a")) == ([], Phase.PENDING)
    assert world.status("a").message == f"its document is gone, but {NO_CONTROLLER}"


@pytest.mark.parametrize("world", [running(), starting()], ids=["hung", "without progress"])
def test_what_is_unwell_is_not_stopped(world: World) -> None:
    outside(world)
    was = world.phase("a")
    if was is Phase.READY:
        fail_probes(6)(world)
    world.advance(600.0)
    world.settle()
    assert (world.sent, world.phase("a")) == ([], Phase.UNHEALTHY if was is Phase.READY else was)


@pytest.mark.parametrize("state", ["Blocked", "Suspended"])
def test_what_does_not_run_is_not_started(state: str) -> None:
    world = outside(STATES[state]())
    world.gates.clear()
    declares(suspend=False)(world)
    world.settle()
    assert (world.alive("a"), world.phase("a"), world.status("a").message) == ([], Phase.PENDING, NO_CONTROLLER)


def test_a_stop_that_was_begun_is_finished() -> None:
    world = outside(STATES["Stopping"]())
    world.advance(10.0)
    world.settle()
    assert [kind for kind, _ in world.sent] == ["Terminate", "Kill"]
    assert (world.alive("a"), world.status("a").message) == ([], NO_CONTROLLER)


def test_what_is_named_is_started_and_stopped() -> None:
    world = STATES["Suspended"]()
    world.scope = frozenset({"a"})
    declares(suspend=False)(world)
    world.settle()
    ready(world)
    world.ask("stop", "a")
    world.settle()
    assert world.ended[-1].exit == Exit(code=0)
