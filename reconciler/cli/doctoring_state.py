"""Checks of `doctor`: the state folder, and the database in it."""

import os
import shlex
import stat
from pathlib import Path

from reconciler import installation
from reconciler.cli.doctoring import Findings, advised, fail, ok, warn
from reconciler.cli.doctoring_scene import Scene, opened
from reconciler.cli.models import in_bytes
from reconciler.runtimes.mounts import is_over_network, mount_of
from reconciler.store import read, trouble

LITTLE = 256_000_000
"""Bytes of disk below which logs soon fill it."""
MOST_LOG = 256 * 1024 * 1024
"""Bytes of a write-ahead log that somebody keeps from being taken in."""
OTHERS_WRITE = 0o022


def folder(scene: Scene) -> Findings:
    """The state folder: there, ours, on a disk of this machine with room on it."""
    state, quoted = scene.state, shlex.quote(str(scene.state))
    if not state.is_dir():
        yield from _to_be_made(state)
        return
    if found := trouble.foreseen(state / read.DATABASE):
        yield advised("fail", found.why, f"see what is there: ls -la {quoted}")
        return
    kind = mount_of(state)
    if is_over_network(kind):
        message = f"{state} is on a network's disk ({kind}): a database there is damaged when the network fails"
        yield warn(
            message, 'name one on a disk of this machine: state = "/var/lib/reconciler/state" in reconciler.toml'
        )
    yield from _others(state)
    free = _free(state)
    if free < LITTLE:
        yield warn(f"the disk of {state} has {in_bytes(free)} left", f"make room there: df -h {quoted}")
    gone = ", gone after a reboot" if kind in ("tmpfs", "ramfs") else ""
    yield ok(f"{state}, {in_bytes(free)} free{f' ({kind}{gone})' if kind else ''}{_socket(state)}")


def _to_be_made(state: Path) -> Findings:
    above = next(path for path in state.parents if os.path.lexists(path))
    if os.path.lexists(state) or not above.is_dir():
        what = state if os.path.lexists(state) else above
        away = f"move it away: mv {shlex.quote(str(what))} {shlex.quote(str(what))}.old"
        yield fail(f"{what} is in the place of the state folder, and is no folder", away)
    elif not os.access(above, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        make = f"make it for this user: sudo install -d -m 700 -o {os.geteuid()} {shlex.quote(str(state))}"
        yield fail(f"{state} is not there, and this user may not make it in {above}", make)
    else:
        yield ok(f"{state} is not there yet: the first run makes it")


def _others(state: Path) -> Findings:
    """Who else may put a database there; in a sticky folder others cannot replace ours."""
    found, quoted = state.stat(), shlex.quote(str(state))
    if found.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
        yield warn(
            f"{state} is another user's (uid {found.st_uid})", f"have that one run it, or take it: ls -ld {quoted}"
        )
    if found.st_mode & OTHERS_WRITE and not found.st_mode & stat.S_ISVTX:
        yield warn(f"others than its owner may write {state}", f"keep them out: chmod go-w {quoted}")


def _free(state: Path) -> int:
    found = os.statvfs(state)
    return found.f_bavail * found.f_frsize


def _socket(state: Path) -> str:
    """Where the controller listens, if that is not in the folder."""
    path = installation.socket_path(state)
    if isinstance(path, str):
        return ", with an abstract socket: the path is too long for one of its own"
    return "" if path.parent == Path(os.path.realpath(state)) else f", with its socket at {path}"


# ---------------------------------------------------------------- the database


def database(scene: Scene) -> Findings:
    """The database: whole, of a version that can be read, and taken in from its log."""
    path = scene.state / read.DATABASE
    if not os.path.lexists(path):
        if scene.is_running:
            yield fail(
                f"{path} is gone, and its controller runs", "it makes it anew within a tick; see: reconciler get events"
            )
        else:
            yield ok("none yet: the first run makes it")
        return
    anew = f"have it made anew of what can be read: {scene.command('run')}"
    try:
        with opened(scene.state) as db:
            read.meta(db)
            found = "; ".join(row[0] for row in db.execute("pragma quick_check(1)"))
    except read.ReadError as error:
        yield advised("fail", str(error), anew)
        return
    if found != "ok":
        yield fail(f"{path} is damaged ({' '.join(found.split())})", anew)
        return
    yield from _log(path)
    yield ok(f"{path.name} is whole, {in_bytes(path.stat().st_size)}")


def _log(path: Path) -> Findings:
    log = Path(f"{path}-wal")
    size = log.stat().st_size if log.exists() else 0
    if size > MOST_LOG:
        message = f"{log.name} has grown to {in_bytes(size)}: a program that reads keeps it from being taken in"
        yield warn(message, f"see which, and end it: fuser -v {shlex.quote(str(path))}")
