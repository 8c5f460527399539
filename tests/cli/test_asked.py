"""What runs beside what was asked for, as `get servers` shows it."""

from typing import Any

import pytest

from reconciler.cli.servers import WIDE, server_row, summary
from reconciler.store.items import running_spec

CELLS = ("MODEL", "CTX", "NGL", "SLOTS", "DEVICE")


def item(
    spec: dict[str, Any],
    effective: dict[str, Any] | None,
    changes: dict[str, Any] | None = None,
    *,
    started_with: dict[str, Any] | None = None,
    degraded: bool = False,
    phase: str = "Ready",
) -> dict[str, Any]:
    """A server as `-o json` has it."""
    conditions = [{"type": "Degraded", "status": "True" if degraded else "False", "reason": "GpuOutOfMemory"}]
    written = {"model": "a.gguf", **spec}
    return {
        "metadata": {"name": "coder"},
        "spec": written,
        "status": {
            "phase": phase,
            "conditions": conditions,
            "instance": {"uid": "u1", "pid": 1, "trigger": "Fallback", "spec": started_with or written},
            "fallback": {"step": 1, "changes": changes} if changes else None,
            "effective": effective,
            "port": 8001,
            "generation": 1,
            "restarts": 0,
            "uptimeSeconds": 5.0,
            "backoffUntil": None,
            "backoffAttempt": 1,
            "maxRestarts": 3,
            "message": "it runs on ctx 16384",
        },
    }


def cells(one: dict[str, Any], *, wide: bool) -> list[str]:
    row = dict(zip(WIDE if wide else asked_headers(), server_row(one, 0.0, wide=wide), strict=True))
    return [row[name] for name in CELLS if name in row]


def asked_headers() -> tuple[str, ...]:
    return tuple(name for name in WIDE if name not in ("SLOTS", "DEVICE", "GENERATION", "INSTANCE", "SOURCE"))


CTX = {"ctx": 32768, "parallel": 4}


@pytest.mark.parametrize(
    ("spec", "effective", "changes", "shown"),
    [
        ({}, None, None, ["a.gguf", "auto", "auto", "auto", "-"]),
        (CTX, None, None, ["a.gguf", "32768", "auto", "4", "-"]),
        (CTX, {"ctxPerSlot": 8192, "slots": 4, "device": "CPU"}, None, ["a.gguf", "32768", "auto", "4", "CPU"]),
        (CTX, {"ctxPerSlot": 512, "slots": 4}, None, ["a.gguf", "2048 (asked 32768)", "auto", "4", "-"]),
        (CTX, {"ctxPerSlot": 4096, "slots": 4}, {"ctx": 16384}, ["a.gguf", "16384 (asked 32768)", "auto", "4", "-"]),
        (CTX, None, {"ctx": 16384, "parallel": 1}, ["a.gguf", "16384 (asked 32768)", "auto", "1 (asked 4)", "-"]),
        # A block is what llama-server rounds up to.
        ({"ctx": 100, "parallel": 1}, {"ctxPerSlot": 256, "slots": 1}, None, ["a.gguf", "256", "auto", "1", "-"]),
        ({}, {"ctxPerSlot": 512, "slots": 4}, {"ctx": 512}, ["a.gguf", "512", "auto", "4", "-"]),
        (
            {"gpuLayers": 99},
            {"gpuLayers": "33/33", "device": "CUDA0"},
            None,
            ["a.gguf", "auto", "33/33", "auto", "CUDA0"],
        ),
        ({"gpuLayers": 20}, {"gpuLayers": "20/33"}, None, ["a.gguf", "auto", "20/33", "auto", "-"]),
        ({"gpuLayers": "all"}, {"gpuLayers": "20/33"}, None, ["a.gguf", "auto", "20/33 (asked all)", "auto", "-"]),
        (
            {"gpuLayers": 20},
            {"gpuLayers": "10/33"},
            {"gpuLayers": 10},
            ["a.gguf", "auto", "10/33 (asked 20)", "auto", "-"],
        ),
        ({"gpuLayers": 20}, {}, {"gpuLayers": 10}, ["a.gguf", "auto", "10 (asked 20)", "auto", "-"]),
        ({"gpuLayers": 99}, {"device": "CPU"}, None, ["a.gguf", "auto", "0 (asked 99)", "auto", "CPU"]),
        ({"gpuLayers": "auto"}, {"device": "CPU"}, None, ["a.gguf", "auto", "0", "auto", "CPU"]),
        ({}, {"device": "CPU"}, None, ["a.gguf", "auto", "auto", "auto", "CPU"]),
        ({}, None, {"model": "b.gguf"}, ["b.gguf (asked a.gguf)", "auto", "auto", "auto", "-"]),
    ],
)
def test_wide_shows_both_where_they_differ(
    spec: dict[str, Any], effective: dict[str, Any] | None, changes: dict[str, Any] | None, shown: list[str]
) -> None:
    assert cells(item(spec, effective, changes), wide=True) == shown


def test_the_usual_table_shows_what_runs() -> None:
    one = item({**CTX, "gpuLayers": 20}, {"ctxPerSlot": 4096, "gpuLayers": "10/33"}, {"ctx": 16384, "gpuLayers": 10})
    assert cells(one, wide=False) == ["a.gguf", "16384", "10/33"]


def test_what_is_declared_but_does_not_run_yet_is_asked_for() -> None:
    one = item({"ctx": 8192}, {"ctxPerSlot": 4096, "slots": 4}, started_with={"model": "a.gguf", "ctx": 4096})
    assert cells(one, wide=True)[1] == "4096 (asked 8192)"
    less = item({"ctx": 2048}, {"ctxPerSlot": 4096, "slots": 4}, started_with={"model": "a.gguf", "ctx": 4096})
    assert cells(less, wide=True)[1] == "4096 (asked 2048)"


def test_a_steps_flags_are_set_over_those_asked_for() -> None:
    one = item({"flags": {"mlock": True, "temp": 1}}, None, {"flags": {"temp": 2}})
    assert running_spec(one)["flags"] == {"mlock": True, "temp": 2}
    assert one["spec"]["flags"] == {"mlock": True, "temp": 1}


@pytest.mark.parametrize(
    ("phase", "degraded", "shown"),
    [
        ("Ready", True, "Ready,Degraded"),
        ("Ready", False, "Ready"),
        ("BackOff", True, "BackOff"),
        ("Failed", True, "Failed"),
    ],
)
def test_one_that_is_ready_but_not_as_asked_says_so(phase: str, degraded: bool, shown: str) -> None:
    assert server_row(item({}, None, degraded=degraded, phase=phase), 0.0)[1] == shown


def test_the_last_line_counts_them() -> None:
    ready = {"type": "Ready", "status": "True", "reason": "Ready"}
    servers = [item({}, None, degraded=degraded) for degraded in (True, False, True)]
    for one in servers:
        one["status"]["conditions"].append(ready)
    assert summary(servers) == "3 total, 3 ready, 3 running, 2 degraded"
    assert summary(servers[1:2]) == "1 total, 1 ready, 1 running"
