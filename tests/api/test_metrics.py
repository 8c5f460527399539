"""Figures as they are told to others: whatever stands in names and models, and whatever is not known."""

import subprocess
import sys
from typing import Any, cast

import httpx
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from reconciler.api import metrics
from reconciler.api.exposition import Alone
from reconciler.api.own_figures import own_families, source_families
from reconciler.api.problems import handlers
from reconciler.api.server_figures import server_families
from reconciler.core.counts import Counts

pytestmark = pytest.mark.anyio
HOSTILE = 'a"} 1\nevil{x="<b>\\'
UNKNOWN = dict.fromkeys(("cpuPercent", "memoryBytes", "gpuBytes", "tokensPerSecond", "slotsBusy", "healthSeconds"))
SUMMARY: dict[str, Any] = {
    "version": "1.2",
    "problems": [{}, {}],
    "folderProblem": "gone",
    "controller": {"passes": 7, "conditions": [{"type": "StateWritable", "status": "False"}]},
}


def item(name: str = "chat", **status: Any) -> dict[str, Any]:
    told = {
        "phase": "Ready",
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Strange", "status": "True"}],
        "instance": None,
        "port": None,
        "restarts": 0,
        "backoffAttempt": 0,
        "maxRestarts": 3,
        "backoffUntil": None,
        "fallback": None,
    }
    return {"metadata": {"name": name, "labels": {}}, "spec": {"model": "/m/a.gguf"}, "status": {**told, **status}}


