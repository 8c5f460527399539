"""While no intent can be written nothing is started or first stopped; what is recorded goes on."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from reconciler.core.history import Requests
from reconciler.core.model import Exit, Health, HealthState, Phase
from reconciler.core.observed import Observed
from tests.core.worlds import World, health_of

WHY = "the state cannot be written: its disk is full; make room there: df -h /state"


@dataclass
class Troubled(World):
    """A world whose state cannot be written, for as long as `trouble` says so."""

    trouble: str = ""

    def _observed(self, requests: Requests) -> Observed:
        return replace(super()._observed(requests), state_trouble=self.trouble)


@pytest.fixture
def world() -> Troubled:
    world = Troubled(on_spawn=lambda process: setattr(process, "health", health_of()))
    world.declare("chat", restart={"initialBackoff": "0s"})
    world.settle()
    assert world.phase("chat") is Phase.READY
    world.trouble = WHY
    return world


def deeds(world: World) -> tuple[int, int]:
    return len(world.starts), len(world.sent)


def test_what_runs_as_declared_is_left_as_it_is(world: Troubled) -> None:
    before = world.records["chat"]
    world.settle()
    assert world.records["chat"] == before
    assert world.last.actions == ()


def test_an_end_is_noted_at_once_and_the_start_waits(world: Troubled) -> None:
    world.process("chat").end(Exit(signal=9))
    world.settle()
    (ended,) = world.ended
    assert ended.exit == Exit(signal=9)
    assert ended.ended
    assert ended.ended.monotonic == world.now.monotonic
    assert (world.phase("chat"), world.reason("chat", "Reconciled")) == (Phase.BLOCKED, "StateUnwritable")
    assert world.status("chat").message == WHY
    for _ in range(5):
        world.advance(1.0)
        world.settle()
    assert deeds(world) == (1, 0)
    assert world.told("StateUnwritable") == []  # it is told once, of the state
    world.trouble = ""
    world.settle()
    assert len(world.starts) == 2
    assert world.phase("chat") is Phase.READY
    assert world.records["chat"].n == 1


def test_a_new_server_waits(world: Troubled) -> None:
    world.declare("embed")
    world.settle()
    assert (world.phase("embed"), world.reason("embed")) == (Phase.BLOCKED, "StateUnwritable")
    assert deeds(world) == (1, 0)
    world.trouble = ""
    world.settle()
    assert world.phase("embed") is Phase.READY


STOPS: dict[str, Callable[[World], object]] = {
    "changed": lambda world: world.declare("chat", ctx=4096),
    "suspended": lambda world: world.declare("chat", suspend=True),
    "restart asked": lambda world: world.ask("restart", "chat"),
    "stop asked": lambda world: world.ask("stop", "chat"),
    "stalled": lambda world: setattr(world.process("chat"), "health", health_of(HealthState.FAILING, failures=99)),
}


@pytest.mark.parametrize("why", STOPS)
def test_nobody_is_stopped(world: Troubled, why: str) -> None:
    process = world.process("chat")
    STOPS[why](world)
    for _ in range(5):
        world.settle()
        world.advance(5.0)
    assert deeds(world) == (1, 0)
    assert world.alive("chat") == [process]
    assert world.instances["chat"].stopping is None
    assert world.reason("chat", "Reconciled") == "StateUnwritable"
    assert world.phase("chat") is (Phase.UNHEALTHY if why == "stalled" else Phase.READY)
    world.trouble = ""
    world.settle()
    assert [kind for kind, _ in world.sent] == ["Terminate"]


def test_one_whose_document_is_gone_is_not_stopped(world: Troubled) -> None:
    world.declare("other")
    world.settle()
    del world.files["chat"]
    for _ in range(5):
        world.settle()
        world.advance(5.0)
    assert deeds(world) == (1, 0)
    assert WHY in world.status("chat").message
    world.trouble = ""
    world.settle()
    assert [kind for kind, _ in world.sent] == ["Terminate"]


def test_one_that_loads_too_long_is_not_stopped(world: Troubled) -> None:
    world.trouble = ""
    world.on_spawn = lambda _: None
    world.declare("slow", probes={"startup": {"deadline": "10s"}})
    world.settle()
    world.trouble = WHY
    world.process("slow").health = Health(HealthState.LOADING, last_progress=world.now.monotonic)
    world.advance(60.0)
    world.settle()
    assert world.phase("slow") is Phase.STARTING
    assert world.reason("slow", "Reconciled") == "StateUnwritable"
    assert deeds(world) == (2, 0)


def test_a_recorded_sigterm_is_followed_by_its_sigkill(world: Troubled) -> None:
    world.trouble = ""
    world.process("chat").obeys = False
    world.declare("chat", suspend=True, stop={"gracePeriod": "3s"})
    world.settle()
    world.trouble = WHY
    world.advance(2.0)
    world.settle()
    assert [kind for kind, _ in world.sent] == ["Terminate"]
    world.advance(2.0)
    world.settle()
    assert [kind for kind, _ in world.sent] == ["Terminate", "Kill"]
    assert world.alive("chat") == []
    assert world.phase("chat") is Phase.STOPPED


def test_one_that_drains_is_not_sent_its_first_sigterm(world: Troubled) -> None:
    world.trouble = ""
    world.declare("chat", stop={"drain": "5s"})
    world.settle()
    world.process("chat").health = health_of(busy_slots=1)
    world.declare("chat", stop={"drain": "5s"}, suspend=True)
    world.settle()
    assert (world.phase("chat"), deeds(world)) == (Phase.STOPPING, (1, 0))
    world.trouble = WHY
    world.advance(10.0)
    world.settle()
    assert (world.phase("chat"), deeds(world)) == (Phase.STOPPING, (1, 0))
    assert world.reason("chat", "Reconciled") == "StateUnwritable"
    world.trouble = ""
    world.settle()
    assert [kind for kind, _ in world.sent] == ["Terminate"]


def test_leftovers_are_swept(world: Troubled) -> None:
    world.process("chat").end(Exit(code=1))
    left = world.add_process("chat", world.instances["chat"].uid, leader=False)
    world.settle()
    assert not left.alive
    assert [kind for kind, _ in world.sent] == ["Kill"]
