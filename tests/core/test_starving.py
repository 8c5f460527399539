"""Starts for which the machine has no room: nobody failed, so nothing is counted, and it is tried again."""

import errno
from dataclasses import replace

import pytest

from reconciler.core.model import Phase
from reconciler.runtimes.host import LogUnwritableError, ResourceError
from tests.core.states import STATES, crash, ready, running
from tests.core.worlds import Simulated, World

WHY = "the controller cannot begin a process (Too many open files): raise its limit"


def no_room(_: Simulated) -> None:
    raise ResourceError(errno.EMFILE, WHY)


def starved(world: World) -> World:
    world.on_spawn = no_room
    world.declare("a")
    world.settle()
    return world


def waited(world: World) -> float:
    """Seconds until the plan wants to look again."""
    assert world.last.wake_at is not None
    return world.last.wake_at - world.now.monotonic


def test_it_is_blocked_and_says_what_to_do() -> None:
    world = starved(World())
    assert (world.phase("a"), world.reason("a")) == (Phase.BLOCKED, "ResourcesExhausted")
    assert world.status("a").message == WHY
    assert world.told("ResourcesExhausted") == [WHY]


def test_what_is_in_the_way_of_its_log_has_a_name_of_its_own() -> None:
    def no_log(_: Simulated) -> None:
        raise LogUnwritableError(errno.ENOTDIR, "a file is where a folder should be: namei -l /srv")

    world = World()
    world.on_spawn = no_log
    world.declare("a")
    for _ in range(3):
        world.settle()
        assert (world.phase("a"), world.reason("a")) == (Phase.BLOCKED, "LogUnwritable")
        world.advance(waited(world))
    assert (world.ended, len(world.told("LogUnwritable"))) == ([], 1)


def test_the_pause_grows_to_ten_seconds_and_no_row_and_no_second_event_comes_of_it() -> None:
    world = starved(World())
    pauses = []
    for number in range(1, 9):
        pauses.append(waited(world))
        assert len(world.starts) == number
        world.advance(pauses[-1])
        world.settle()
        assert world.phase("a") is Phase.BLOCKED
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    assert (world.ended, world.instances, world.told("ResourcesExhausted")) == ([], {}, [WHY])
    assert (world.records["a"].n, world.records["a"].restarts, world.told("Failed")) == (0, 0, [])


def test_before_the_pause_is_over_nothing_is_tried() -> None:
    world = starved(World())
    world.advance(0.4)
    world.settle()
    assert len(world.starts) == 1


def test_it_starts_by_itself_when_there_is_room_again() -> None:
    world = starved(World())
    world.on_spawn = lambda _: None
    world.advance(0.5)
    world.settle()
    assert world.phase("a") is Phase.STARTING
    record = world.records["a"]
    assert (record.starved, record.starved_times, record.starved_why) == (None, 0, "")
    ready(world)
    assert (world.phase("a"), [start.trigger for start in world.starts]) == (Phase.READY, ["Created", "Created"])


def test_a_restart_keeps_its_trigger_its_count_and_its_turn() -> None:
    world = running()
    crash(world)
    before = world.records["a"]
    world.on_spawn = no_room
    world.advance(before.delay)
    world.settle()
    for _ in range(4):
        world.advance(10.0)
        world.settle()
    after = world.records["a"]
    assert (world.phase("a"), after.n, after.restarts, after.was_ready) == (Phase.BLOCKED, 1, before.restarts, True)
    world.on_spawn = lambda _: None
    world.advance(10.0)
    world.settle()
    assert (world.starts[-1].trigger, world.starts[-1].attempt) == ("Crashed", 1)
    assert world.records["a"].restarts == before.restarts + 1


@pytest.mark.parametrize("state", sorted(STATES))
def test_wherever_it_comes_from_no_failure_is_counted(state: str) -> None:
    world = STATES[state]()
    before, ended = world.records.get("a"), len(world.ended)
    world.on_spawn = no_room
    for _ in range(10):
        world.follow()
    after = world.records.get("a")
    assert (after.n if after else 0) - (before.n if before else 0) <= len(world.ended) - ended
    assert not [row for row in world.ended if row.diagnosis in ("ResourcesExhausted", "SpawnFailed", "NotStarted")]


def test_a_controller_that_died_before_it_took_the_intent_back_leaves_that_to_the_next() -> None:
    world = World()
    world.on_spawn = no_room
    world.declare("a")
    world.run()
    assert world.instances["a"].diagnosis == "ResourcesExhausted"
    world.new_controller()
    world.settle()
    assert (world.instances, world.ended, world.phase("a")) == ({}, [], Phase.BLOCKED)


@pytest.mark.parametrize("how", ["stop", "suspend", "remove"])
def test_who_does_not_want_it_any_more_waits_for_no_room(how: str) -> None:
    world = World()
    world.declare("b", suspend=True)
    starved(world)
    if how == "stop":
        world.ask("stop", "a")
    elif how == "suspend":
        world.declare("a", suspend=True)
    else:
        del world.files["a"]
        world.ask("prune", "a")
    for _ in range(3):
        world.settle()
        world.advance(10.0)
    if how == "remove":
        assert "a" not in world.records
    else:
        assert (world.phase("a"), world.records["a"].starved) == (Phase.STOPPED, None)
    assert (world.instances, world.ended) == ({}, [])


def test_another_boot_waits_for_no_pause() -> None:
    world = starved(World())
    world.on_spawn = lambda _: None
    world.reboot("boot-2")
    world.now = replace(world.now, monotonic=1.0)
    world.settle()
    assert world.phase("a") is Phase.STARTING
