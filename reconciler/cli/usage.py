"""What servers take and give: looked at twice, at their processes and at what they tell themselves."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import h11
from pydantic import ValidationError

from reconciler.cli.asked import running_spec
from reconciler.cli.servers import condition
from reconciler.controller.http_get import Answer, Conversation, conversation
from reconciler.core.spec import ServerSpec
from reconciler.engines import engine_of
from reconciler.engines.throughput import Metrics, Slots, tokens_between
from reconciler.runtimes.gpu import Gpus
from reconciler.runtimes.host import choose_host
from reconciler.runtimes.usage import Taken, taken_by
from reconciler.store.liveness import is_alive

if TYPE_CHECKING:
    from reconciler.controller.launching import Launcher
    from reconciler.settings import Settings

PATIENCE = 1.0
"""Seconds in which a server has to tell."""

Item = Mapping[str, Any]


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Usage:
    """What a server took and gave between two looks. What is not known is None."""

    item: Item = field(repr=False)
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


def between(item: Item, before: Look | None, after: Look) -> Usage:
    """What came between two looks; of a server that was not there, or was another process, only what is."""
    slots, metrics, taken = after.slots, after.metrics, after.taken
    cpu = tokens = None
    if before is not None and before.pid == after.pid and (seconds := after.at - before.at) > 0:
        if before.taken is not None and taken is not None:
            cpu = max(0.0, 100 * (taken.cpu_seconds - before.taken.cpu_seconds) / seconds)
        count = tokens_between((before.slots, before.metrics), (slots, metrics))
        tokens = None if count is None else count / seconds
    return Usage(
        item,
        cpu,
        taken.memory if taken else None,
        after.gpu,
        tokens,
        slots.busy if slots else metrics.busy if metrics else None,
        slots.total if slots else (item["status"]["effective"] or {}).get("slots"),
        metrics.waiting if metrics else None,
    )


class Looker:
    """Looks at many servers at once; one that does not answer holds up none of the others."""

    def __init__(self, settings: "Callable[[], Settings]") -> None:
        """`settings` are asked for when a server has a key."""
        self._settings = settings
        self._launcher: Launcher | None = None
        self._host = choose_host(os.environ.get("RECONCILER_HOST", ""))
        self._gpus = Gpus()

    @property
    def sees_gpus(self) -> bool:
        """Whether GPU memory can be told."""
        return self._gpus.are_there

    def look(self, items: Sequence[Item], identities: Mapping[str, Mapping[str, Any]]) -> dict[str, Look]:
        """All servers now, by name. Who is not the process that was recorded is not looked at."""
        names = [str(item["metadata"]["name"]) for item in items]
        there = {name: one for name in names if (one := identities.get(name)) is not None and is_alive(one)}
        told = asyncio.run(self._ask({str(i["metadata"]["name"]): i for i in items if i["metadata"]["name"] in there}))
        gpu = self._gpus.memory() if there else {}
        now = time.monotonic()
        found = {}
        for name in names:
            if name not in there:
                found[name] = Look(now)
                continue
            pid = int(there[name]["pid"])
            at, slots, metrics = told[name]
            found[name] = Look(at, pid, taken_by(pid), gpu.get(pid), slots, metrics)
        return found

    async def _ask(self, items: Mapping[str, Item]) -> dict[str, tuple[float, Slots | None, Metrics | None]]:
        answers = await asyncio.gather(*(self._told(item) for item in items.values()))
        return dict(zip(items, answers, strict=True))

    async def _told(self, item: Item) -> tuple[float, Slots | None, Metrics | None]:
        try:
            spec = ServerSpec.model_validate(dict(running_spec(item)))
            slots, metrics = None, None
            # Keys are for our own servers only, and so are their figures.
            if self._host.listens(item["status"]["instance"]["pid"], spec.host, item["status"]["port"]) is not False:
                async with asyncio.timeout(PATIENCE):
                    slots, metrics = await self._talk(item, spec)
        except (OSError, ValueError, ValidationError, h11.ProtocolError):
            slots = metrics = None
        return time.monotonic(), slots, metrics

    async def _talk(self, item: Item, spec: ServerSpec) -> tuple[Slots | None, Metrics | None]:
        engine, key, slots, metrics = engine_of(spec), self._key(spec), None, None
        async with conversation(spec.host, item["status"]["port"], tls=engine.scheme(spec) == "https") as talk:
            # A look at the slots would wake a model that sleeps; and nobody knows how a stranger's server was started.
            if not engine.may_sleep(spec) and condition(item, "Adopted")["status"] != "True":
                slots = engine.read_slots(await _body(talk, engine.slots_path(spec), key))
            if engine.shows_metrics(spec):
                metrics = engine.read_metrics(await _body(talk, engine.metrics_path(spec), key))
        return slots, metrics

    def _key(self, spec: ServerSpec) -> str | None:
        if spec.api_key_file is None:
            return None
        if self._launcher is None:
            from reconciler.controller.launching import Launcher  # noqa: PLC0415 - few servers have keys

            self._launcher = Launcher(self._settings(), os.environ)
        return self._launcher.api_key(spec)

    def close(self) -> None:
        """Look no more."""
        self._gpus.close()


async def _body(talk: Conversation, path: str, key: str | None) -> bytes:
    answer: Answer = await talk.get(path, key)
    return answer.body if answer.status == HTTPStatus.OK else b""
