"""How much a llama-server serves: what `/slots` and `/metrics` tell at one moment, and what came between two."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.core.spec import ServerSpec

MOST_METRICS = 10_000
"""Lines that are read of an answer on `/metrics`; the real one has about fifty."""
_METRIC = re.compile(r"^llamacpp:(?P<name>\w+)(?:\{[^}]*\})? +(?P<value>[-+.\deE]+)$")


@dataclass(frozen=True, slots=True)
class Slots:
    """What `/slots` tells."""

    total: int
    busy: int
    generated: Mapping[tuple[int, int], int] = field(default_factory=dict)
    """Tokens generated so far for each request that is being served, by slot and task."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """What `/metrics` tells."""

    generated: int | None = None
    """Tokens generated for all requests that were answered."""
    busy: int | None = None
    """Requests that are being served."""
    waiting: int | None = None
    """Requests that wait for a slot."""


def metrics_path(spec: ServerSpec) -> str:
    """Where the server shows its counters; needs the key when there is one."""
    prefix = spec.flags.get("api-prefix", "")
    return (prefix if isinstance(prefix, str) else "") + "/metrics"


def shows_metrics(spec: ServerSpec) -> bool:
    """Whether the server was told to show its counters."""
    written, variable = spec.flags.get("metrics"), spec.env.get("LLAMA_ARG_ENDPOINT_METRICS")
    return written is True or (written is None and str(variable).lower() in ("1", "true", "on", "enabled"))


def read_slots(body: bytes) -> Slots | None:
    """What an answer on `/slots` tells; None when it tells nothing (no key, an error)."""
    slots = _json(body)
    if not isinstance(slots, list) or not slots or not all(isinstance(slot, dict) for slot in slots):
        return None
    busy = [slot for slot in slots if slot.get("is_processing") is True]
    return Slots(len(slots), len(busy), dict(found for slot in busy if (found := _generated(slot)) is not None))


def _generated(slot: Mapping[str, Any]) -> tuple[tuple[int, int], int] | None:
    """Newer builds list what comes next, older ones have it as a mapping."""
    following = slot.get("next_token")
    found = following[0] if isinstance(following, list) and following else following
    numbers = (slot.get("id"), slot.get("id_task", 0), found.get("n_decoded") if isinstance(found, dict) else None)
    match numbers:
        case int(number), int(task), int(count):
            return (number, task), count
    return None


def read_metrics(body: bytes) -> Metrics | None:
    """What an answer on `/metrics` tells; None when that is nothing."""
    found = dict(_numbers(body.decode(errors="replace")))
    names = ("tokens_predicted_total", "requests_processing", "requests_deferred")
    return Metrics(*(found.get(name) for name in names)) if found else None


def _numbers(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines()[:MOST_METRICS]:
        if found := _METRIC.match(line):
            try:
                yield found["name"], int(float(found["value"]))
            except (ValueError, OverflowError):
                continue


def tokens_between(
    before: tuple[Slots | None, Metrics | None], after: tuple[Slots | None, Metrics | None]
) -> int | None:
    """Tokens generated between two looks, as far as they tell; None when they do not.

    Requests that were answered meanwhile count whole with `/metrics`; by `/slots` alone their last tokens are missing.
    """
    totals = [metrics.generated if metrics else None for _, metrics in (before, after)]
    running = [slots.generated if slots else None for slots, _ in (before, after)]
    told = None if totals[0] is None or totals[1] is None else totals[1] - totals[0]
    if running[0] is None or running[1] is None:
        return None if told is None else max(0, told)
    if told is not None:
        return max(0, told + sum(running[1].values()) - sum(running[0].values()))
    return sum(max(0, count - running[0].get(key, 0)) for key, count in running[1].items())


def _json(body: bytes) -> Any:
    # A deeply nested text ends in RecursionError: whoever answers there may be anybody.
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
