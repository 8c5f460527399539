"""The named causes of ends and refusals: what can mend each, and whether a safer setting can.

The patterns by which a cause is recognised belong to the engine; what follows from it is decided here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from reconciler.core.model import Exit
from reconciler.core.spec import CauseName, ServerSpec


class Mends(StrEnum):
    """What can mend a cause."""

    RETRY = "Retry"
    """Another try may go well: back-off, within the restart budget."""
    WORLD = "World"
    """Something outside the manifest must change (a file, a port, a permission): Blocked, and no restart is counted."""
    EDIT = "Edit"
    """No retry mends it (a flag, a broken file, a program for another machine): Failed at once."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One named cause."""

    name: CauseName
    mends: Mends = Mends.RETRY
    eases: bool = False
    """A safer setting can help: the fallback steps answer it, unless they say otherwise."""


CAUSES: Mapping[str, Cause] = {
    cause.name: cause
    for cause in (
        Cause("ModelMissing", Mends.WORLD),
        Cause("ModelBroken", Mends.EDIT),
        Cause("PortInUse", Mends.WORLD),
        Cause("InvalidFlag", Mends.EDIT),
        Cause("GpuOutOfMemory", eases=True),
        Cause("HostOutOfMemory", eases=True),
        Cause("OomKilled", eases=True),
        Cause("ContextTooLarge", eases=True),
        Cause("GpuUnavailable", eases=True),
        Cause("SharedLibraryMissing", Mends.WORLD),
        Cause("BinaryMissing", Mends.WORLD),
        Cause("WrongArchitecture", Mends.EDIT),
        Cause("DownloadFailed"),
        Cause("PermissionDenied", Mends.WORLD),
        Cause("StartupTimeout"),
        Cause("Hung"),
        Cause("Unreachable"),
        Cause("ModelFileChanged"),
        Cause("CrashedInRequest"),
        Cause("Crashed"),
        Cause("KilledByUser"),
        Cause("Exited"),
        Cause("Unknown"),
    )
}
"""By name."""
UNKNOWN = CAUSES["Unknown"]


def cause_of(diagnosis: str) -> Cause:
    """What is known of a diagnosis; `Unknown` for one that is none of these."""
    return CAUSES.get(diagnosis, UNKNOWN)


@dataclass(frozen=True, slots=True)
class Ending:
    """All that is known of an end nobody asked for."""

    exit: Exit
    log_tail: str
    phase: Literal["Starting", "Ready"]
    """Whether it had ever been Ready."""
    spec: ServerSpec | None = None
    """What it was started with, a fallback step's settings included; None where that is not known."""
    model_missing: bool = False
    """The model's file was seen to be missing."""
    model_changed: bool | None = None
    """Whether a file that it uses was written since its start; None: not looked at."""
    may_not_listen: bool = False
    """Its user may not listen on its port, whoever else does."""
    killed_for_memory: str | None = None
    """The kernel's evidence that memory ran out and it was killed for it; empty: there is none; None: not readable."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The named cause of an end, with the lines that show it."""

    cause: str
    evidence: tuple[str, ...] = ()
    """At most three lines, the most telling one first; each without control characters, at most 300 long."""
