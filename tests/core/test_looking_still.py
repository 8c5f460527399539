"""A gate that is still being looked at: nothing is amiss, and nothing is told."""

from dataclasses import replace

from reconciler.core.model import GateFacts, Phase
from reconciler.core.server import NOT_LOOKED
from tests.core.states import ready
from tests.core.worlds import World

LOOKING = replace(NOT_LOOKED, message="its flags are being held against: llama-server --help", retry_at=2.0)


def test_who_waits_for_the_look_is_pending_without_an_event() -> None:
    world = World(gates={"a": LOOKING})
    world.declare("a")
    world.settle()
    assert (world.phase("a"), world.reason("a"), world.starts) == (Phase.PENDING, "NotLookedYet", [])
    assert world.told("NotLookedYet") == []
    world.gates.clear()
    world.settle()
    assert world.phase("a") in (Phase.STARTING, Phase.READY)


def test_who_depends_on_it_is_not_told_that_it_is_stuck() -> None:
    world = World(gates={"a": LOOKING})
    world.declare("a")
    world.declare("b", dependsOn=["a"])
    world.settle()
    assert world.status("b").message == "it depends on 'a', which is Pending"


def test_what_runs_waits_for_the_look_and_no_warning_is_given() -> None:
    world = World()
    world.declare("a")
    world.settle()
    ready(world)
    world.gates["a"] = LOOKING
    world.declare("a", ctx=256)
    world.settle()
    told = {one.type: one for one in world.status("a").conditions}["Reconciled"]
    assert (world.phase("a"), told.status, told.reason) == (Phase.READY, False, "NotLookedYet")
    assert told.message.startswith(LOOKING.message)
    assert (world.told("NotLookedYet"), world.told("GateShut")) == ([], [])
    world.gates["a"] = GateFacts("InvalidFlag", "spec.flags.x: leave it out")
    world.settle()
    assert len(world.told("GateShut")) == 1
