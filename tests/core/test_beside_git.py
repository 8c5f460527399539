"""What local servers keep beside those that come from Git: their ports, and a slot to load in."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.backoff import LEAST_FROM_GIT
from reconciler.core.load_slots import LONGEST_HOLD
from reconciler.core.model import GateFacts, Health, Limits, Phase
from reconciler.core.source import GIT
from tests.core.states import ready
from tests.core.worlds import World

DENIED = GateFacts("PolicyDenied", "policy.git.flags: …")


def from_git(world: World, name: str, **fields: Any) -> None:
    world.files[name] = replace(world.declare(name, **fields), origin=GIT)


def beside(**limits: Any) -> World:
    """A local server `home` that is Ready."""
    world = World(limits=Limits(**limits))
    world.declare("home")
    world.settle()
    ready(world, "home")
    return world


def kill_home(world: World) -> None:
    world.process("home").end(world.process("home").exits_as)
    world.settle()


def wait(world: World, seconds: float = 5.0) -> None:
    world.advance(seconds)
    world.settle()


# ---------------------------------------------------------------- ports


def test_one_from_git_does_not_take_the_port_of_a_local_one_that_died() -> None:
    world = beside()
    port = world.process("home").port
    from_git(world, "thief", port=port)
    world.settle()
    kill_home(world)
    assert world.phase("thief") is Phase.BLOCKED
    told = f"port {port} is held by server 'home'; it is a local server, which keeps its port; declare another one"
    assert (world.reason("thief"), world.status("thief").message) == ("PortInUse", told)
    wait(world)
    assert world.process("home").port == port


def test_one_from_git_keeps_running_while_its_new_port_is_a_local_ones() -> None:
    world = beside()
    port = world.process("home").port
    from_git(world, "other", port=9001)
    world.settle()
    ready(world, "other")
    from_git(world, "other", port=port)
    world.ask("stop", "home")
    world.settle()
    wait(world)
    assert (world.phase("home"), world.process("other").port) == (Phase.STOPPED, 9001)


def test_a_port_is_kept_at_its_own_address_only() -> None:
    world = beside()
    port = world.process("home").port
    from_git(world, "other", port=port, host="127.0.0.2")
    world.settle()
    assert world.process("other").port == port


def test_a_local_one_that_declares_the_port_gets_it() -> None:
    world = beside()
    port = world.process("home").port
    world.declare("other", port=port)
    kill_home(world)
    assert world.process("other").port == port
    wait(world)
    assert world.process("home").port != port


@pytest.mark.parametrize("fields", [{}, {"suspend": True}])
@pytest.mark.parametrize("gate", [DENIED, None])
def test_no_number_of_documents_from_git_leaves_a_local_one_without_a_port(
    gate: GateFacts | None, fields: dict[str, Any]
) -> None:
    world = beside(port_low=8001, port_high=8004)
    for port in range(8001, 8005):
        from_git(world, f"squat-{port}", port=port, **fields)
        if gate:
            world.gates[f"squat-{port}"] = gate
    kill_home(world)
    wait(world)
    assert world.process("home").port == 8001
    world.declare("second")
    world.settle()
    free = gate or fields
    assert bool(world.alive("second")) is bool(free)
    assert free or world.reason("second") == "NoFreePort"


def test_where_there_is_another_a_local_one_leaves_the_declared_port_to_git() -> None:
    world = World()
    world.declare("home")
    from_git(world, "other", port=8001)
    world.settle()
    assert (world.process("home").port, world.process("other").port) == (8002, 8001)


def test_a_local_one_goes_first() -> None:
    world = World(limits=Limits(port_low=8001, port_high=8001))
    world.declare("home")
    from_git(world, "a", port=8001)
    world.settle()
    assert (world.process("home").port, world.reason("a")) == (8001, "PortInUse")


# ---------------------------------------------------------------- load slots


def spin(world: World, name: str) -> None:
    """It computes and never answers."""
    world.process(name).health = Health(last_progress=world.now.monotonic)


def test_loaders_from_git_leave_a_slot_to_local_ones() -> None:
    world = beside(loads=2)
    for name in ("a", "b"):
        from_git(world, name)
    world.settle()
    assert (world.phase("a"), world.phase("b"), world.reason("b")) == (Phase.STARTING, Phase.PENDING, "WaitingForSlot")
    assert world.status("b").message == "1 servers from Git are loading, and 1 of them may at once"
    kill_home(world)
    wait(world)
    assert world.phase("home") is Phase.STARTING
    ready(world, "a")
    assert world.phase("b") is Phase.STARTING


@pytest.mark.parametrize(("local", "loads"), [(False, 2), (True, 1)])
def test_where_none_can_be_left_all_slots_are_gits_too(local: bool, loads: int) -> None:
    world = World(limits=Limits(loads=loads))
    world.declare("home", suspend=not local)
    if local:
        world.settle()
        ready(world, "home")
    for number in range(loads):
        from_git(world, f"s{number}")
    world.settle()
    assert [world.phase(f"s{number}") for number in range(loads)] == [Phase.STARTING] * loads


def test_a_loader_that_computes_for_ever_gives_its_slot_back() -> None:
    world = beside(loads=1, loader_stall=60.0)
    from_git(world, "a", probes={"startup": {"deadline": "100h"}})
    world.settle()
    world.declare("late")
    began = world.now.monotonic
    while world.now.monotonic - began < LONGEST_HOLD * 60.0 - 50.0:
        world.advance(50.0)
        spin(world, "a")
        world.settle()
        assert world.reason("late") == "WaitingForSlot"
    world.advance(50.0)
    spin(world, "a")
    world.settle()
    assert (world.phase("late"), world.phase("a")) == (Phase.STARTING, Phase.STARTING)


def test_one_from_git_waits_between_restarts_whatever_it_declares() -> None:
    world = World()
    from_git(world, "a", restart={"initialBackoff": "0s", "maxRestarts": 1_000_000})
    world.declare("home", restart={"initialBackoff": "0s"})
    world.settle()
    for name in ("a", "home"):
        world.process(name).end(world.process(name).exits_as)
    world.settle()
    assert (world.phase("a"), world.phase("home")) == (Phase.BACKOFF, Phase.STARTING)
    wait(world, LEAST_FROM_GIT)
    assert world.phase("a") is Phase.STARTING
