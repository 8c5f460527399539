"""One that runs on a fallback step and is not in the rows: what its mark says of the step is what is told of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.history import Instance
from reconciler.core.model import Effective, Exit, Phase
from tests.core.worlds import World, health_of

ASKED = {"ctx": 32768, "gpuLayers": 0, "port": 8001}
CTX = ("ctx 4096", {"ctx": 4096})


def found_again(mark: tuple[str, Mapping[str, Any]] = CTX, effective: Effective | None = None, **now: Any) -> World:
    """Ready on a written step when the rows were lost; `now`: what its manifest says by then."""
    world = World()
    world.declare("a", **ASKED, fallback={"steps": [{"ctx": 4096}]})
    world.settle()
    world.process("a").end(Exit(code=1), "HostOutOfMemory")
    world.settle()
    process = world.process("a")
    assert (process.step, process.step_told, process.changes) == (1, *CTX)
    process.step_told, process.changes = mark
    world.instances.clear()
    world.records.clear()
    world.declare("a", **ASKED, **now)
    world.new_controller()
    process.health = replace(health_of(effective=effective), verified=True)
    world.settle()
    assert world.processes == [process]
    assert world.phase("a") is Phase.READY
    return world


def told(world: World) -> tuple[str, Mapping[str, Any]]:
    instance = world.instances["a"]
    assert isinstance(instance, Instance)
    return instance.step_told, instance.changes


@pytest.mark.parametrize(
    "now",
    [{"fallback": {"steps": [{"ctx": 4096}]}}, {"fallback": {"steps": [{"ctx": 1024}]}}, {"fallback": "off"}, {}],
    ids=["as then", "another step", "off", "automatic"],
)
def test_it_is_told_as_it_runs_and_not_as_the_ladder_is_now(now: dict[str, Any]) -> None:
    world = found_again(effective=Effective(4096, 1, trained=1048576), **now)
    assert told(world) == CTX
    conditions = {one.type: one.message for one in world.status("a").conditions if one.status}
    assert conditions["Degraded"].startswith("asked for ctx 32768; running ctx 4096; ")
    assert "ContextCapped" not in conditions


@pytest.mark.parametrize(
    "changes",
    [{"binary": "/bin/sh"}, {"ctx": "many"}, {"ctx": 4096, "on": ["Nothing"]}, {}],
    ids=["another field", "another type", "another cause", "none, as of an earlier version"],
)
def test_a_mark_that_is_no_step_gives_way_to_the_ladder(changes: dict[str, Any]) -> None:
    assert told(found_again(("made up", changes), fallback={"steps": [{"ctx": 1024}]})) == ("ctx 1024", {"ctx": 1024})


def test_what_is_told_of_it_cannot_move_a_terminal() -> None:
    assert "\x1b" not in told(found_again(("ctx\x1b[2J", {"ctx": 4096})))[0]
