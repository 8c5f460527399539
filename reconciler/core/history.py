"""What is remembered of servers and their instances: the values behind the rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from reconciler.core.model import Effective, Exit, Identity, Now, Phase, Process


class Trigger(StrEnum):
    """Why an instance was started."""

    CREATED = "Created"
    CRASHED = "Crashed"
    UNRESPONSIVE = "Unresponsive"
    SPEC_CHANGED = "SpecChanged"
    REQUESTED = "Requested"
    RESUMED = "Resumed"
    REBOOTED = "Rebooted"
    RETRIED = "Retried"
    """A Failed server is tried again: time passed or its files changed."""
    FALLBACK = "Fallback"
    """What was asked for, or the step before, did not run: a safer setting is tried."""
    PRIMARY_RETRIED = "PrimaryRetried"
    """What was asked for is tried again in place of a fallback step that runs."""
    CPU_ONLY = "CpuOnly"
    """The setting `cpu_only` is another than when it was started."""
    UNBLOCKED = "Unblocked"
    """Something outside the manifest had ended its start, and may be mended."""
    ADOPTED = "Adopted"
    """Found running: under our mark without a row, or started by hand and taken over."""


class StopReason(StrEnum):
    """Why a running instance is being stopped."""

    SPEC_CHANGED = "SpecChanged"
    SUSPENDED = "Suspended"
    PARKED = "NotInProfile"
    """The active profile leaves it out."""
    REMOVED = "Removed"
    STOP_REQUESTED = "StopRequested"
    RESTART_REQUESTED = "RestartRequested"
    UNRESPONSIVE = "Unresponsive"
    STARTUP_TIMEOUT = "StartupTimeout"
    PRIMARY_RETRIED = "PrimaryRetried"
    """A fallback step makes room for what was asked for."""
    CPU_ONLY = "CpuOnly"
    """It may not use a GPU any more, or may again."""

    @property
    def is_failure(self) -> bool:
        """Whether the end counts against the restart budget."""
        return self in (StopReason.UNRESPONSIVE, StopReason.STARTUP_TIMEOUT)


@dataclass(frozen=True, slots=True)
class Stamp:
    """A moment as it is kept: comparable within its boot, readable for people always."""

    boot: str
    monotonic: float
    wall: float

    @classmethod
    def of(cls, now: Now) -> "Stamp":
        """The stamp of this moment."""
        return cls(now.boot, now.monotonic, now.wall)

    def age(self, now: Now) -> float:
        """Seconds since; infinite when it was in another boot."""
        return now.monotonic - self.monotonic if self.boot == now.boot else float("inf")

    def after(self, seconds: float) -> float:
        """Monotonic time so many seconds later (of use within the same boot only)."""
        return self.monotonic + seconds


@dataclass(frozen=True, slots=True)
class Instance:
    """One attempt to run a server: its row in the database."""

    uid: str
    server: str
    fingerprint: str
    generation: int
    port: int
    intent: Stamp
    """When the start was committed."""
    trigger: Trigger = Trigger.CREATED
    attempt: int = 0
    """The back-off's count at the start."""
    delay: float = 0.0
    """Seconds of back-off before this start."""
    identity: Identity | None = None
    """None until the spawn is recorded."""
    ready: Stamp | None = None
    """Since when it has been Ready without a break."""
    first_ready: Stamp | None = None
    stopping: Stamp | None = None
    """When the decision to stop it was committed."""
    stop_reason: StopReason | None = None
    terminated: Stamp | None = None
    """When SIGTERM was decided; it is never sent twice."""
    killed: Stamp | None = None
    ended: Stamp | None = None
    exit: Exit | None = None
    diagnosis: str = ""
    evidence: str = ""
    log_tail: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """The spec it was started with, as written."""
    step: int = 0
    """The fallback step that it runs on; 0: as asked for. `fingerprint` and `spec` are those of what was asked for."""
    step_told: str = ""
    """The step in a few words."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """The fields in which it differs from `spec`, as a manifest writes them."""
    hides_gpus: bool = False
    """The GPUs are hidden from it."""
    verdict: str = ""
    """The named cause of a stop that counts as a failure."""
    effective: Effective | None = None
    models: tuple[Mapping[str, Any], ...] = ()
    adopted: bool = False
    """A stranger's process that was taken over: it bears no mark, and is known by `identity` alone."""
    found: str = ""
    """How an adopted one was started, as far as known."""
    unlike: tuple[str, ...] = ()
    """What of an adopted one is not as declared."""

    def is_process(self, process: Process) -> bool:
        """Whether the process is the one that was spawned for it, and not a child of it that leads a session too.

        A pid beside the uid is enough: without /proc, start times move with the wall clock.
        """
        same = self.identity is None or self.identity.pid == process.identity.pid
        return same and process.leader and process.uid == self.uid


