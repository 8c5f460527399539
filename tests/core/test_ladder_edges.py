"""The ladder where wishes, documents and other failures cut across it: what is kept of it, and what is forgotten."""

from itertools import pairwise
from typing import Any

import pytest

from reconciler.core.history import StopReason, Trigger
from reconciler.core.model import Exit, Phase
from tests.core.states import SHUT, ready
from tests.core.test_fallback import OOM, begun, degraded, dies, on_step, server
from tests.core.worlds import Simulated, World

DRAINS = {"stop": {"drain": "30s"}}
TWO = {"steps": [{"flags": {"threads": 2}}, {"ctx": 128}]}


def busy_on_step(**fields: Any) -> World:
    """One that runs on a step, and processes a request."""
    world = on_step(**{**DRAINS, **fields})
    serve(world, 1)
    return world


def serve(world: World, slots: int) -> None:
    world.process("a").busy_slots = slots
    world.let_happen()
    world.settle()


def redeclare(world: World, **fields: Any) -> None:
    world.declare("a", **{"ctx": 32768, "gpuLayers": 0, "port": 8001, **DRAINS, **fields})
    world.settle()


# ---------------------------------------------------------------- wishes and documents while it drains


@pytest.mark.parametrize("wish", ["stop", "suspend", "profile"])
def test_a_rest_that_is_taken_back_while_it_drains_is_a_way_back_too(wish: str) -> None:
    world = busy_on_step()
    match wish:
        case "stop":
            world.ask("stop", "a")
        case "suspend":
            redeclare(world, suspend=True)
        case _:
            world.use()
    world.settle()
    assert world.phase("a") is Phase.STOPPING
    world.requests["stop"].clear()
    world.profile = None
    redeclare(world)
    assert world.phase("a") is Phase.STOPPING
    serve(world, 0)
    assert begun(world)[-1] == ("Resumed", 0)
    assert world.records["a"].ready_step == 0


@pytest.mark.parametrize(
    ("change", "step"), [({"fallback": TWO}, 0), ({"restart": {"maxRestarts": 9}}, 0), ({"labels": {"x": "1"}}, 1)]
)
def test_a_restart_keeps_the_step_unless_the_document_changes_while_it_drains(change: Any, step: int) -> None:
    world = busy_on_step()
    world.ask("restart", "a")
    world.settle()
    redeclare(world, **change)
    serve(world, 0)
    assert begun(world)[-1] == ("Requested", step)


def test_a_restart_together_with_another_ladder_begins_as_asked_for() -> None:
    world = busy_on_step()
    world.ask("restart", "a")
    redeclare(world, fallback=TWO)
    assert world.instances["a"].stop_reason is StopReason.RESTART_REQUESTED
    serve(world, 0)
    assert begun(world)[-1] == ("Requested", 0)


def test_a_document_that_changes_while_a_step_makes_room_has_a_ladder_of_its_own() -> None:
    restart = {"retryPrimaryAfter": "5s"}
    world = on_step(2, restart=restart)
    world.process("a").obeys = False
    serve(world, 0)
    for seconds in (6.0, 0.6):
        world.advance(seconds)
        world.settle()
    assert world.instances["a"].terminated is not None
    redeclare(world, ctx=1048576, restart=restart)
    world.process("a").end(Exit(code=0))
    world.settle()
    dies(world)
    assert begun(world)[-1] == ("Fallback", 1)
    assert world.starts[-1].step.changes == {"ctx": 524288}


def test_what_is_tried_again_beside_a_step_of_an_older_document_does_not_go_back_to_it() -> None:
    restart = {"retryPrimaryAfter": "5s"}
    world = on_step(2, restart=restart)
    serve(world, 0)
    for seconds in (6.0, 0.6):
        world.advance(seconds)
        world.settle()
    assert begun(world)[-1] == ("PrimaryRetried", 0)
    world.declare("a", ctx=32768, gpuLayers=0, port=8001, restart=restart, fallback=TWO)
    world.settle()
    dies(world)
    assert begun(world)[-1] == ("Fallback", 1)


def test_a_step_of_an_older_ladder_that_dies_is_no_place_on_the_new_one() -> None:
    world = busy_on_step(fallback={"steps": [{"ctx": 512}, {"ctx": 256}]})
    world.gates["a"] = SHUT
    world.declare("a", ctx=32768, gpuLayers=0, port=8001, fallback=TWO)
    world.settle()
    assert world.reason("a", "Reconciled") == "GateShut"
    world.process("a").end(Exit(code=1), OOM)
    world.settle()
    world.gates.clear()
    world.settle()
    assert begun(world)[-1] == ("SpecChanged", 0)


