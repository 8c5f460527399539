"""Which installation has taken over a process that bears no mark of it.

It is written beside the processes, where all installations of a user look, and counts as long as the process lives and
the installation is in its folder, whether or not a controller runs.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from reconciler.core.model import Identity
from reconciler.runtimes.homes import is_at_home

PLACES = ("/dev/shm", "/tmp")  # noqa: S108 - a folder of our own is made there, and looked at before it is used
"""Where every process of a user finds the same folder, whatever its environment says; the first that can be used."""
MOST_BYTES = 10_000


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has taken a process over."""

    installation: str
    folder: str
    server: str


class Holdings:
    """What this installation, and others of the user, have taken over."""

    def __init__(self, installation: str, folder: str) -> None:
        self._installation = installation
        self._folder = folder

    def other(self, identity: Identity) -> Holder | None:
        """The other installation that has this process, if one has."""
        place = _place(make=False)
        holder = _read(place, identity) if place else None
        if holder is None or holder.installation == self._installation:
            return None
        return holder if is_at_home(holder.installation, holder.folder) else None

    def hold(self, identity: Identity, server: str) -> bool:
        """Have a process; False when another installation has it. Where that cannot be written, it is not asked."""
        try:
            place = _place(make=True)
            if place is None:
                return True
            with _locked(place):
                if self.other(identity) is not None:
                    return False
                ours = Holder(self._installation, self._folder, server)
                if _read(place, identity) != ours:
                    _sweep(place)
                    draft = place / f".{os.getpid()}"
                    draft.write_text(f"{identity.boot}\n{ours.installation}\n{ours.folder}\n{ours.server}")
                    draft.replace(place / _name(identity))
        except BlockingIOError:
            return False  # another one is about to take something: ask again
        except (OSError, ValueError):
            return True
        return True


def _place(*, make: bool) -> Path | None:
    for base in PLACES:
        place = Path(base, f"reconciler-{os.geteuid()}")
        with suppress(OSError):
            if make:
                place.mkdir(mode=0o700, exist_ok=True)
            found = place.lstat()
            # Anybody may make a folder of that name there first: theirs is not believed.
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
                return place
    return None


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Raises BlockingIOError when another controller is at it."""
    lock = os.open(place / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def _name(identity: Identity) -> str:
    return f"{identity.pid}-{identity.start_ticks}"


def _read(place: Path, identity: Identity) -> Holder | None:
    try:
        with (place / _name(identity)).open("rb") as file:
            lines = file.read(MOST_BYTES).decode("utf-8", "surrogateescape").split("\n")
    except OSError:
        return None
    if len(lines) != 4 or lines[0] != identity.boot:
        return None
    return Holder(*lines[1:])


def _sweep(place: Path) -> None:
    """Drop what was told of processes that are gone."""
    for file in place.iterdir():
        pid = file.name.partition("-")[0]
        with suppress(OSError):
            if pid.isdecimal() and not _lives(int(pid)):
                file.unlink()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
