"""What a plan consists of: things to commit, things to do, things to tell."""

from dataclasses import dataclass

from reconciler.core.history import Instance, ServerRecord, Trigger
from reconciler.core.ladder import PRIMARY, Step
from reconciler.core.model import Identity


@dataclass(frozen=True, slots=True)
class Event:
    """A line for people; the same one again is counted, not repeated."""

    server: str
    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """Commit an instance, then spawn it."""

    server: str
    trigger: Trigger
    attempt: int
    delay: float
    port: int
    step: Step = PRIMARY


@dataclass(frozen=True, slots=True)
class SaveInstance:
    """Commit a changed instance row (also one that ended, or was adopted)."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take back an intent that came to nothing: no process was begun, and its row is dropped."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class SaveServer:
    """Commit what is remembered of a server."""

    record: ServerRecord


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop a server that is gone and its port."""

    server: str


@dataclass(frozen=True, slots=True)
class FinishRequest:
    """Mark a request as done."""

    request: int


@dataclass(frozen=True, slots=True)
class Terminate:
    """Send SIGTERM to an instance."""

    uid: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class Kill:
    """Send SIGKILL to a process of ours."""

    uid: str
    identity: Identity


Action = Start | SaveInstance | Withdraw | SaveServer | Forget | FinishRequest | Terminate | Kill


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and when to look again at the latest."""

    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    wake_at: float | None = None
    """Monotonic time; None when only a change can matter."""
