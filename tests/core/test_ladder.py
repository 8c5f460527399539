"""The safer settings of a spec, and which of them answers a cause."""

from typing import Any

import pytest

from reconciler.core.ladder import (
    EASED,
    GPU_MEMORY,
    LEAST_CTX,
    MEMORY,
    PRIMARY,
    Step,
    asked_beside,
    next_step,
    spec_on,
    steps,
    told_of,
)
from reconciler.core.spec import dump_spec
from tests.core.worlds import spec_of

WRITTEN = {"steps": [{"ctx": 4096}, {"gpuLayers": 0, "on": ["GpuUnavailable"]}]}
CPU_ROW = ["CPU only", "CPU only, ctx 4096", "CPU only, ctx 2048"]


def told(**fields: Any) -> list[str]:
    options = {name: fields.pop(name) for name in ("trained", "layers", "cpu_only", "default") if name in fields}
    return [step.told for step in steps(spec_of(**fields), **options)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ctx": 8192}, ["ctx 4096", "ctx 2048", *CPU_ROW]),
        ({"ctx": 8192, "gpuLayers": 20}, ["ctx 4096", "ctx 2048", "ctx 2048, gpuLayers 10", *CPU_ROW]),
        ({"ctx": 8192, "gpuLayers": "all"}, ["ctx 4096", "ctx 2048", *CPU_ROW]),
        ({"ctx": 8192, "gpuLayers": "all", "layers": 32}, ["ctx 4096", "ctx 2048", "ctx 2048, gpuLayers 16", *CPU_ROW]),
        ({"ctx": 8192, "gpuLayers": 1}, ["ctx 4096", "ctx 2048", *CPU_ROW]),
        ({"ctx": 5000, "cpu_only": True}, ["ctx 2500", "ctx 2048"]),
        ({"ctx": 2048, "gpuLayers": 9}, ["gpuLayers 4", "CPU only"]),
        ({"ctx": 512, "cpu_only": True}, []),
        ({"cpu_only": True}, ["ctx 8192", "ctx 4096", "ctx 2048"]),
        ({"cpu_only": True, "trained": 16384}, ["ctx 8192", "ctx 4096", "ctx 2048"]),
        ({"cpu_only": True, "trained": 512}, []),
        ({"ctx": 8192, "default": "off"}, []),
        ({"ctx": 8192, "fallback": "off"}, []),
        ({"ctx": 8192, "fallback": "auto", "default": "off", "cpu_only": True}, ["ctx 4096", "ctx 2048"]),
        ({"ctx": 8192, "fallback": WRITTEN}, ["ctx 4096", "gpuLayers 0"]),
        ({"ctx": 8192, "fallback": WRITTEN, "default": "off"}, ["ctx 4096", "gpuLayers 0"]),
        ({"ctx": 4096, "fallback": WRITTEN}, ["gpuLayers 0"]),
        ({"ctx": 8192, "fallback": WRITTEN, "cpu_only": True}, ["ctx 4096"]),
        ({"gpuLayers": 0, "fallback": {"steps": [{"gpuLayers": 0}]}}, ["gpuLayers 0"]),
        ({"flags": {"mlock": True}, "fallback": {"steps": [{"flags": {"mlock": True}}]}}, []),
        ({"flags": {"mlock": True}, "fallback": {"steps": [{"flags": {"mlock": 1}}]}}, ["mlock 1"]),
        (
            {"fallback": {"steps": [{"model": {"hf": "a/b"}, "flags": {"no-warmup": True, "lora": ["x", "y"]}}]}},
            ["model a/b, no-warmup on, lora x,y"],
        ),
    ],
)
def test_the_steps_of_a_spec(fields: dict[str, Any], expected: list[str]) -> None:
    assert told(**fields) == expected


def test_steps_are_numbered_and_those_without_a_gpu_hide_it() -> None:
    found = steps(spec_of(ctx=8192, gpuLayers=20))
    assert [step.number for step in found] == [1, 2, 3, 4, 5, 6]
    assert [step.hides_gpus for step in found] == [False] * 3 + [True] * 3
    assert [step.on for step in found] == [
        MEMORY,
        MEMORY,
        GPU_MEMORY,
        GPU_MEMORY | {"GpuUnavailable"},
        EASED,
        EASED,
    ]
    assert all(step.hides_gpus for step in steps(spec_of(ctx=8192), cpu_only=True))


def test_written_steps_answer_what_memory_and_gpu_suffer_unless_they_say_otherwise() -> None:
    assert [step.on for step in steps(spec_of(fallback=WRITTEN))] == [EASED, {"GpuUnavailable"}]
    assert {"GpuOutOfMemory", "HostOutOfMemory", "OomKilled", "ContextTooLarge", "GpuUnavailable"} == EASED


def descent(cause: str, **fields: Any) -> list[str]:
    """What is tried when each try ends by the same cause."""
    spec, current, tried = spec_of(**fields), PRIMARY, []
    while step := next_step(steps(spec, layers=32), spec, current, cause):
        tried.append(step.told)
        current = step
    return tried