def values(families: Any) -> dict[tuple[str, ...], float]:
    text = b"".join(generate_latest(cast("Any", Alone(family))) for family in families).decode()
    return {
        (sample.name, *(sample.labels[key] for key in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


RUNNING = {"startedAt": "2026-01-01T00:00:00.000Z", "readyAt": "2026-01-01T00:00:02.500Z"}


@pytest.mark.parametrize(
    ("status", "metric", "value"),
    [
        ({"restarts": 4}, ("restarts_total",), 4),
        ({"backoffAttempt": 2, "phase": "BackOff"}, ("backoff_attempts",), 2),
        ({"backoffUntil": "1970-01-01T00:16:47.500Z"}, ("backoff_remaining_seconds",), 7.5),
        ({"backoffUntil": "1970-01-01T00:00:01.000Z"}, ("backoff_remaining_seconds",), 0),
        ({}, ("backoff_remaining_seconds",), 0),
        ({"instance": RUNNING}, ("last_ready_duration_seconds",), 2.5),
        ({"instance": {**RUNNING, "readyAt": None}}, ("last_ready_duration_seconds",), None),
        ({}, ("start_time_seconds",), None),
        ({"phase": "Unhealthy"}, ("phase",), None),
        ({"fallback": {"step": 2}}, ("fallback_step",), 2),
        ({"fallback": {"step": None}}, ("fallback_step",), 0),
    ],
)
def test_a_server(status: dict[str, Any], metric: tuple[str, ...], value: float | None) -> None:
    found = values(server_families([item(**status)], {}, {}, now=1000))
    assert found.get((f"reconciler_server_{metric[0]}", "chat")) == value


def test_only_the_phase_that_it_is_in_is_told_and_known_conditions() -> None:
    found = values(server_families([item(), item("coder", phase="Unknown")], {}, {}))
    told = {key[1:]: value for key, value in found.items() if key[0] == "reconciler_server_phase"}
    assert told == {("Ready", "chat"): 1, ("Unknown", "coder"): 1}
    assert ("reconciler_server_condition", "Strange", "chat") not in found
    assert (found["reconciler_servers", "Ready"], found["reconciler_servers", "Failed"]) == (1, 0)


def test_what_is_not_known_is_left_out() -> None:
    found = values(server_families([item(), item("coder")], {"chat": {**UNKNOWN, "slots": 0}}, {"coder": 1.5}))
    told = ("memory_bytes", "gpu_memory_bytes", "tokens_per_second", "slots_busy", "health_latency_seconds")
    assert not [key for key in found if key[0].endswith(told)]
    assert found["reconciler_server_slots", "chat"] == 0
    assert found["reconciler_server_cpu_seconds_total", "coder"] == 1.5


@pytest.mark.parametrize("model", [HOSTILE, {"hf": HOSTILE}, None, "", "/"])
def test_no_name_breaks_a_line(model: Any) -> None:
    hostile = {**item(HOSTILE), "spec": {"model": model}}
    found = values([*server_families([hostile], {}, {}), *source_families([])])
    assert not [key for key in found if not key[0].startswith("reconciler_")]
    assert found["reconciler_server_restarts_total", HOSTILE] == 0


def test_the_controller() -> None:
    counts = Counts(failed_passes=1, state_errors=5)
    counts.actions["kill"] += 2
    counts.starts.observe(0.3)
    counts.ends["chat", "Hung"] += 1
    found = values(own_families(SUMMARY, counts))
    expected = {
        ("reconciler_build_info", "1.2"): 1,
        ("reconciler_passes_total",): 7,
        ("reconciler_passes_failed_total",): 1,
        ("reconciler_actions_total", "kill"): 2,
        ("reconciler_server_ends_total", "Hung", "chat"): 1,
        ("reconciler_server_ready_duration_seconds_bucket", "0.25"): 0,
        ("reconciler_server_ready_duration_seconds_bucket", "0.5"): 1,
        ("reconciler_server_ready_duration_seconds_bucket", "+Inf"): 1,
        ("reconciler_server_ready_duration_seconds_sum",): 0.3,
        ("reconciler_state_errors_total",): 5,
        ("reconciler_state_writable",): 0,
        ("reconciler_manifest_problems",): 2,
        ("reconciler_manifest_folder_readable",): 0,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert found["process_resident_memory_bytes",] > 10_000_000


@pytest.mark.parametrize(("status", "ready"), [("True", 1), ("False", 0), ("Unknown", 0)])
def test_a_source(status: str, ready: int) -> None:
    conditions = [{"type": "Ready", "status": status}]
    told = {"conditions": conditions, "suspended": True, "lastCheckedAt": "1970-01-01T00:00:09.000Z"}
    found = values(source_families([{"metadata": {"name": "git"}, "status": told}]))
    assert found["reconciler_source_ready", "git"] == ready
    assert found["reconciler_source_suspended", "git"] == 1
    assert found["reconciler_source_last_check_seconds", "git"] == 9


class House:
    """A controller with a meter, or without."""

    def __init__(self, *, is_metered: bool) -> None:
        self.meter = self if is_metered else None
        self.is_wanted = False

    def known_names(self) -> frozenset[str]:
        return frozenset({"chat"})

    def wanted(self) -> None:
        self.is_wanted = True

    def series(self, name: str) -> dict[str, Any]:
        return {"interval": 5.0, "at": [1.5], "series": {"ready": [1], "gpuBytes": [None]}, "name": name}


@pytest.mark.parametrize(
    ("path", "is_metered", "code", "told"),
    [
        ("/api/v1/servers/chat/usage", True, 200, '"gpuBytes":[null]'),
        ("/api/v1/servers/chat/usage", False, 200, '"at":[]'),
        ("/api/v1/servers/chatt/usage", True, 404, "UnknownServer"),
    ],
)
async def test_the_last_hour_of_a_server(path: str, is_metered: bool, code: int, told: str) -> None:
    house = House(is_metered=is_metered)
    found = metrics.routes(cast("Any", house), cast("Any", None))
    app = Starlette(routes=found, exception_handlers=dict(handlers(cast("Any", house))))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        answer = await client.get(path)
    assert answer.status_code == code
    assert told in answer.text.replace(" ", "")
    assert house.is_wanted is (is_metered and code == 200)


def test_a_controller_that_nobody_asks_for_figures_imports_nothing_for_them() -> None:
    told = "import sys, reconciler.api.app; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0
