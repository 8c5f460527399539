"""Profiles one after another, in any order and at any moment: a switch comes to an end, and nobody flaps on the way."""

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.model import Limits, Phase
from tests.core.strict_worlds import StrictWorld

NAMES = ["a", "b", "c", "d"]
SWITCHES = st.sampled_from(["StopFirst", "StartFirst"])
PROFILES = st.tuples(st.none() | st.frozensets(st.sampled_from(NAMES)), SWITCHES)
BEHAVIOURS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["slow", "deaf", "crash late"]))
MOMENTS = st.sampled_from([0.0, 0.05, 0.2, 5.0, 30.0])
DEPENDENCIES = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["c", "d"]))


def world_of(behaviours: dict[str, str], dependencies: dict[str, str]) -> StrictWorld:
    world = StrictWorld()
    world.limits = Limits(loads=2, port_high=8010)
    world.behaviours = behaviours
    for name in NAMES:
        world.declare(name, dependsOn=[dependencies[name]] if name in dependencies else [])
    return world


def converge(world: StrictWorld) -> None:
    for _ in range(100):
        if not world.follow():
            return
    raise AssertionError(f"the switch does not end: {world.last}")


@settings(max_examples=150)
@given(BEHAVIOURS, DEPENDENCIES, st.lists(st.tuples(PROFILES, MOMENTS), min_size=1, max_size=5))
def test_every_switch_ends_where_the_last_profile_says(
    behaviours: dict[str, str], dependencies: dict[str, str], switches: list[tuple[Any, float]]
) -> None:
    world = world_of(behaviours, dependencies)
    for (names, switch), seconds in switches:
        world.profile, world.switch = names, switch
        world.let_happen()
        world.settle()
        until = world.now.monotonic + seconds
        while world.now.monotonic < until and world.follow():
            pass
    world.behaviours = dict.fromkeys(NAMES, "quick")
    for process in world.processes:
        process.exits_at = float("inf")
    converge(world)
    for name in NAMES:
        needed = dependencies.get(name, "")
        if world.parked(name):
            assert world.phase(name) is Phase.STOPPED or world.reason(name, "Reconciled") == "SwitchHeld"
        elif needed and world.parked(needed) and not world.alive(name):
            assert world.reason(name) == "DependencyUnavailable"
        else:
            assert world.phase(name) in (Phase.READY, Phase.FAILED)


@settings(max_examples=150)
@given(DEPENDENCIES, PROFILES, PROFILES, MOMENTS)
def test_one_switch_starts_none_twice_and_stops_none_that_stays(
    dependencies: dict[str, str], before: Any, after: Any, seconds: float
) -> None:
    world = world_of({}, dependencies)
    world.profile, world.switch = before
    converge(world)
    there = {name: world.process(name).identity for name in NAMES if world.alive(name)}
    world.starts.clear()
    world.profile, world.switch = after
    world.settle()
    world.advance(seconds)
    converge(world)
    assert max(Counter(start.server for start in world.starts).values(), default=0) <= 1
    assert {start.server for start in world.starts}.isdisjoint(there)
    stays = {name: identity for name, identity in there.items() if not world.parked(name)}
    assert {name: world.process(name).identity for name in stays} == stays