HALVES = ["ctx 16384", "ctx 8192", "ctx 4096", "ctx 2048"]


@pytest.mark.parametrize(
    ("cause", "layers", "expected"),
    [
        ("GpuOutOfMemory", "all", [*HALVES, "ctx 2048, gpuLayers 16", "CPU only, ctx 2048"]),
        ("ContextTooLarge", "all", [*HALVES, "ctx 2048, gpuLayers 16", "CPU only, ctx 2048"]),
        ("HostOutOfMemory", "all", HALVES),
        ("OomKilled", "all", HALVES),
        ("ContextTooLarge", 0, HALVES),
        ("GpuOutOfMemory", 0, [*HALVES, "CPU only, ctx 2048"]),
        ("GpuUnavailable", "all", ["CPU only", *(f"CPU only, {half}" for half in HALVES)]),
        ("Crashed", "all", []),
        ("InvalidFlag", "all", []),
    ],
)
def test_auto_gives_up_what_the_cause_asks_for(cause: str, layers: Any, expected: list[str]) -> None:
    assert descent(cause, ctx=32768, gpuLayers=layers) == expected


def test_without_a_gpu_the_context_is_kept_and_given_up_only_for_memory() -> None:
    spec = spec_of(ctx=32768, gpuLayers="all")
    ladder = steps(spec)
    on_cpu = next_step(ladder, spec, PRIMARY, "GpuUnavailable")
    assert on_cpu is not None
    assert (on_cpu.told, on_cpu.changes) == ("CPU only", {"gpuLayers": 0})
    less = next_step(ladder, spec, on_cpu, "HostOutOfMemory")
    assert less is not None
    assert less.told == "CPU only, ctx 16384"
    # One that has less context already does not get it back.
    half = next_step(ladder, spec, PRIMARY, "GpuOutOfMemory")
    assert half is not None
    there = next_step(ladder, spec, half, "GpuUnavailable")
    assert there is not None
    assert there.told == "CPU only, ctx 16384"


def test_each_step_is_tried_once_and_written_ones_in_the_order_written() -> None:
    spec = spec_of(ctx=512, fallback={"steps": [{"ctx": 256}, {"model": "small.gguf", "ctx": 4096}, {"ctx": 128}]})
    ladder = steps(spec)
    assert [step.told for step in ladder] == ["ctx 256", "model small.gguf, ctx 4096", "ctx 128"]
    assert next_step(ladder, spec, PRIMARY, "OomKilled") == ladder[0]
    assert next_step(ladder, spec, ladder[0], "OomKilled") == ladder[1]
    assert next_step(ladder, spec, PRIMARY, "OomKilled", frozenset({1, 2})) == ladder[2]
    assert next_step(ladder, spec, ladder[2], "OomKilled") is None


@pytest.mark.parametrize("ctx", [1, 2047, 2048, 2049, 10**6, 2**31 - 1])
def test_the_ladder_is_short_and_ends_at_the_least_context(ctx: int) -> None:
    found = steps(spec_of(ctx=ctx, gpuLayers=99), layers=64)
    contexts = [step.changes["ctx"] for step in found if "ctx" in step.changes]
    assert len(found) <= 45
    assert all(LEAST_CTX <= context < ctx for context in contexts)
    assert not contexts or min(contexts) == LEAST_CTX


def test_a_step_changes_what_it_names_and_nothing_else() -> None:
    spec = spec_of(ctx=512, flags={"mlock": True, "top-k": 40}, restart={"maxRestarts": 7})
    step = Step(1, changes={"ctx": 256, "flags": {"top-k": 1}, "model": {"hf": "a/b"}})
    found = dump_spec(spec_on(spec, step))
    assert found == {
        **dump_spec(spec),
        "ctx": 256,
        "flags": {"mlock": True, "top-k": 1},
        "model": {"hf": "a/b"},
    }
    assert spec_on(spec, PRIMARY) is spec


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "as asked"),
        ({"ctx": 512}, "ctx 512"),
        ({"ctx": 512, "gpuLayers": "all", "threads": 2}, "gpuLayers all, ctx 512"),
    ],
)
def test_what_was_asked_for_is_told_in_a_few_words(fields: dict[str, Any], expected: str) -> None:
    assert told_of(spec_of(**fields)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ctx": 256}, "ctx 512"),
        ({"gpuLayers": 0, "ctx": 256}, "gpuLayers unset, ctx 512"),
        ({"flags": {"top-k": 1, "mlock": True}}, "top-k 40, mlock unset"),
        ({}, "ctx 512"),
    ],
)
def test_what_was_asked_for_is_told_beside_a_step(changes: dict[str, Any], expected: str) -> None:
    spec = spec_of(ctx=512, flags={"top-k": 40})
    assert asked_beside(spec, Step(1, changes=changes)) == expected
