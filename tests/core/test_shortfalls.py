"""What is told of a server that runs with less than was asked for."""

from typing import Any

import pytest

from reconciler.core.history import Condition
from reconciler.core.model import Effective, GateFacts, Phase
from tests.core.states import SHUT
from tests.core.worlds import World, health_of


def running(effective: Effective | None = None, slow: float = 0.0, **fields: Any) -> World:
    world = World()
    world.declare("a", **fields)
    world.settle()
    world.process("a").health = health_of(effective=effective, slow=slow)
    world.settle()
    assert world.phase("a") is Phase.READY
    return world


def condition(world: World, type_: str) -> Condition | None:
    return next((one for one in world.status("a").conditions if one.type == type_), None)


def told(world: World, type_: str) -> str:
    """The condition's message; empty when it is not True."""
    found = condition(world, type_)
    return found.message if found is not None and found.status else ""


@pytest.mark.parametrize(
    ("asked", "effective", "expected"),
    [
        (20, Effective(gpu_layers="20/33"), ""),
        (99, Effective(gpu_layers="33/33"), ""),
        (99, Effective(gpu_layers="12/33"), "asked for gpuLayers 99; running with 12 of 33 layers on the GPU"),
        ("all", Effective(gpu_layers="0/33"), "asked for gpuLayers all; running with 0 of 33 layers on the GPU"),
        (20, Effective(device="CPU"), "asked for gpuLayers 20; running on the CPU"),
        (20, Effective(device="CUDA0"), ""),
        (20, Effective(), ""),
        (20, None, ""),
        ("auto", Effective(gpu_layers="0/33", device="CPU"), ""),
        (None, Effective(gpu_layers="0/33", device="CPU"), ""),
        (0, Effective(gpu_layers="0/33", device="CPU"), ""),
        (20, Effective(gpu_layers="many/33", device="CUDA0"), ""),
    ],
)
def test_layers_that_are_not_on_the_gpu(asked: Any, effective: Effective | None, expected: str) -> None:
    world = running(effective, **({} if asked is None else {"gpuLayers": asked}))
    assert told(world, "Degraded") == expected
    assert world.reason("a", "Degraded") == ("GpuUnavailable" if expected else "AsAsked")
    assert world.status("a").message == expected
    assert len(world.told("Degraded")) == bool(expected)
    assert len(world.starts) == 1


@pytest.mark.parametrize(
    ("fields", "effective", "expected"),
    [
        ({"ctx": 512, "parallel": 4}, Effective(256, 4), ""),
        ({"ctx": 1024, "parallel": 4}, Effective(256, 4), ""),
        ({"ctx": 512}, Effective(512, 4), ""),
        (
            {"ctx": 4096, "parallel": 4},
            Effective(512, 4, trained=512),
            "asked for ctx 4096; running with 512 in each of 4 slots: the model was trained with 512",
        ),
        (
            {"ctx": 1024},
            Effective(512, 4, is_capped=True),
            "asked for ctx 1024; running with 512 in each of 4 slots: the model allows no more",
        ),
        (
            {"ctx": 4096},
            Effective(512, 1, trained=8192),
            "asked for ctx 4096; running with 512 in each of 1 slots",
        ),
        ({}, Effective(512, 1, trained=512), ""),
        ({}, Effective(512, 1, is_capped=True), "running with 512 in each of 1 slots: the model allows no more"),
        ({"ctx": 4096}, Effective(), ""),
    ],
)
def test_context_that_the_model_does_not_have(fields: dict[str, Any], effective: Effective, expected: str) -> None:
    world = running(effective, **fields)
    assert told(world, "ContextCapped") == expected
    assert world.told("ContextCapped") == ([expected] if expected else [])
    assert world.reason("a", "Degraded") == "AsAsked"


def test_a_slow_health_is_told_once_and_restarts_nothing() -> None:
    world = running(slow=3.25)
    assert told(world, "Slow") == "/health takes 3.2 s lately"
    world.process("a").health = health_of(slow=4.0)
    world.advance(1e5)
    world.settle()
    assert told(world, "Slow") == "/health takes 4.0 s lately"
    assert len(world.told("Slow")) == 1
    world.process("a").health = health_of()
    world.settle()
    assert condition(world, "Slow") is None
    assert (len(world.starts), world.sent) == (1, [])


def test_what_runs_on_an_older_spec_is_not_held_against_the_new_one() -> None:
    world = running(Effective(gpu_layers="20/33"), gpuLayers=20, ctx=512)
    world.gates["a"] = SHUT
    world.declare("a", gpuLayers=30, ctx=1024)
    world.settle()
    assert world.reason("a", "Reconciled") == "GateShut"
    assert told(world, "Degraded") == ""
    assert world.reason("a", "Degraded") == "GateShut"
    assert world.starts[0].step.number == 0


def test_what_does_not_run_is_not_said_to_run_as_asked_for() -> None:
    world = World()
    world.declare("a", suspend=True)
    world.declare("b")
    world.gates["b"] = SHUT
    world.settle()
    assert [world.reason(name, "Degraded") for name in "ab"] == ["NotRunning"] * 2
    world.gates["b"] = GateFacts()
    world.settle()
    assert (world.phase("b"), world.reason("b", "Degraded")) == (Phase.STARTING, "AsAsked")
