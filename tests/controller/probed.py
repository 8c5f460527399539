"""A prober over one small server, and a machine that says what it is told to say."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from reconciler.controller.prober import Prober
from reconciler.controller.target import Target
from reconciler.core.model import Health, HealthState
from reconciler.core.spec import ServerSpec
from reconciler.runtimes.host import Progress
from tests.controller.answering import Reply, Scripted, until

if TYPE_CHECKING:
    from reconciler.runtimes.local import LocalRuntime

PROPS: Reply = (200, {"total_slots": 2, "default_generation_settings": {"n_ctx": 256}, "model_path": "/m/a.gguf"})
MODELS: Reply = (200, {"data": [{"id": "a", "meta": {"size": 10, "n_params": 20, "n_ctx_train": 512}}]})
SLOTS: Reply = (200, [{"is_processing": True}, {"is_processing": False}])
FAST = {"startup": {"initialPeriod": "10ms", "maxPeriod": "20ms"}, "liveness": {"period": "20ms", "timeout": "100ms"}}


@dataclass
class Machine:
    """Stands in for the runtime: says what it is told to say."""

    owns: bool | None = True
    work: Iterator[Progress] | None = None
    log: str = ""
    devices: bool | None = None

    def listens(self, _pid: int, _host: str, _port: int) -> bool | None:
        return self.owns

    def progress(self, _pid: int) -> Progress | None:
        return next(self.work) if self.work else None

    def log_head(self, _server: str, _uid: str) -> str:
        return self.log

    def log_appended(self, _server: str, _uid: str, offset: int | None) -> tuple[str, int]:
        return self.log[len(self.log) if offset is None else offset :], len(self.log)

    def uses_devices(self, _pid: int) -> bool | None:
        return self.devices


@dataclass
class Computing(Machine):
    """A process that computes for as long as it is told to."""

    computes: bool = False
    share: float = 1.0
    """Of a processor."""
    _worked: float = 0.0
    _looked: float = field(default_factory=time.monotonic)

    def progress(self, _pid: int) -> Progress:
        now = time.monotonic()
        self._worked += (now - self._looked) * self.share if self.computes else 0.0
        self._looked = now
        return Progress(self._worked, 0)


@dataclass
class Probed:
    """A prober over one target, and all the healths it ever reported."""

    target: Target
    machine: Machine = field(default_factory=Machine)
    seen: list[Health] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.prober = Prober(cast("LocalRuntime", self.machine), self._changed)
        self.prober.sync({"u1": self.target})

    def _changed(self) -> None:
        self.seen.append(self.health)

    @property
    def health(self) -> Health:
        health = self.prober.health("u1")
        assert health is not None
        return health

    def retarget(self, **changes: Any) -> None:
        self.target = replace(self.target, **changes)
        self.prober.sync({"u1": self.target})

    async def until(self, state: HealthState) -> Health:
        await until(lambda: self.health.state is state)
        return self.health


def target(port: int, **changes: Any) -> Target:
    spec = ServerSpec.model_validate({"model": "/m/a.gguf", "probes": FAST, **changes.pop("spec", {})})
    made = Target("u1", "chat", 1, port, spec, "/m/a.gguf", api_key=None, was_ready=False, draining=False)
    return replace(made, **changes)


@contextmanager
def probing(one: Target, machine: Machine | None = None) -> Iterator[Probed]:
    probed = Probed(one, machine or Machine())
    try:
        yield probed
    finally:
        probed.prober.close()


def server(health: list[Reply], **replies: Any) -> Scripted:
    others = {"/props": [PROPS], "/v1/models": [MODELS], "/slots": [SLOTS]}
    return Scripted({"/health": health, **others, **{f"/{path}": reply for path, reply in replies.items()}})
