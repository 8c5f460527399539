"""Where only so many servers may run: who has a place keeps it over restarts, and who rests leaves it to others."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.history import History, Requests, Trigger
from reconciler.core.model import GateFacts, Limits, Phase
from reconciler.core.observed import Observed
from reconciler.core.rules import LocalRules
from reconciler.core.source import LOCAL
from reconciler.core.turns import POLICY_DENIED, Turn, over_limit, turns
from tests.core.states import crash, crash_until_failed, ready
from tests.core.worlds import World, document_of


class Limited(World):
    """A machine on which `most` servers may run."""

    def __init__(self, most: int = 1, **more: Any) -> None:
        super().__init__(**more)
        self.most = most
        self.ran: set[frozenset[str]] = set()
        """Which ran at the same time."""

    def _observed(self, requests: Requests) -> Observed:
        found = super()._observed(requests)
        self.ran.add(frozenset(process.server for process in self.processes if process.alive))
        documents = tuple(self.documents.values())
        history = History(self.records, self.instances, self.ports)
        parked = [name for name in self.documents if self.parked(name)]
        now = turns(documents, history, requests, parked)
        later = {**now, **dict.fromkeys(parked, Turn.STOPPED)}
        denied, lasting = (over_limit(documents, LocalRules(max_servers=self.most), LOCAL, one) for one in (now, later))
        shut = {
            name: GateFacts(POLICY_DENIED, denial.message, for_leaving=name not in lasting)
            for name, denial in denied.items()
        }
        return replace(found, gates={name: shut.get(name, facts) for name, facts in found.gates.items()})

    def pass_time(self, seconds: float) -> None:
        until = self.now.monotonic + seconds
        while self.now.monotonic < until and self.follow():
            pass


def with_b_in_place(**fields: Any) -> Limited:
    """`b` runs, and `a`, which comes before it by name, waits for a place."""
    world = Limited()
    world.on_spawn = lambda process: setattr(process, "ready_at", world.now.monotonic + 1.0)
    world.declare("b", **fields)
    world.settle()
    ready(world, "b")
    world.declare("a")
    world.settle()
    assert [world.phase(name) for name in "ab"] == [Phase.BLOCKED, Phase.READY]
    return world


def restart(world: World) -> None:
    world.ask("restart", "b")


def edit(world: World) -> None:
    world.declare("b", ctx=512)


def edit_in_back_off(world: World) -> None:
    crash(world, "b")
    world.declare("b", ctx=512)


def edit_both(world: World) -> None:
    world.declare("a", ctx=512)
    world.settle()
    crash(world, "b")


def restart_who_waits(world: World) -> None:
    world.ask("restart", "a")
    world.settle()
    crash(world, "b")


def die_with_the_controller(world: World) -> None:
    world.process("b").end(world.process("b").exits_as)
    world.new_controller()


@pytest.mark.parametrize(
    "event",
    [
        lambda world: crash(world, "b"),
        restart,
        edit,
        edit_in_back_off,
        edit_both,
        restart_who_waits,
        die_with_the_controller,
        lambda world: world.reboot("boot-2"),
    ],
    ids=["crash", "restart", "edit", "edit in back-off", "edit both", "restart who waits", "controller", "reboot"],
)
@pytest.mark.parametrize("loads", [0, 1])
def test_a_place_is_kept_over_a_restart(event: Callable[[World], None], loads: int) -> None:
    world = with_b_in_place()
    world.limits = Limits(loads=loads)
    event(world)
    world.pass_time(60.0)
    assert [world.phase(name) for name in "ab"] == [Phase.BLOCKED, Phase.READY]
    assert world.ran <= {frozenset(), frozenset("b")}


def suspend(world: World) -> None:
    world.declare("b", suspend=True)


@pytest.mark.parametrize(
    ("event", "phase"),
    [
        (lambda world: world.ask("stop", "b"), Phase.STOPPED),
        (suspend, Phase.STOPPED),
        (lambda world: crash_until_failed(world, "b"), Phase.FAILED),
    ],
    ids=["stop", "suspend", "failed"],
)
def test_who_rests_leaves_its_place(event: Callable[[World], None], phase: Phase) -> None:
    world = with_b_in_place()
    event(world)
    world.pass_time(60.0)
    assert [world.phase(name) for name in "ab"] == [Phase.READY, phase]
    assert frozenset("ab") not in world.ran


def test_who_comes_back_waits_for_a_place() -> None:
    world = with_b_in_place()
    world.ask("stop", "b")
    world.pass_time(20.0)
    del world.requests["stop"]["b"]
    world.pass_time(20.0)
    assert [world.phase(name) for name in "ab"] == [Phase.READY, Phase.BLOCKED]
    crash(world, "a")
    world.pass_time(60.0)
    assert [world.phase(name) for name in "ab"] == [Phase.READY, Phase.BLOCKED]


def test_a_failed_one_is_tried_again_only_where_there_is_a_place() -> None:
    world = with_b_in_place()
    crash_until_failed(world, "b")
    world.pass_time(5000.0)
    assert [world.phase(name) for name in "ab"] == [Phase.READY, Phase.BLOCKED]
    del world.files["a"]
    world.pass_time(60.0)
    assert world.phase("b") is Phase.READY
    assert frozenset("ab") not in world.ran


def test_one_that_is_still_stopping_has_its_place() -> None:
    world = with_b_in_place()
    world.process("b").obeys = False
    world.ask("stop", "b")
    world.settle()
    assert [world.phase(name) for name in "ab"] == [Phase.BLOCKED, Phase.STOPPING]


@pytest.mark.parametrize("trigger", list(Trigger))
def test_who_is_to_start_anew_keeps_a_place_only_where_it_ran(trigger: Trigger) -> None:
    world = with_b_in_place()
    record = replace(world.records["b"], next_trigger=trigger)
    (turn,) = turns([document_of("b")], History({"b": record}), Requests()).values()
    never_ran = {Trigger.CREATED, Trigger.RESUMED, Trigger.RETRIED, Trigger.ADOPTED}
    assert turn is (Turn.WAITS if trigger in never_ran else Turn.RESTARTS)


@pytest.mark.parametrize("switch", ["StopFirst", "StartFirst"])
def test_a_switch_of_profiles_needs_no_more_places_than_there_are(switch: Any) -> None:
    world = Limited(2)
    names = ["a", "b", "c", "d"]
    world.on_spawn = lambda process: setattr(process, "ready_at", world.now.monotonic + 1.0)
    for name in names:
        world.declare(name)
    world.use("c", "d")
    world.pass_time(5.0)
    assert world.ran >= {frozenset("cd")}
    world.use("a", "d", switch=switch)
    d = world.process("d").identity
    world.pass_time(5.0)
    assert [world.phase(name) for name in names] == [Phase.READY, Phase.STOPPED, Phase.STOPPED, Phase.READY]
    assert world.process("d").identity == d
    assert max(map(len, world.ran)) == 2
    # Without a profile there are too few places, and who has one keeps it.
    world.profile = None
    world.pass_time(5.0)
    assert [world.phase(name) for name in names] == [Phase.READY, Phase.BLOCKED, Phase.BLOCKED, Phase.READY]


def test_what_is_left_out_needs_no_place() -> None:
    documents = [document_of("a"), document_of("b")]
    assert turns(documents, History(), Requests(), ["b"]) == {"a": Turn.WAITS, "b": Turn.STOPPED}
