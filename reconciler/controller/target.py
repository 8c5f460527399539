"""What is asked for its health."""

from dataclasses import dataclass

from reconciler.core.spec import ServerSpec


@dataclass(frozen=True, slots=True)
class Target:
    """An instance to be asked."""

    uid: str
    server: str
    pid: int
    port: int
    spec: ServerSpec
    model_path: str | None
    api_key: str | None
    was_ready: bool
    """It was Ready before this controller: it need not prove itself again."""
    draining: bool
    adopted: bool = False
    """Somebody else started it, in ways that its spec may not tell: it may sleep, and is not to be woken."""
    wants_slots: bool = False
    """Whether slots are at work is to be known while it serves, too."""
