"""What the runtime needs to know from the operating system, in one small interface with two ways to answer it."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

from reconciler.core.model import Exit, Identity
from reconciler.core.observed import Listener

INSTALLATION = "RECONCILER_INSTALLATION"
SERVER = "RECONCILER_SERVER"
UID = "RECONCILER_UID"
FINGERPRINT = "RECONCILER_FINGERPRINT"
PORT = "RECONCILER_PORT"
STEP = "RECONCILER_STEP"
CHANGES = "RECONCILER_CHANGES"
FOLDER = "RECONCILER_FOLDER"
MARKS = (INSTALLATION, FOLDER, SERVER, UID, FINGERPRINT, PORT, STEP, CHANGES)
"""The environment variables by which a process is known without the database."""
_HIDDEN = " cpu"
"""Stands behind the number of a step from which the GPUs are hidden."""
_DIGITS = 4
MOST_CHANGES = 8192
"""Characters of the mark CHANGES: a step that cannot be told in so many is told by its number alone."""


class ResourceError(OSError):
    """The machine had no room for it: no descriptor, process, memory or disk. Nothing was done, and nobody failed."""

    reason = "ResourcesExhausted"

    def __str__(self) -> str:
        return str(self.strerror)


class LogUnwritableError(ResourceError):
    """Something is in the way of a server's log. Nothing was done, and the server has not failed."""

    reason = "LogUnwritable"


@dataclass(frozen=True, slots=True)
class Marked:
    """A live process that bears an installation's mark."""

    identity: Identity
    leader: bool
    """It leads its session."""
    server: str
    uid: str
    fingerprint: str
    port: int
    folder: str = ""
    """The real path of its installation's state folder, as it knows it; empty for those of earlier versions."""
    step: int = 0
    """The fallback step that it was started on."""
    hides_gpus: bool = False
    """The GPUs were hidden from it."""
    step_told: str = ""
    """That step in a few words."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """The fields of the spec in which it differs, as far as that is told."""


def step_mark(step: int, *, hides_gpus: bool) -> str:
    """What the mark STEP says of an instance."""
    return f"{step}{_HIDDEN if hides_gpus else ''}"


def read_step_mark(mark: str) -> tuple[int, bool]:
    """The step, and whether the GPUs are hidden. As asked for where the mark is none of ours."""
    number = mark.removesuffix(_HIDDEN)
    is_step = number.isascii() and number.isdigit() and len(number) <= _DIGITS
    return (int(number), number != mark) if is_step else (0, False)


def changes_mark(told: str, changes: Mapping[str, Any]) -> str:
    """What the mark CHANGES says of a fallback step: the ladder that it is a step of may be another by tomorrow."""
    mark = json.dumps([told, changes]) if changes else ""
    return mark if len(mark) <= MOST_CHANGES else ""


def read_changes_mark(mark: str) -> tuple[str, Mapping[str, Any]]:
    """A step in a few words, and what it changes. Nothing where the mark is none of ours."""
    try:
        told, changes = json.loads(mark) if 0 < len(mark) <= MOST_CHANGES else ("", {})
    except (ValueError, TypeError, RecursionError):
        return "", {}
    return (told, changes) if isinstance(told, str) and isinstance(changes, dict) else ("", {})


class MarkedStep(TypedDict):
    """What the marks of a process say of its fallback step."""

    step: int
    hides_gpus: bool
    step_told: str
    changes: Mapping[str, Any]


def read_step(marks: Mapping[str, str]) -> MarkedStep:
    """All that the marks of a process say of its fallback step."""
    step, hides_gpus = read_step_mark(marks.get(STEP, ""))
    told, changes = read_changes_mark(marks.get(CHANGES, ""))
    return MarkedStep(step=step, hides_gpus=hides_gpus, step_told=told, changes=changes)


@dataclass(frozen=True, slots=True)
class Progress:
    """Signs of work of a process, both only growing."""

    cpu_seconds: float
    bytes_read: int


class Watch(Protocol):
    """A process that is being watched for its end, and can be signalled without mistaking it for another."""

    def has_ended(self) -> bool:
        """Whether it is gone, or a zombie."""
        ...

    def exit(self) -> Exit | None:
        """How it ended, for others than its parent: `Exit()` where nobody can know, None where it may be told soon."""
        ...

    def signal(self, number: int) -> None:
        """Send a signal; a process that has ended is no error."""
        ...

    def close(self) -> None:
        """Stop watching."""
        ...


class Host(Protocol):
    """The operating system's side of supervising.

    Who cannot look for want of descriptors or memory raises ResourceError: that is never "it is not there".
    """

    boot: str
    polls: bool
    """Ends are only seen by looking."""

    def identify(self, pid: int, *, ended: bool = False) -> Identity | None:
        """The identity of a live process; None when there is none, or, unless `ended`, it is a zombie."""
        ...

    def sessions(self) -> Mapping[int, int]:
        """The session of every process, by its pid; zombies may be among them. Empty where that would cost much."""
        ...

    def marked(self, installation: str, *, fresh: bool) -> Iterable[Marked]:
        """Processes that bear the mark: all when `fresh`, else only pids not seen by the last call."""
        ...

    def watch(self, identity: Identity, on_end: Callable[[], None]) -> Watch | None:
        """Watch a process; None when it is no longer that one. `on_end` may never come: look at `has_ended` too."""
        ...

    def listeners(self, resolve: frozenset[int] = frozenset()) -> tuple[Listener, ...]:
        """Listening TCP sockets; for the ports in `resolve` also whose they are, as far as that can be seen."""
        ...

    def listens(self, pid: int, host: str, port: int) -> bool | None:
        """Whether every socket that can answer on that port is the process's; None: it cannot be told."""
        ...

    def progress(self, pid: int) -> Progress | None:
        """Signs of work; None when it cannot be told, mostly as the process is gone."""
        ...

    def uses_devices(self, pid: int) -> bool | None:
        """Whether it has a device open that may be a GPU, or its like; None when it cannot be told."""
        ...


def choose_host(name: str = "") -> Host:
    """The best host for this machine: `linux` with /proc and pidfd, else `portable` with psutil.

    Raises OSError where processes cannot be supervised at all (Windows).
    """
    if sys.platform == "win32":
        raise OSError("reconciler supervises processes on Linux and macOS; on Windows, run it inside WSL 2")
    if name != "portable" and sys.platform == "linux" and _has_pidfd():
        from reconciler.runtimes.linux import LinuxHost  # noqa: PLC0415 - only where it can work

        return LinuxHost()
    from reconciler.runtimes.portable import PortableHost  # noqa: PLC0415 - psutil is slow to import

    return PortableHost()


def _has_pidfd() -> bool:
    """Some sandboxes forbid the call that the kernel has."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True
