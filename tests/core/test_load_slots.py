"""Who waits for whom to load: servers that were Ready wait for each other, first loads for everybody."""

import pytest

from reconciler.core.load_slots import STALL_WHEN_BACK
from reconciler.core.model import Exit, Health, HealthState, Limits, Phase
from tests.core.states import ready
from tests.core.worlds import Simulated, World


def loads_for_ever(process: Simulated) -> None:
    process.health = Health(HealthState.LOADING)


def fleet(*, ready_ones: int, hung: int, loads: int = 4) -> World:
    """Some servers are Ready; the first loads of others hang, and hold every slot."""
    world = World(limits=Limits(loads=loads))
    for number in range(ready_ones):
        world.declare(f"ready-{number:03}", restart={"initialBackoff": "0s"})
    while len(world.processes) < ready_ones or any(world.phase(name) is not Phase.READY for name in world.files):
        world.settle()
        for process in world.processes:
            if world.phase(process.server) is Phase.STARTING:
                ready(world, process.server)
    world.on_spawn = loads_for_ever
    for number in range(hung):
        world.declare(f"hung-{number:03}")
    world.settle()
    return world


def crash(world: World, *names: str) -> None:
    for name in names:
        world.process(name).end(Exit(signal=9))
    world.settle()


def phases(world: World, of: str) -> list[str]:
    return [world.phase(name).value for name in sorted(world.files) if name.startswith(of)]


def test_a_hundred_hung_loaders_do_not_delay_the_restart_of_one_that_was_ready() -> None:
    world = fleet(ready_ones=1, hung=100)
    assert phases(world, "hung").count("Starting") == 4
    crash(world, "ready-000")
    assert world.phase("ready-000") is Phase.STARTING
    assert len(world.alive("ready-000")) == 1


def test_nor_do_those_that_compute_for_ever() -> None:
    world = fleet(ready_ones=1, hung=100)
    for process in world.processes:
        if process.server.startswith("hung"):
            process.health = Health(HealthState.LOADING, last_progress=world.now.monotonic)
    crash(world, "ready-000")
    assert world.phase("ready-000") is Phase.STARTING


def test_many_that_crash_at_once_come_back_as_many_at_a_time_as_there_are_slots() -> None:
    world = fleet(ready_ones=10, hung=20)
    crash(world, *(f"ready-{number:03}" for number in range(10)))
    assert phases(world, "ready").count("Starting") == 4
    assert phases(world, "ready").count("Pending") == 6
    assert world.status("ready-009").message == "4 servers are loading, and 4 may at once"


def test_one_that_comes_back_and_hangs_keeps_others_waiting_for_seconds_only() -> None:
    world = fleet(ready_ones=5, hung=0)
    crash(world, *(f"ready-{number:03}" for number in range(5)))
    assert world.phase("ready-004") is Phase.PENDING
    world.advance(STALL_WHEN_BACK - 1)
    world.settle()
    assert world.phase("ready-004") is Phase.PENDING
    assert world.last.wake_at == pytest.approx(world.now.monotonic + 1)
    world.advance(1)
    world.settle()
    assert world.phase("ready-004") is Phase.STARTING


def test_first_loads_wait_for_those_that_come_back() -> None:
    world = fleet(ready_ones=4, hung=0)
    crash(world, *(f"ready-{number:03}" for number in range(4)))
    world.declare("new")
    world.settle()
    assert (world.phase("new"), world.reason("new")) == (Phase.PENDING, "WaitingForSlot")


def test_one_that_never_got_ready_again_has_no_precedence_left() -> None:
    world = fleet(ready_ones=1, hung=4)
    crash(world, "ready-000")
    assert world.phase("ready-000") is Phase.STARTING
    crash(world, "ready-000")
    world.advance(1)
    world.settle()
    assert world.reason("ready-000") == "WaitingForSlot"


def test_without_a_limit_nobody_waits() -> None:
    world = fleet(ready_ones=0, hung=30, loads=0)
    assert set(phases(world, "hung")) == {"Starting"}
