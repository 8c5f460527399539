"""Checks of `doctor`: the settings, the Git source, the controller, and as whom all that runs."""

import os
import pwd
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.cli.doctoring import NETWORK_PATIENCE, Findings, advised, fail, ok, warn
from reconciler.cli.doctoring_program import ask
from reconciler.cli.doctoring_scene import Scene, opened
from reconciler.cli.failure import did_you_mean
from reconciler.cli.output import plural
from reconciler.cli.standing import health
from reconciler.cli.version import version_number
from reconciler.controller.lock import LOCK, read_holder
from reconciler.core.git_settings import GitSource
from reconciler.discovery import PROGRAM
from reconciler.runtimes.bearers import marks_of
from reconciler.runtimes.host import FOLDER, MARKS
from reconciler.settings import ENVIRONMENT, NO_FILE
from reconciler.store import read

LOCKS = Path("/proc/locks")
_VARIABLES = (*ENVIRONMENT, "RECONCILER_DEBUG", "RECONCILER_COMPLETE", *MARKS)
_OTHERS = 0o077
_MOST_TOLD = 5


# ---------------------------------------------------------------- settings


def settings(scene: Scene) -> Findings:
    """The settings file, and the variables that set settings."""
    if scene.problem:
        yield fail(scene.problem, f"correct it there, and look again: {scene.command('doctor')}")
    for name in sorted(scene.environ):
        if name.startswith("RECONCILER_") and name not in _VARIABLES:
            yield warn(f"{name} sets nothing{did_you_mean(name, ENVIRONMENT)}", f"take it away: unset {name}")
    if not scene.problem:
        file = scene.settings.file
        yield ok("no reconciler.toml: all settings are as they come" if file == NO_FILE else file)


# ---------------------------------------------------------------- the Git source


def source(scene: Scene) -> Findings:
    """Git, what a remote asks for, how the last look at it went; with `--network`, the remote itself."""
    followed = scene.settings.source.git
    if followed is None:
        yield ok("no Git repository is followed")
        return
    if shutil.which("git", path=scene.environ.get("PATH", os.defpath)) is None:
        message = f"{followed.url} is to be followed, and there is no git"
        yield fail(message, "install it: sudo apt-get install git, or as your system has it")
        return
    yield from _secret(Path(followed.auth.token_file), "the token") if followed.auth.token_file else ()
    trouble = _remote_trouble(followed, scene)
    if trouble:
        message, _, remedy = trouble.partition(": ")
        yield fail(message, remedy or f"see what git says: git ls-remote {shlex.quote(followed.url)}")
    elif error := _last_error(scene):
        yield warn(f"the last look at {followed.url} failed: {error}", f"look again: {scene.command('sync')}")
    else:
        asked = "reached" if scene.network else "not asked now; do so with --network"
        yield ok(f"{ask(['git', '--version'], scene.environ).last_line}; {followed.where} ({asked})")


def _remote_trouble(followed: GitSource, scene: Scene) -> str:
    """Why the remote cannot be asked, or does not have what is followed."""
    from reconciler.gitops.access import access  # noqa: PLC0415 - few installations have a source
    from reconciler.gitops.cache import Cache  # noqa: PLC0415
    from reconciler.gitops.git import GitError, Remote  # noqa: PLC0415

    auth, seconds = followed.auth, min(followed.timeout, NETWORK_PATIENCE / 2)
    secrets = auth.token_file, auth.username, auth.ssh_key_file, auth.known_hosts_file
    remote = Remote(followed.url, followed.ref, *secrets, timeout=seconds)
    try:
        access(remote)
        if scene.network:
            Cache(scene.state / "git" / "cache", remote, scene.environ).look()
    except GitError as error:
        return str(error)
    return ""


def _last_error(scene: Scene) -> str:
    with suppress(read.ReadError), opened(scene.state) as db:
        for item in read.sources(db):
            if error := item["status"]["lastError"] or "; ".join(item["status"]["problems"]):
                return str(error)
    return ""


# ---------------------------------------------------------------- the controller


def controller(scene: Scene) -> Findings:
    """Whether one runs, answers, is of this version, and can write."""
    holder = _holder(scene)
    if not scene.is_running:
        yield from _not_there(scene, holder)
        return
    try:
        told = health(scene.state)
    except (OSError, ValueError):
        yield from _silent(holder)
        return
    for one in told.get("conditions", ()):
        if one["status"] == "False":
            yield advised("fail", str(one["message"]), f"see what it says: {scene.command('get', 'events')}")
    if told["version"] not in (version_number(), "unknown"):
        message = f"the controller (pid {told['pid']}) is version {told['version']}, and this is {version_number()}"
        yield warn(message, f"end it, the servers go on: kill {told['pid']}; then run this one: {scene.command('run')}")
    yield ok(f"pid {told['pid']}, version {told['version']}, {told['passes']} looks so far")


