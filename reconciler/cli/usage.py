"""What servers take and give: looked at twice, at their processes and at what they tell themselves."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from reconciler.cli.servers import condition
from reconciler.controller.usage import Look, Usage, between, told
from reconciler.core.spec import ServerSpec
from reconciler.engines.throughput import Metrics, Slots
from reconciler.runtimes.gpu import Gpus
from reconciler.runtimes.host import choose_host
from reconciler.runtimes.usage import taken_by
from reconciler.store.items import running_spec
from reconciler.store.liveness import is_alive

if TYPE_CHECKING:
    from reconciler.controller.launching import Launcher
    from reconciler.settings import Settings

PATIENCE = 1.0
"""Seconds in which a server has to tell."""

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Shown(Usage):
    """A server's, with its item."""

    item: Item = field(default_factory=dict, repr=False)


def shown_between(item: Item, before: Look | None, after: Look) -> Shown:
    """What came between two looks at a server."""
    found = between(before, after, (item["status"]["effective"] or {}).get("slots"))
    return Shown(**asdict(found), item=item)


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
        port, adopted = item["status"]["port"], condition(item, "Adopted")["status"] == "True"
        slots, metrics = None, None
        try:
            spec = ServerSpec.model_validate(dict(running_spec(item)))
            # Keys are for our own servers only, and so are their figures.
            if self._host.listens(item["status"]["instance"]["pid"], spec.host, port) is not False:
                slots, metrics = await told(spec, port, self._key(spec), adopted=adopted, patience=PATIENCE)
        except (OSError, ValueError, ValidationError):
            slots = metrics = None
        return time.monotonic(), slots, metrics

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
