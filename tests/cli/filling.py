"""A state folder with rows in it, as a controller would have written them."""

import os
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reconciler.core.actions import Event
from reconciler.core.history import Condition, Instance, ServerRecord, Stamp, Status, StopReason, Tried, Trigger
from reconciler.core.model import Document, Effective, Exit, Identity, Now, Phase
from reconciler.core.source import Revision, SourceRecord
from reconciler.core.spec import ServerSpec
from reconciler.store.writer import Store

BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
START = 1_700_000_000.25
"""Unix time at which everything began: 2023-11-14T22:13:20.250Z."""
COMMIT, NEXT = "1a2b3c4d" * 5, "99887766" * 5
IN_FORCE = {"applied": Revision(COMMIT, "more context", START), "applied_at": START, "checked_at": START}
"""A source that has what the remote has."""


def identity_of(pid: int) -> Identity:
    """The identity of a process that runs now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Identity(BOOT, pid, int(fields[19]))


def stamp(seconds: float = 0.0) -> Stamp:
    """So long after the beginning."""
    return Stamp(BOOT, 1000.0 + seconds, START + seconds)


def status(phase: Phase, message: str = "", reason: str = "", *, reconciled: str = "") -> Status:
    """A status with the conditions that matter; `reconciled` is why it is not."""
    ready = phase is Phase.READY
    return Status(
        phase,
        message,
        (
            Condition("Ready", ready, reason or str(phase), message, START),
            Condition("Reconciled", not reconciled and ready, reconciled or "AsDeclared", "", START),
        ),
    )


class Filling:
    """Writes rows into a new state folder."""

    def __init__(self, root: Path) -> None:
        self.state = root / "state"
        self.state.mkdir(parents=True, exist_ok=True)
        self.store = Store(self.state)
        self._uids = 0
        self._records: dict[str, ServerRecord] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.store.close()

    def document(
        self, name: str, *, file: str = "", generation: int = 1, origin: str = "local", at: float = 0.0, **spec: Any
    ) -> None:
        """Accept a document, so long after the beginning."""
        written = ServerSpec.model_validate({"model": "tiny.gguf", **spec})
        document = Document(
            "LlamaServer",
            name,
            file or f"manifests/{name}.yaml",
            written,
            {"tier": "demo"},
            {},
            generation,
            1,
            origin=origin,
        )
        with self.store.transaction():
            self.store.save_document(document, Now(0, START + at, BOOT))

    def remove(self, name: str) -> None:
        """Its document is gone."""
        with self.store.transaction():
            self.store.remove_document(name)

    def source(self, **more: Any) -> SourceRecord:
        """Remember a source whose revision is in force."""
        record = SourceRecord("git", url="https://git.example/fleet.git", ref="branch main", **{**IN_FORCE, **more})
        with self.store.transaction():
            self.store.save_source(record)
        return record

    def assign(self, name: str, port: int) -> None:
        """Give it a port for as long as it is declared."""
        with self.store.transaction():
            self.store.assign_port(name, port)

    def record(self, name: str, shown: Status, **remembered: Any) -> None:
        """Remember a server."""
        self._save(ServerRecord(name, generation=1, status=shown, **remembered))

    def remember(self, name: str, **more: Any) -> None:
        """The same with more, or other things, beside what is remembered."""
        self._save(replace(self._records[name], **more))

    def condition(self, name: str, kind: str, reason: str, message: str, *, holds: bool) -> None:
        """Put a condition into what is shown of a remembered server, in place of the one that it has."""
        shown = self._records[name].status
        assert shown is not None
        others = [one for one in shown.conditions if one.type != kind]
        new = Condition(kind, holds, reason, message, START)
        self.remember(name, status=replace(shown, conditions=(*others, new)))

    def _save(self, record: ServerRecord) -> None:
        self._records[record.name] = record
        with self.store.transaction():
            self.store.save_server(record)

    def instance(self, name: str, *, identity: Identity | None = None, at: float = 0.0, **more: Any) -> Instance:
        """Start an instance; by default it is this very process."""
        self._uids += 1
        instance = replace(
            Instance(f"uid{self._uids}", name, "1:abc", 1, 8001, stamp(at), Trigger.CREATED),
            identity=identity or identity_of(os.getpid()),
            **more,
        )
        launch = {"argv": ["/opt/llama server", "--model", "tiny.gguf"], "env": {"KEY": {"from_env": "SECRET"}}}
        with self.store.transaction():
            self.store.save_instance(instance, launch)
        return instance

    def save(self, instance: Instance, **more: Any) -> None:
        """An instance with other things than it had."""
        with self.store.transaction():
            self.store.save_instance(replace(instance, **more))

    def end(self, instance: Instance, after: float = 5.0, **more: Any) -> None:
        """End it."""
        ended = replace(instance, ended=replace(stamp(), wall=instance.intent.wall + after), **more)
        with self.store.transaction():
            self.store.save_instance(ended)

    def ready(self, name: str, **spec: Any) -> Instance:
        """A server that is Ready, with all that is known of such."""
        self.document(name, **spec)
        instance = self.instance(
            name,
            ready=stamp(2),
            first_ready=stamp(2),
            effective=Effective(1024, 4, "12/12"),
            models=({"id": "tiny", "size": 10, "parameters": 5, "trainedContext": 512},),
        )
        self.record(name, status(Phase.READY))
        return instance

    def failed(self, name: str, diagnosis: str = "Killed") -> None:
        """A server that was killed four times, and given up."""
        self.document(name)
        for attempt, delay in enumerate((0.0, 0.5, 1.0, 2.0)):
            trigger = Trigger.CRASHED if attempt else Trigger.CREATED
            begun = self.instance(name, at=attempt * 10.0, attempt=attempt, delay=delay, trigger=trigger)
            self.end(
                begun, exit=Exit(signal=9), diagnosis=diagnosis, evidence="SIGKILL, not sent from here", log_tail="bye"
            )
        message = f"gave up after 3 restarts: signal 9: {diagnosis}"
        shown = status(Phase.FAILED, message, "RestartsExhausted", reconciled="RestartsExhausted")
        self.record(name, shown, n=4, restarts=3, failed=stamp(35), last_error=f"signal 9: {diagnosis}")

    def degraded(self, name: str, cause: str = "GpuOutOfMemory", **spec: Any) -> Instance:
        """A server that is Ready on its third setting."""
        self.document(name, **{"ctx": 32768, "parallel": 4, "gpuLayers": 99, **spec})
        evidence = "cudaMalloc failed: out of memory, allocating 5.2 GiB for the KV cache (ctx 32768 × 4 slots)"  # noqa: RUF001 - as it is told
        for step, told in enumerate(("gpuLayers 99, ctx 32768", "ctx 16384")):
            begun = self.instance(name, at=step * 10.0, step=step, step_told=told if step else "")
            self.end(begun, exit=Exit(code=1), diagnosis=cause, evidence=evidence)
        running = self.instance(
            name,
            at=20.0,
            ready=stamp(61),
            first_ready=stamp(61),
            trigger=Trigger.FALLBACK,
            step=2,
            step_told="CPU only",
            changes={"ctx": 16384, "gpuLayers": 0},
            hides_gpus=True,
        )
        tried = (
            Tried(0, "gpuLayers 99, ctx 32768", cause, evidence),
            Tried(1, "ctx 16384", cause, evidence),
            Tried(2, "CPU only", "", ready_after=41.0),
        )
        message = f"asked for gpuLayers 99, ctx 32768; runs on CPU only: {cause}"
        shown = status(Phase.READY, message)
        shown = replace(shown, conditions=(*shown.conditions, Condition("Degraded", True, cause, message, START)))
        self.record(name, shown, step=2, tried=tried, ready_step=2, last_cause=cause)
        return running

    def stopped(self, name: str) -> None:
        """A server that was stopped by request."""
        self.document(name)
        self.end(self.instance(name), exit=Exit(code=0), stop_reason=StopReason.STOP_REQUESTED, stopping=stamp(1))
        self.record(name, status(Phase.STOPPED, "stopped by request", "StopRequested"))

    def event(self, server: str, reason: str, message: str, *, at: float = 0.0, warning: bool = False) -> None:
        """Tell something."""
        with self.store.transaction():
            self.store.add_event(Event(server, reason, message, warning), Now(0, START + at, BOOT))

    def meta(self, key: str, value: str) -> None:
        """Keep a fact."""
        with self.store.transaction():
            self.store.set_meta(key, value)


def eventually(holds: Any, seconds: float = 10.0) -> None:
    """Wait until something holds."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never came to hold"
        time.sleep(0.01)