@pytest.mark.parametrize("is_never", [True, False])
def test_an_adoption_that_finds_nobody_is_a_start_as_declared(is_never: bool) -> None:
    world = server(restart={"policy": "Never"}) if is_never else on_step()
    dies(world, "Crashed")
    restarts = world.records["a"].restarts
    world.ask("adopt", "a")
    world.settle()
    assert begun(world)[-1] == ("Requested", 0)
    assert world.records["a"].restarts == restarts


# ---------------------------------------------------------------- steps that fail otherwise


@pytest.mark.parametrize("cause", ["StartupTimeout", "DownloadFailed", "Crashed", "Unknown", "SpawnFailed"])
def test_a_step_that_never_ran_does_not_hide_those_behind_it(cause: str) -> None:
    world = server(fallback=TWO)
    dies(world)
    dies(world, cause)
    assert begun(world) == [("Created", 0), ("Fallback", 1), ("Fallback", 2)]
    ready(world)
    assert degraded(world)[:2] == (True, OOM)
    assert world.records["a"].last_cause == OOM


def test_several_of_them_are_passed_over() -> None:
    world = server(fallback={"steps": [{"threads": 2}, {"threads": 1, "on": ["Crashed"]}, {"ctx": 128}]})
    dies(world)
    dies(world, "Crashed")
    dies(world, "StartupTimeout")
    assert begun(world)[1:] == [("Fallback", 1), ("Fallback", 2), ("Fallback", 3)]
    assert degraded(world)[1] == OOM


def test_one_that_has_run_and_crashes_stays_on_its_step() -> None:
    world = on_step(fallback=TWO)
    dies(world, "Crashed")
    world.advance(1.0)
    world.settle()
    dies(world, "Crashed")
    assert begun(world)[2:] == [("Crashed", 1)]
    assert world.phase("a") is Phase.BACKOFF


def test_what_only_the_world_mends_is_waited_for_on_the_same_step() -> None:
    world = server(fallback=TWO)
    dies(world)
    dies(world, "SharedLibraryMissing")
    assert (world.phase("a"), world.reason("a")) == (Phase.BLOCKED, "SharedLibraryMissing")
    world.advance(0.5)
    world.settle()
    assert begun(world)[-1] == (Trigger.UNBLOCKED, 1)


# ---------------------------------------------------------------- a ladder that ends in nothing, again and again


def hopeless(**fields: Any) -> tuple[World, list[float]]:
    """Twelve hours of one that no step helps, and the moments at which what was asked for was tried by time."""
    world = World()

    def behave(process: Simulated) -> None:
        process.diagnosis, process.exits_at = OOM, world.now.monotonic + 0.1

    world.on_spawn = behave
    world.declare("a", ctx=32768, gpuLayers=0, **fields)
    while world.now.monotonic < 1000.0 + 12 * 3600.0:
        world.follow()
    tried = [one.intent.monotonic for one in world.ended if one.trigger is Trigger.RETRIED]
    return world, tried


def pauses(**fields: Any) -> list[float]:
    _, tried = hopeless(**fields)
    return [round(after - before, -1) for before, after in pairwise(tried)]


def test_a_whole_ladder_is_tried_ever_less_often_up_to_once_an_hour() -> None:
    assert pauses()[:6] == [600.0, 1200.0, 2400.0, 3600.0, 3600.0, 3600.0]


def test_a_pause_that_is_longer_already_stays_so() -> None:
    assert set(pauses(restart={"retryFailedAfter": "2h"})) == {7200.0}


def test_a_single_try_is_made_as_often_as_before() -> None:
    assert set(pauses(fallback="off")) == {300.0}


@pytest.mark.parametrize("is_watched", [True, False])
def test_one_that_was_stable_on_a_step_begins_with_the_first_pause_again(is_watched: bool) -> None:
    world, _ = hopeless(restart={"maxRestarts": 0})
    assert world.records["a"].failed_times > 4
    world.on_spawn = lambda _process: None
    while world.phase("a") is not Phase.STARTING:
        world.follow()
    dies(world)
    ready(world)
    assert world.records["a"].failed_times > 4
    world.advance(600.0)
    if is_watched:
        world.settle()
    else:
        dies(world)
    assert world.records["a"].failed_times == 0
