"""What Prometheus is told of each server: its item, and the figures of its process."""

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from reconciler.core.model import Phase
from reconciler.store.items import Item

CONDITIONS = ("Ready", "Progressing", "Degraded", "Reconciled", "Adopted")
_FIGURES = {
    "memoryBytes": ("resident_memory_bytes", "Memory that the server's process has resident, mapped models among it."),
    "gpuBytes": ("gpu_memory_bytes", "Memory of NVIDIA GPUs that the server's process has, over all of them."),
    "tokensPerSecond": ("tokens_per_second", "Tokens that the server generates in a second, between the last looks."),
    "slots": ("slots", "Slots of the server: requests that it serves at the same time."),
    "slotsBusy": ("slots_busy", "Slots that serve a request."),
    "requestsWaiting": ("requests_waiting", "Requests that wait for a slot; told by servers with the flag metrics."),
    "healthSeconds": ("health_latency_seconds", "Time that the last answer on the server's health took."),
}
"""Of a usage: the metric, without `reconciler_server_`, and its help."""


def server_families(
    items: Iterable[Item], usage: Mapping[str, Mapping[str, Any]], cpu: Mapping[str, float], now: float | None = None
) -> Iterator[Metric]:
    """One family after the other; each is made when it is asked for. `now` is Unix time."""
    found = [(str(item["metadata"]["name"]), item) for item in items]
    yield from _standing(found)
    yield from _restarts(found, time.time() if now is None else now)
    yield from _times(found)
    for key, (name, told) in _FIGURES.items():
        values = ((server, usage.get(server, {}).get(key)) for server, _ in found)
        yield _gauge(name, told, ((server, value) for server, value in values if value is not None))
    taken = CounterMetricFamily("reconciler_server_cpu_seconds", "CPU time of the server's process.", labels=["server"])
    for server, _ in found:
        if server in cpu:
            taken.add_metric([server], cpu[server])
    yield taken


def _standing(found: list[tuple[str, Item]]) -> Iterator[Metric]:
    info = GaugeMetricFamily(
        "reconciler_server_info", "What the server is; always 1.", labels=["server", "model", "port", "origin"]
    )
    phase = GaugeMetricFamily(
        "reconciler_server_phase", "The server's phase: 1 for the one that it is in.", labels=["server", "phase"]
    )
    condition = GaugeMetricFamily(
        "reconciler_server_condition", "Whether the condition is true of the server.", labels=["server", "condition"]
    )
    for server, item in found:
        status = item["status"]
        origin = (item["metadata"].get("source") or {}).get("origin", "")
        info.add_metric([server, _model(item["spec"].get("model")), str(status["port"] or ""), origin], 1)
        phase.add_metric([server, status["phase"]], 1)
        told = {one["type"]: one["status"] == "True" for one in status["conditions"]}
        for kind in (kind for kind in CONDITIONS if kind in told):
            condition.add_metric([server, kind], told[kind])
    yield from (info, phase, condition)
    phases = GaugeMetricFamily("reconciler_servers", "Servers in each phase.", labels=["phase"])
    for one in Phase:
        phases.add_metric([one], sum(item["status"]["phase"] == one for _, item in found))
    yield phases
    yield _gauge(
        "fallback_step",
        "Step of the fallback ladder that the server runs on; 0 is what was asked for.",
        ((server, (item["status"]["fallback"] or {}).get("step") or 0) for server, item in found),
    )


def _restarts(found: list[tuple[str, Item]], now: float) -> Iterator[Metric]:
    restarts = CounterMetricFamily(
        "reconciler_server_restarts", "Restarts of the server's life that nobody asked for.", labels=["server"]
    )
    for server, item in found:
        restarts.add_metric([server], item["status"]["restarts"])
    yield restarts
    statuses = [(server, item["status"]) for server, item in found]
    yield _gauge(
        "backoff_attempts",
        "Ends in a row without a stretch of being Ready; above the most restarts the server is Failed.",
        ((server, status["backoffAttempt"]) for server, status in statuses),
    )
    yield _gauge(
        "max_restarts",
        "Restarts in a row after which the server is Failed.",
        ((server, status["maxRestarts"]) for server, status in statuses),
    )
    yield _gauge(
        "backoff_remaining_seconds",
        "Time until the server is started again; 0 while it does not back off.",
        ((server, max(0.0, (_unix(status["backoffUntil"]) or now) - now)) for server, status in statuses),
    )


def _times(found: list[tuple[str, Item]]) -> Iterator[Metric]:
    statuses = [(server, item["status"]) for server, item in found]
    running = [(server, status["instance"]) for server, status in statuses if status["instance"]]
    began = [(server, _unix(one["startedAt"]), _unix(one["readyAt"])) for server, one in running]
    yield _gauge(
        "start_time_seconds",
        "When the server's process was started, in Unix time.",
        ((server, start) for server, start, _ in began if start is not None),
    )
    yield _gauge(
        "last_ready_duration_seconds",
        "Time from the start of the server's process until it was Ready.",
        ((server, ready - start) for server, start, ready in began if start is not None and ready is not None),
    )


def _gauge(name: str, told: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(f"reconciler_server_{name}", told, labels=["server"])
    for server, value in values:
        family.add_metric([server], value)
    return family


def _model(model: Any) -> str:
    """The file's name, or `hf:user/repo:quant`."""
    return f"hf:{model.get('hf', '')}" if isinstance(model, dict) else str(model or "").rstrip("/").rpartition("/")[2]


def _unix(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None
