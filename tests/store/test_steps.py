"""Fallback steps in the rows, and as `-o json` shows them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.history import ServerRecord, Tried
from reconciler.core.model import Phase
from reconciler.store import past, read
from reconciler.store.rows import INSTANCE, RECORD
from reconciler.store.steps import asked_item, fallback_item
from tests.cli.filling import Filling, status

NOW = 1_700_000_100.0
FAILED = Tried(0, "ctx 8192", "GpuOutOfMemory", "cudaMalloc failed")
RUNS = Tried(1, "ctx 4096", "", ready_after=41.0)
FAILED_ITEM = {
    "step": 0,
    "told": "ctx 8192",
    "result": "GpuOutOfMemory",
    "evidence": "cudaMalloc failed",
    "readyAfter": None,
}


@pytest.fixture
def filling(tmp_path: Path) -> Iterator[Filling]:
    with Filling(tmp_path) as filling:
        yield filling


def fallback(filling: Filling) -> dict[str, Any] | None:
    with read.opened(filling.state) as db:
        (item,) = read.servers(db, ["coder"], now=NOW, controller=True)
    found: dict[str, Any] | None = item["status"]["fallback"]
    return found


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ({"model": "a.gguf"}, {"ctx": None, "ctxPerSlot": None, "slots": None, "gpuLayers": None, "model": "a.gguf"}),
        ({"ctx": 8192, "parallel": 3}, {"ctx": 8192, "ctxPerSlot": 2730, "slots": 3, "gpuLayers": None, "model": ""}),
        (
            {"model": {"hf": "u/r:Q4"}, "gpuLayers": "all"},
            {"ctx": None, "ctxPerSlot": None, "slots": None, "gpuLayers": "all", "model": "u/r:Q4"},
        ),
    ],
)
def test_what_is_asked_for(spec: dict[str, Any], shown: dict[str, Any]) -> None:
    assert asked_item(spec) == shown


def test_where_nothing_was_tried_there_is_no_fallback() -> None:
    assert fallback_item({}, None) is None
    assert fallback_item({}, {"uid": "of an earlier version"}) is None
    assert fallback_item({"tried": [], "step": 0, "last_cause": "Hung"}, {"step": 0}) is None


def test_what_runs_and_what_was_tried(filling: Filling) -> None:
    started = filling.ready("coder", ctx=8192)
    begun = replace(started, step=1, step_told="ctx 4096", changes={"ctx": 4096})
    with filling.store.transaction():
        filling.store.save_instance(begun)
    filling.record("coder", status(Phase.READY), step=1, tried=(FAILED, RUNS), last_cause="GpuOutOfMemory")
    runs = {"step": 1, "told": "ctx 4096", "result": "", "evidence": "", "readyAfter": 41.0}
    assert fallback(filling) == {
        "step": 1,
        "told": "ctx 4096",
        "changes": {"ctx": 4096},
        "cause": "GpuOutOfMemory",
        "tried": [FAILED_ITEM, runs],
    }
    with read.opened(filling.state) as db:
        assert [(one["step"], one["told"]) for one in past.restarts(db, ["coder"])] == [(1, "ctx 4096")]


def test_after_the_last_step_it_is_told_what_was_tried(filling: Filling) -> None:
    filling.document("coder", ctx=8192)
    filling.record("coder", status(Phase.BACKOFF), tried=(FAILED,))
    found = fallback(filling)
    assert found is not None
    assert (found["step"], found["told"], found["cause"]) == (0, "ctx 8192", "GpuOutOfMemory")
    assert found["tried"] == [FAILED_ITEM]


def test_the_next_step_is_told_before_it_runs(filling: Filling) -> None:
    filling.document("coder", ctx=8192)
    filling.record("coder", status(Phase.BACKOFF), step=1, tried=(FAILED, replace(RUNS, result="OomKilled")))
    found = fallback(filling)
    assert found is not None
    assert (found["step"], found["told"], found["cause"]) == (1, "ctx 4096", "OomKilled")


def test_rows_of_earlier_versions_are_of_what_was_asked_for(filling: Filling) -> None:
    instance, record = filling.ready("coder"), ServerRecord("coder", step=1, tried=(FAILED, RUNS))
    old = json.loads(INSTANCE.dump_json(instance))
    for name in ("step", "step_told", "changes", "hides_gpus", "verdict"):
        del old[name]
    assert INSTANCE.validate_json(json.dumps(old)) == instance
    assert RECORD.validate_json(RECORD.dump_json(record)) == record
    known = {"name": "coder", "n": 2, "restarts": 5}
    assert RECORD.validate_json(json.dumps(known)) == ServerRecord("coder", n=2, restarts=5)


def test_the_changes_of_a_step_come_back_as_they_were(filling: Filling) -> None:
    changes = {"model": {"hf": "u/r"}, "ctx": 2048, "flags": {"lora": ["a", "b"], "temp": 1.0, "mlock": True}}
    instance = replace(filling.ready("coder"), step=2, changes=changes, hides_gpus=True)
    again = INSTANCE.validate_json(INSTANCE.dump_json(instance))
    assert again == instance
    assert repr(again.changes) == repr(changes)
