"""What Prometheus is told of the controller itself: what it has counted, and how it is."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from reconciler.core.counts import Counts, Histogram
from reconciler.store.items import Item

WRITABLE = "StateWritable"
_process = ProcessCollector(registry=None)


def own_families(about: Mapping[str, Any], counts: Counts) -> Iterator[Metric]:
    """One family after the other. `about` is the summary, `counts` what was counted since the beginning."""
    yield from _process.collect()
    yield _info("build_info", "The controller's version; always 1.", version=about["version"])
    yield from _of_passes(about["controller"]["passes"], counts)
    yield from _of_servers(counts)
    yield from _of_state(about, counts)


def _of_passes(passes: int, counts: Counts) -> Iterator[Metric]:
    yield _counter("passes", "Passes: looks at everything, each with what follows from it.", passes)
    yield _counter("passes_failed", "Passes that ended in a fault of the controller's own.", counts.failed_passes)
    yield _histogram("pass_duration_seconds", "Time that a pass takes.", counts.passes)
    yield _by("actions", "What the controller did about processes.", ["action"], _alone(counts.actions))
    yield _by("events", "Events that were written, by type and reason.", ["type", "reason"], counts.events.items())
    yield _histogram("watch_lag_seconds", "Time from a manifest's change until it was heard of.", counts.watching)


def _of_servers(counts: Counts) -> Iterator[Metric]:
    told = "Looks at the health of servers, by what came of them."
    yield _by("probes", told, ["result"], _alone(counts.probes))
    yield _histogram("probe_duration_seconds", "Time until a server answers on its health.", counts.answers)
    told = "Time from the start of a server until it was Ready."
    yield _histogram("server_ready_duration_seconds", told, counts.starts)
    told = "Ends of servers that nobody asked for, by named cause."
    yield _by("server_ends", told, ["server", "diagnosis"], counts.ends.items())


def _of_state(about: Mapping[str, Any], counts: Counts) -> Iterator[Metric]:
    conditions = {one["type"]: one["status"] == "True" for one in about["controller"]["conditions"]}
    yield _counter("state_errors", "Times that the state could not be written.", counts.state_errors)
    told = "Whether the state can be written; while it cannot, nothing is started or stopped."
    yield _gauge("state_writable", told, conditions.get(WRITABLE, True))
    yield _gauge("manifest_problems", "Errors in the manifests as of the last pass.", len(about["problems"]))
    told = "Whether the folder of manifests can be read."
    yield _gauge("manifest_folder_readable", told, not about["folderProblem"])


def source_families(sources: Iterable[Item]) -> Iterator[Metric]:
    """Where each source stands."""
    ready = GaugeMetricFamily(
        "reconciler_source_ready", "Whether the newest revision of the remote is in force.", labels=["source"]
    )
    checked = GaugeMetricFamily(
        "reconciler_source_last_check_seconds",
        "When the remote was last looked at with success, in Unix time.",
        labels=["source"],
    )
    suspended = GaugeMetricFamily(
        "reconciler_source_suspended", "Whether a person suspended the source.", labels=["source"]
    )
    for item in sources:
        name, status = item["metadata"]["name"], item["status"]
        states = {one["type"]: one["status"] for one in status["conditions"]}
        ready.add_metric([name], states.get("Ready") == "True")
        suspended.add_metric([name], bool(status["suspended"]))
        if status["lastCheckedAt"]:
            checked.add_metric([name], datetime.fromisoformat(status["lastCheckedAt"]).timestamp())
    yield from (ready, checked, suspended)


def _counter(name: str, told: str, value: float) -> Metric:
    return CounterMetricFamily(f"reconciler_{name}", told, value=value)


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(f"reconciler_{name}", told, value=value)


def _info(name: str, told: str, **labels: str) -> Metric:
    family = GaugeMetricFamily(f"reconciler_{name}", told, labels=list(labels))
    family.add_metric(list(labels.values()), 1)
    return family


def _by(name: str, told: str, labels: list[str], counts: Iterable[tuple[tuple[str, ...], int]]) -> Metric:
    family = CounterMetricFamily(f"reconciler_{name}", told, labels=labels)
    for values, count in sorted(counts):
        family.add_metric(list(values), count)
    return family


def _alone(counts: Mapping[str, int]) -> Iterator[tuple[tuple[str, ...], int]]:
    return (((key,), count) for key, count in counts.items())


def _histogram(name: str, told: str, counted: Histogram) -> Metric:
    return HistogramMetricFamily(f"reconciler_{name}", told, buckets=list(counted.buckets()), sum_value=counted.sum)
