"""Drain, SIGTERM once, SIGKILL when the grace is over; and what people asked for, which survives everything."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.core.history import StopReason, Trigger
from reconciler.core.model import Exit, HealthState, Phase
from tests.core.states import answers, asks, declares, fail_probes, ready, removed, running, starting, stopping
from tests.core.worlds import ControllerDied, World, health_of

Event = Callable[[World], None]


def kinds(world: World) -> list[str]:
    return [kind for kind, _ in world.sent]


def deaf(**fields: object) -> World:
    world = running(**fields)
    world.process("a").obeys = False
    return world


# ---------------------------------------------------------------- TERM, grace, KILL


def test_sigterm_is_sent_once_and_sigkill_after_the_grace() -> None:
    world = deaf(stop={"gracePeriod": "30s"})
    world.ask("stop", "a")
    began = world.now.monotonic
    for _ in range(6):
        assert world.settle().wake_at == began + 30.0
        world.advance(4.9)
    assert kinds(world) == ["Terminate"]
    assert (world.phase("a"), world.status("a").message) == (Phase.STOPPING, "SIGTERM sent")
    world.advance(0.6)
    world.settle()
    assert kinds(world) == ["Terminate", "Kill"]
    pid = world.ended[-1].identity.pid if world.ended[-1].identity else 0
    assert world.told("Killed") == [f"pid {pid} did not end within 30 s of SIGTERM"]
    assert (world.ended[-1].exit, world.ended[-1].diagnosis) == (Exit(signal=9), "StopRequested")


def test_one_that_sleeps_through_sigkill_is_sent_another_each_second() -> None:
    world = deaf(stop={"gracePeriod": "0s"})
    world.process("a").killable = False
    world.ask("stop", "a")
    for number in range(1, 5):
        assert world.settle().wake_at == world.now.monotonic + 1.0
        assert kinds(world) == ["Terminate", *["Kill"] * number]
        world.advance(1.0)
    assert len(world.told("Killed")) == 1


@pytest.mark.parametrize("sent", [False, True], ids=["before it was sent", "after it was sent"])
def test_a_controller_that_dies_over_a_sigterm_does_not_send_a_second(sent: bool) -> None:
    world = deaf()
    world.ask("stop", "a")
    world.steps_left = 2 if sent else 1
    with pytest.raises(ControllerDied):
        world.run()
    world.new_controller()
    world.settle()
    assert kinds(world) == (["Terminate"] if sent else [])
    assert world.settle().wake_at == world.now.monotonic + 10.0
    world.advance(10.0)
    world.settle()
    assert kinds(world)[-1:] == ["Kill"]
    assert kinds(world).count("Terminate") <= 1
    assert world.phase("a") is Phase.STOPPED


def test_the_grace_of_a_server_that_is_gone_is_what_it_was_started_with() -> None:
    world = deaf(stop={"gracePeriod": "3s"})
    removed(world)
    assert world.settle().wake_at == world.now.monotonic + 3.0


# ---------------------------------------------------------------- drain


def test_a_drain_waits_for_idle_slots() -> None:
    world = running(stop={"drain": "5s"})
    world.ask("stop", "a")
    world.process("a").health = health_of(busy_slots=2)
    assert world.settle().wake_at == world.now.monotonic + 0.25
    assert (kinds(world), world.phase("a"), world.status("a").message) == ([], Phase.STOPPING, "")
    world.process("a").health = health_of(busy_slots=0)
    world.settle()
    assert kinds(world) == ["Terminate"]


@pytest.mark.parametrize("busy", [1, None])
def test_a_drain_ends_in_time(busy: int | None) -> None:
    world = running(stop={"drain": "5s"})
    world.ask("stop", "a")
    world.process("a").health = health_of(busy_slots=busy)
    world.settle()
    world.advance(4.9)
    assert world.settle().wake_at == pytest.approx(world.now.monotonic + 0.1)
    world.advance(0.2)
    world.settle()
    assert kinds(world) == ["Terminate"]


def test_what_is_declared_now_decides_on_drain_and_grace() -> None:
    world = deaf(stop={"drain": "0s", "gracePeriod": "3s"})
    world.process("a").health = health_of(busy_slots=1)
    declares(stop={"drain": "5s", "gracePeriod": "20s"})(world)
    world.ask("stop", "a")
    world.settle()
    assert kinds(world) == []
    world.advance(5.0)
    assert world.settle().wake_at == world.now.monotonic + 20.0


def test_what_hangs_or_never_served_is_not_drained() -> None:
    hangs = running(stop={"drain": "5s"})
    fail_probes(6)(hangs)
    hangs.settle()
    loads = starting(stop={"drain": "5s"})
    loads.ask("stop", "a")
    loads.settle()
    assert kinds(hangs) == kinds(loads) == ["Terminate"]


@pytest.mark.parametrize("end", [asks("stop"), removed, declares(ctx=512)], ids=["stop", "removed", "update"])
@pytest.mark.parametrize("hangs_first", [True, False])
def test_what_hangs_when_it_is_to_stop_or_while_it_drains_is_not_waited_for(end: Event, hangs_first: bool) -> None:
    world = running(stop={"drain": "1h"}, probes={"liveness": {"failureThreshold": 2}})
    world.process("a").health = health_of(busy_slots=1)
    for event in [fail_probes(2), end] if hangs_first else [end, fail_probes(1), fail_probes(2)]:
        assert kinds(world) == []
        event(world)
        world.settle()
        world.settle()
    assert kinds(world)[:1] == ["Terminate"]


def test_what_loads_anew_is_not_drained() -> None:
    world = running(stop={"drain": "1h"})
    answers(HealthState.LOADING)(world)
    world.settle()
    world.ask("stop", "a")
    world.settle()
    assert kinds(world) == ["Terminate"]


def test_the_drain_of_a_server_that_is_gone_is_what_it_was_started_with() -> None:
    world = running(stop={"drain": "5s"})
    world.process("a").health = health_of(busy_slots=1)
    removed(world)
    assert world.settle().wake_at == world.now.monotonic + 0.25


# ---------------------------------------------------------------- requests


def test_a_stop_is_held_until_it_is_taken_back() -> None:
    world = running()
    world.ask("stop", "a")
    world.settle()
    for event in (declares(ctx=512), lambda w: w.reboot("boot-2"), lambda w: w.new_controller()):
        event(world)
        world.settle()
        assert world.phase("a") is Phase.STOPPED
    assert world.status("a").message == "stopped by request; start it with: reconciler start a"
    world.requests["stop"].clear()
    world.settle()
    assert (world.phase("a"), world.starts[-1].trigger) == (Phase.STARTING, Trigger.RESUMED)


def test_a_stop_taken_back_in_time_still_needs_the_old_one_to_end() -> None:
    world = deaf()
    world.ask("stop", "a")
    world.settle()
    world.requests["stop"].clear()
    world.settle()
    assert world.phase("a") is Phase.STOPPING
    world.process("a").end(Exit(code=0))
    world.settle()
    assert world.phase("a") is Phase.STARTING


def test_suspending_in_the_file_and_taking_it_back() -> None:
    world = running()
    declares(suspend=True)(world)
    world.settle()
    assert (world.phase("a"), world.status("a").message) == (Phase.STOPPED, "suspended by its manifest")
    declares(suspend=False)(world)
    world.settle()
    assert world.starts[-1].trigger is Trigger.RESUMED


@pytest.mark.parametrize("count", [0, 3], ids=["Ready", "Unhealthy"])
def test_a_restart_is_done_once(count: int) -> None:
    world = running()
    fail_probes(count)(world) if count else None
    world.ask("restart", "a")
    world.settle()
    assert kinds(world) == ["Terminate"]
    assert (world.requests["restart"], world.starts[-1].trigger) == ({}, Trigger.REQUESTED)
    ready(world)
    assert kinds(world) == ["Terminate"]


def test_a_restart_survives_the_controller() -> None:
    world = deaf()
    world.ask("restart", "a")
    world.steps_left = 1
    with pytest.raises(ControllerDied):
        world.run()
    world.new_controller()
    world.settle()
    assert world.requests["restart"] == {}
    world.process("a").end(Exit(code=0))
    world.settle()
    assert world.starts[-1].trigger is Trigger.REQUESTED


@pytest.mark.parametrize(
    ("way", "message"),
    [
        (
            lambda world: world.ask("stop", "a"),
            "it is StopRequested: stopped by request; start it with: reconciler start a",
        ),
        (declares(suspend=True), "it is Suspended: suspended by its manifest"),
    ],
)
def test_a_restart_of_what_is_to_rest_is_refused_with_the_reason(way: object, message: str) -> None:
    world = running()
    assert callable(way)
    way(world)
    world.settle()
    world.ask("restart", "a")
    world.settle()
    assert world.requests["restart"] == {}
    assert world.told("RestartIgnored") == [f"a restart was asked for, but {message}"]


def test_requests_of_a_server_that_is_gone_go_with_it() -> None:
    world = running()
    world.ask("stop", "a")
    removed(world)
    world.settle()
    assert not any(world.requests.values())
    assert world.told("Removed") == ["its document is gone, and nothing of it runs"]


# ---------------------------------------------------------------- ends that were asked for


@pytest.mark.parametrize("exit_", [Exit(code=0), Exit(code=1), Exit(signal=9), Exit()])
def test_an_exit_while_stopping_is_no_failure(exit_: Exit) -> None:
    world = stopping()
    world.process("a").end(exit_)
    world.settle()
    assert (world.phase("a"), world.records["a"].n, world.records["a"].restarts) == (Phase.STARTING, 0, 0)
    assert (world.ended[-1].diagnosis, world.ended[-1].stop_reason) == ("SpecChanged", StopReason.SPEC_CHANGED)
    assert world.told("Stopped") == [f"instance {world.ended[-1].uid} ended ({exit_}): SpecChanged"]


def test_a_document_that_comes_back_while_its_server_ends_starts_it_again() -> None:
    world = deaf()
    removed(world)
    world.settle()
    assert world.phase("a") is Phase.STOPPING
    world.declare("a")
    world.process("a").end(Exit(code=0))
    world.settle()
    assert (world.phase("a"), world.records["a"].n) == (Phase.STARTING, 0)


def test_a_start_without_progress_is_stopped_and_counts() -> None:
    world = starting()
    process = world.process("a")
    process.health = replace(process.health, state=HealthState.LOADING, last_progress=world.now.monotonic + 400.0)
    world.advance(600.0)
    assert world.settle().wake_at == world.now.monotonic + 400.0
    world.advance(400.0)
    world.settle()
    assert (world.phase("a"), world.records["a"].n) == (Phase.BACKOFF, 1)
    why = "StartupTimeout: not Ready, and no progress for 10m (probes.startup.deadline)"
    assert world.status("a").message == f"ended by the controller: {why}; restart 1 of 3 after 0.5 s"