def _not_there(scene: Scene, holder: int | None) -> Findings:
    if holder is not None:
        message = f"pid {holder} has the state folder, and nobody answers there; it may only be starting"
        yield warn(
            message, f"look again in a moment; if it stays so, end it: kill {holder}; then: {scene.command('run')}"
        )
    elif any(server.is_to_run for server in scene.servers):
        yield warn("none runs: nobody starts what crashes, or sees how servers are", f"run one: {scene.command('run')}")
    else:
        yield ok("none runs, and there is no server to watch")


def _silent(holder: int | None) -> Findings:
    if holder is None:
        yield fail("somebody has its socket and does not answer", "see who: sudo ss -xlp | grep controller.sock")
    elif _state_of(holder) in ("T", "t"):
        yield fail(f"pid {holder} was stopped by a signal, and watches nothing", f"let it go on: kill -CONT {holder}")
    else:
        message = f"pid {holder} does not answer"
        yield fail(
            message, f"see what it waits for: ps -o pid,stat,wchan,args {holder}; or end it: kill -KILL {holder}"
        )


def _holder(scene: Scene) -> int | None:
    """The pid that has the state folder's lock: as the kernel tells, else as it says itself."""
    try:
        lock = (scene.state / LOCK).stat()
        place = f"{os.major(lock.st_dev):02x}:{os.minor(lock.st_dev):02x}:{lock.st_ino}"
        for line in LOCKS.read_text().splitlines():
            fields = line.split()
            if "->" not in fields and fields[1] == "FLOCK" and fields[5] == place:
                return int(fields[4])
    except (OSError, ValueError, IndexError):
        pid = read_holder(scene.state).get("pid")
        return pid if isinstance(pid, int) and _state_of(pid) else None
    return None


def _state_of(pid: int) -> str:
    """Its state as a letter; empty where there is no such process, or it cannot be told."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    return ""


# ---------------------------------------------------------------- as whom


def permissions(scene: Scene) -> Findings:
    """The user, the controller's user, files with secrets, and llama-servers that are not ours."""
    user, holder = _name(os.geteuid()), _holder(scene)
    owner = _owner(holder) if holder is not None else None
    if owner is not None and owner != os.geteuid():
        message = f"you are {user}, and the controller is {_name(owner)}: what is told here holds for you"
        yield warn(message, f"look as that one: sudo -u {_for_sudo(owner)} {scene.command('doctor')}")
    for server in scene.servers:
        for path in _secrets(server.spec, scene.models) if server.is_to_run else ():
            yield from _secret(path, f"a secret of server/{server.name}")
    others = list(_others(scene))
    more = f" and {len(others) - _MOST_TOLD} more" if len(others) > _MOST_TOLD else ""
    told = f"; {plural(len(others), 'llama-server')} of others: pid {', '.join(map(str, others[:_MOST_TOLD]))}{more}"
    rights = ", who may read every file" if os.geteuid() == 0 else ""
    yield ok(f"user {user}{rights}{told if others else ''}")


def _secrets(spec: Mapping[str, Any], models: Path) -> Iterator[Path]:
    named = [
        spec.get("apiKeyFile"),
        *(v.get("fromFile") for v in (spec.get("env") or {}).values() if isinstance(v, dict)),
    ]
    for path in named:
        if path:
            yield Path(os.path.join(models, os.path.expanduser(path)))  # noqa: PTH111, PTH118 - as a launch has it


def _secret(path: Path, what: str) -> Findings:
    """A file that must be there for us, and for nobody else."""
    quoted = shlex.quote(str(path))
    try:
        found = path.stat()
        path.open("rb").close()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        write = f"write it: install -m 600 /dev/stdin {quoted}"
        yield fail(f"{what} cannot be read from {path}: {why}", write if not path.exists() else f"see: ls -la {quoted}")
        return
    if found.st_mode & _OTHERS:
        yield warn(f"{what} in {path} can be read or written by others", f"keep them out: chmod 600 {quoted}")


def _others(scene: Scene) -> Iterator[int]:
    """Programs called llama-server that bear no mark of this state folder."""
    ours = os.path.realpath(scene.state)
    for entry in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            pid = int(entry.parent.name)
            if entry.read_text().startswith(PROGRAM) and marks_of(pid).get(FOLDER) != ours:
                yield pid


def _owner(pid: int) -> int | None:
    """Its effective user (proc(5), status); the folder in /proc is root's for one that has changed its user."""
    with suppress(OSError, StopIteration, ValueError):
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("Uid:")).split()[2])
    return None


def _for_sudo(user: int) -> str:
    name = _name(user)
    return f"'#{name}'" if name.isdecimal() else shlex.quote(name)


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