@dataclass(frozen=True, slots=True)
class Condition:
    """One fact about a server, as Kubernetes words it."""

    type: str
    status: bool
    reason: str
    message: str = ""
    since: float = 0.0
    """Unix time of the last change of `status`."""


@dataclass(frozen=True, slots=True)
class Status:
    """What people are shown of a server."""

    phase: Phase
    message: str = ""
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one try of what was asked for, or of a fallback step."""

    step: int
    told: str
    """The setting in a few words."""
    result: str
    """The cause of its end; empty while it runs."""
    evidence: str = ""
    ready_after: float | None = None
    """Seconds from its start until it was Ready; None: it never was."""


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """What is remembered of a server between passes."""

    name: str
    generation: int = 0
    """The generation that the counters below belong to."""
    n: int = 0
    """Ends in a row without a stability window of Ready."""
    restarts: int = 0
    """Restarts of its life after an end nobody asked for; never reset."""
    ended: Stamp | None = None
    """When the last instance ended unasked; the back-off counts from here."""
    delay: float = 0.0
    """Seconds of back-off after `ended`."""
    next_trigger: Trigger | None = None
    """Why the next start will happen."""
    failed: Stamp | None = None
    """When the restart budget was used up."""
    files: str = ""
    """`GateFacts.identity` at its last start."""
    failed_files: str = ""
    """The same when it failed, or when its start was last ended by something outside the manifest."""
    failed_times: int = 0
    """Times in a row that it failed with all its fallback steps, and was tried again by time."""
    completed: bool = False
    """It ended by itself, and its policy does not restart it."""
    was_ready: bool = False
    swept: Stamp | None = None
    """When SIGKILL was last sent to processes that must not run beside its instance."""
    swept_pids: tuple[int, ...] = ()
    """Those of them that were not seen to be gone since."""
    swept_first: Stamp | None = None
    """When SIGKILL was first sent to any of those."""
    ended_uid: str = ""
    """The instance that ended last: what still bears its mark is left over of it, whatever session it leads."""
    starved: Stamp | None = None
    """When there was last no room for its start, or something outside the manifest ended it; None once it runs."""
    starved_times: int = 0
    """Starts in a row that came to that."""
    starved_why: str = ""
    starved_reason: str = "ResourcesExhausted"
    """The diagnosis of those starts."""
    last_error: str = ""
    last_cause: str = ""
    """The named cause of the last end nobody asked for, or of what blocks it."""
    step: int = 0
    """The fallback step on which the next start is tried, or what runs was started; 0: as asked for."""
    tried: tuple[Tried, ...] = ()
    """What was tried since what was asked for was last tried, in order."""
    ready_step: int = 0
    """The last step that was Ready; 0: none since what was asked for last ran."""
    primary_tries: int = 0
    """Times in a row that what was asked for was tried again beside a step that was Ready, and ended."""
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class History:
    """What the database remembers."""

    servers: Mapping[str, ServerRecord] = field(default_factory=dict)
    instances: Mapping[str, Instance] = field(default_factory=dict)
    """The open instance (not ended) of each server that has one."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """Ports assigned to servers with `port: auto`."""


@dataclass(frozen=True, slots=True)
class Requests:
    """What people asked for and is not done: ids of request rows by server name."""

    stop: Mapping[str, int] = field(default_factory=dict)
    restart: Mapping[str, int] = field(default_factory=dict)
    adopt: Mapping[str, int] = field(default_factory=dict)
    primary: Mapping[str, int] = field(default_factory=dict)
    """Restarts as asked for, whatever fallback step runs."""
