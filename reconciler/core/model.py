"""The values that travel between observing, deciding and doing. All of them are frozen; none of them does I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from reconciler.core.source import LOCAL
from reconciler.core.spec import ServerSpec


@dataclass(frozen=True, slots=True)
class Now:
    """The moment of a decision. Decisions compare `monotonic`; `wall` is for people."""

    monotonic: float
    """CLOCK_MONOTONIC in seconds, comparable over processes within one boot."""
    wall: float
    """Unix time in seconds."""
    boot: str
    """The boot's id (/proc/sys/kernel/random/boot_id)."""


class Phase(StrEnum):
    """Where a server stands (see docs/reference/phases.md)."""

    PENDING = "Pending"
    STARTING = "Starting"
    READY = "Ready"
    UNHEALTHY = "Unhealthy"
    STOPPING = "Stopping"
    BACKOFF = "BackOff"
    FAILED = "Failed"
    STOPPED = "Stopped"
    BLOCKED = "Blocked"
    INVALID = "Invalid"


# ---------------------------------------------------------------- desired


@dataclass(frozen=True, slots=True)
class Problem:
    """An error in a manifest, with its place."""

    file: str
    message: str
    labels: Mapping[str, str] | None = field(default=None, compare=False, repr=False, kw_only=True)
    """The document's labels; None where they could not be read."""
    reason: str = field(default="InvalidManifest", compare=False, repr=False, kw_only=True)
    """What is wrong, in one word."""
    line: int = 0
    """From 1; 0 when the whole file is meant."""
    column: int = 0
    """From 1."""
    field: str = ""
    """Path of the field, such as `spec.port`."""
    server: str = ""
    """Name of the document's object, if it could be read."""
    kind: str = ""
    """Kind of the document, if it could be read."""

    @property
    def data(self) -> dict[str, Any]:
        """It as JSON-ready data."""
        named = ("file", "message", "line", "column", "field", "server", "kind")
        return {**{name: getattr(self, name) for name in named}, "text": str(self)}

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Document:
    """A valid document: what a file declares, or what was last accepted of it."""

    kind: str
    name: str
    file: str
    spec: ServerSpec
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    generation: int = 0
    """Number of accepted changes of the document; 0 for one not accepted yet."""
    line: int = 0
    """Where it begins in its file, from 1."""
    port_line: tuple[int, int] = (0, 0)
    """Line and column of `spec.port`, from 1 (0 when not written)."""
    origin: str = LOCAL
    """Where it comes from: `local` or `git`. The policy may differ."""
    own: ServerSpec | None = None
    """The spec as its file has it, where `spec` has more from defaults; None where it has not (see `written`)."""
    came_from: Mapping[str, str] = field(default_factory=dict)
    """Names of the LlamaServerDefaults from which fields of `spec` come, by path, such as `spec.flags.threads`."""

    @property
    def place(self) -> tuple[str, int, str]:
        """Where it stands: file, line, origin."""
        return self.file, self.line, self.origin

    @property
    def written(self) -> ServerSpec:
        """The spec as its file has it, without what comes from defaults."""
        return self.own or self.spec

    @property
    def is_wanted(self) -> bool:
        """It is to run: the prune guard counts it."""
        return not self.spec.suspend

    def says_the_same(self, other: "Document") -> bool:
        """Whether both declare the same; where they stand does not count."""
        return self.said() == other.said()

    def said(self) -> tuple[Any, ...]:
        """All that it declares."""
        written, spec = self.written, self.spec
        return self.kind, written, spec, self.labels, self.annotations, _exactly(written), _exactly(spec)


def _exactly(spec: ServerSpec) -> dict[str, str]:
    """The flags, told apart by type too: `1` and `true` are equal in Python, but not on a command line."""
    return {name: repr(value) for name, value in spec.flags.items()}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One server as it should be."""

    document: Document
    fingerprint: str
    problems: tuple[Problem, ...] = ()
    """Errors of the newest text; the document is then the last accepted one."""
    held: str = ""
    """Why a document that is gone from the files still counts (prune guard, unreadable file); empty otherwise."""
    parked: str = ""
    """Why it is declared, but not to run now: the active profile leaves it out. Empty otherwise."""

    @property
    def spec(self) -> ServerSpec:
        """The accepted spec."""
        return self.document.spec


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that the planner needs."""

    loads: int = 4
    """Most servers loading at once; 0: no limit."""
    port_low: int = 8001
    port_high: int = 8999
    ephemeral: tuple[int, int] = (32768, 60999)
    """Ports the kernel hands to outgoing connections: never assigned (/proc/sys/net/ipv4/ip_local_port_range)."""
    loader_stall: float = 60.0
    """Seconds without progress after which a loader gives its load slot back."""
    fallback: Literal["auto", "off"] = "auto"
    """What holds for servers whose spec says nothing of fallback steps."""
    cpu_only: bool = False
    """No server may use a GPU."""
    has_gpus: bool = True
    """This machine may have one: else there is none to be hidden from a server that asks for no layers there."""


