"""What a server takes and gives: two looks at its process and at what it tells itself, and what came between them."""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import h11

from reconciler.controller.http_get import Answer, Conversation, conversation
from reconciler.core.spec import ServerSpec
from reconciler.engines import engine_of
from reconciler.engines.throughput import Metrics, Slots, tokens_between
from reconciler.runtimes.usage import Taken

FIELDS = (
    "cpuPercent",
    "memoryBytes",
    "gpuBytes",
    "tokensPerSecond",
    "slotsBusy",
    "slots",
    "requestsWaiting",
)
"""Of a usage, as `-o json` has it."""


@dataclass(frozen=True, slots=True)
class Look:
    """One server at one moment."""

    at: float
    """Monotonic time."""
    pid: int | None = None
    taken: Taken | None = None
    gpu: int | None = None
    """Bytes of GPUs' memory; None where it has none, or that is not told."""
    slots: Slots | None = None
    metrics: Metrics | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a server took and gave between two looks. What is not known is None."""

    cpu: float | None = None
    """Percent of one core."""
    memory: int | None = None
    """Bytes in memory (RSS)."""
    gpu: int | None = None
    """Bytes of GPUs' memory."""
    tokens: float | None = None
    """Generated in a second."""
    busy: int | None = None
    """Slots that serve."""
    slots: int | None = None
    waiting: int | None = None
    """Requests that wait for a slot."""

    @property
    def data(self) -> dict[str, Any]:
        """As `-o json` has it."""
        cpu = None if self.cpu is None else round(self.cpu, 1)
        tokens = None if self.tokens is None else round(self.tokens, 2)
        values = (cpu, self.memory, self.gpu, tokens, self.busy, self.slots, self.waiting)
        return dict(zip(FIELDS, values, strict=True))


def between(before: Look | None, after: Look, known_slots: int | None = None) -> Usage:
    """What came between two looks; of a server that was not there, or was another process, only what is.

    `known_slots`: how many it has, where it does not tell now.
    """
    slots, metrics, taken = after.slots, after.metrics, after.taken
    cpu = tokens = None
    if before is not None and before.pid == after.pid and (seconds := after.at - before.at) > 0:
        if before.taken is not None and taken is not None:
            cpu = max(0.0, 100 * (taken.cpu_seconds - before.taken.cpu_seconds) / seconds)
        count = tokens_between((before.slots, before.metrics), (slots, metrics))
        tokens = None if count is None else count / seconds
    return Usage(
        cpu,
        taken.memory if taken else None,
        after.gpu,
        tokens,
        slots.busy if slots else metrics.busy if metrics else None,
        slots.total if slots else known_slots,
        metrics.waiting if metrics else None,
    )


async def told(
    spec: ServerSpec, port: int, key: str | None, *, adopted: bool, patience: float
) -> tuple[Slots | None, Metrics | None]:
    """What a server tells of its work within so many seconds; None for what it does not.

    `adopted`: nobody knows how it was started, and whether a look at its slots would wake a model that sleeps.
    """
    engine, slots, metrics = engine_of(spec), None, None
    try:
        async with (
            asyncio.timeout(patience),
            conversation(spec.host, port, tls=engine.scheme(spec) == "https") as talk,
        ):
            if not (adopted or engine.may_sleep(spec)):
                slots = engine.read_slots(await _body(talk, engine.slots_path(spec), key))
            if engine.shows_metrics(spec):
                metrics = engine.read_metrics(await _body(talk, engine.metrics_path(spec), key))
    except (OSError, ValueError, h11.ProtocolError):
        return None, None
    return slots, metrics


async def _body(talk: Conversation, path: str, key: str | None) -> bytes:
    answer: Answer = await talk.get(path, key)
    return answer.body if answer.status == HTTPStatus.OK else b""