@dataclass(frozen=True, slots=True)
class Desired:
    """What should run."""

    servers: Mapping[str, Wanted]
    invalid: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    """Names that were never accepted, with their errors."""
    unreadable: bool = False
    """Some manifest text has no readable name: a process of an unknown server may be declared there."""
    limits: Limits = Limits()
    scope: frozenset[str] | None = None
    """The servers that may be started or stopped; None: all. A command without a controller acts on what it names."""
    profile: str = ""
    """The active profile; empty when all servers are wanted."""
    switch: Literal["StopFirst", "StartFirst"] = "StopFirst"
    """Whether those that the active profile leaves out end before its own start, or after."""
    broken: frozenset[str] = frozenset()
    """Those of `invalid` that the active profile selects."""


# ---------------------------------------------------------------- observed


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, told apart from every other that ever wore its pid."""

    boot: str
    pid: int
    start_ticks: int
    """Field 22 of /proc/PID/stat: clock ticks from boot to start (proc(5))."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended. Both None: only its parent, who is gone, could have known."""

    code: int | None = None
    signal: int | None = None

    def __str__(self) -> str:
        if self.signal is not None:
            return f"signal {self.signal}"
        return "exit status unknown" if self.code is None else f"exit code {self.code}"


class HealthState(StrEnum):
    """What the newest probes say."""

    UNKNOWN = "Unknown"
    """No probe has ended yet."""
    REFUSED = "Refused"
    LOADING = "Loading"
    """It answers 503."""
    OK = "Ok"
    FAILING = "Failing"
    """No answer, or a wrong one."""
    BUSY = "Busy"
    """No answer within the timeout, but the process computes."""
    STRANGER = "Stranger"
    """Somebody else answers on the port."""


@dataclass(frozen=True, slots=True)
class Effective:
    """Settings that a running server reports."""

    ctx_per_slot: int | None = None
    slots: int | None = None
    gpu_layers: str | None = None
    """`N/M` as offloaded, when the log says so."""
    device: str = ""
    """Where the model is kept, as the log says, such as `CUDA0` or `CPU`; empty: not told."""
    model: str = ""
    """The model as the server names it."""
    trained: int | None = None
    """Tokens of context that the model was trained with."""
    is_capped: bool = False
    """It says that the context was cut to what the model was trained with."""
    unverified: str = ""
    """Why the server could not be asked for its settings."""


@dataclass(frozen=True, slots=True)
class Health:
    """What the prober knows of an instance. Replaced only when something changed."""

    state: HealthState = HealthState.UNKNOWN
    verified: bool = False
    """All that Ready needs was seen at least once: 200, our socket, fitting properties."""
    failures: int = 0
    """Failed liveness probes in a row."""
    last_progress: float | None = None
    """Monotonic time of the last sign of work while loading."""
    message: str = ""
    effective: Effective | None = None
    models: tuple[Mapping[str, Any], ...] = ()
    busy_slots: int | None = None
    """Slots at work, asked only while draining, or where `Target.wants_slots`."""
    hides_slots: bool = False
    """It answers that it does not tell of its slots."""
    slow: float = 0.0
    """Seconds that `/health` takes lately, where that is too long; 0: it is not slow."""
    is_unreachable: bool = False
    """Nobody listens on its port, though its process is alive."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that bears this installation's mark."""

    uid: str
    server: str
    identity: Identity
    leader: bool
    """It leads its session, as every instance does; others are helpers or leftovers of one."""
    alive: bool
    fingerprint: str = ""
    port: int = 0
    exit: Exit | None = None
    log_tail: str = ""
    """The log's last lines, read once it has ended."""
    diagnosis: str = ""
    """The engine's name for the cause of its end."""
    evidence: str = ""
    health: Health = Health()
    program: str = ""
    """Its program's name, where it was found running."""
    is_launched: bool = True
    """Its command line may be that of an instance. Where it is not, it is a helper, or a copied mark."""
    step: int = 0
    """The fallback step that it was started on, as its mark says; 0: as asked for."""
    step_told: str = ""
    """That step in a few words."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """The fields of the spec in which it differs; empty where its mark does not say that."""
    hides_gpus: bool = False
    """The GPUs were hidden from it, as its mark says."""


@dataclass(frozen=True, slots=True)
class GateFacts:
    """What was seen of the things a start needs. A reason is empty when all is well."""

    reason: str = ""
    message: str = ""
    retry_at: float | None = None
    """Monotonic time at which to look again, when sooner than each second."""
    identity: str = ""
    """The model's and binary's file identities: a change of it lets a Failed server try again."""
    trained: int = 0
    """Tokens of context that the model was trained with; 0: not known."""
    layers: int = 0
    """Layers of the model; 0: not known."""
    for_leaving: bool = False
    """It is shut only because servers have their places still that the active profile leaves out."""
    on_steps: "Mapping[int, GateFacts]" = field(default_factory=dict)
    """The same for fallback steps that name a model or flags of their own; all others need what is needed anyway."""
