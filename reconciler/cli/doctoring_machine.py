"""Checks of `doctor`: what this machine has, and what it lets a process have."""

import ctypes
import errno
import os
import platform
import resource
import shlex
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from reconciler.cli.doctoring import Finding, Findings, fail, ok, warn
from reconciler.cli.doctoring_folders import files_of
from reconciler.cli.doctoring_scene import Scene
from reconciler.cli.models import in_bytes
from reconciler.cli.output import plural
from reconciler.cli.version import version_number

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
SQLITE = (3, 37)
"""The first that has strict tables."""
UNLIMITED = 1 << 60
"""Bytes from which on a control group's limit is none: version 1 writes a number where there is none."""
_MODIFIED = 0x2
"""IN_MODIFY (inotify(7))."""
FEWEST_FILES = 1024
"""Open files that a controller and its probes get along with."""


# ---------------------------------------------------------------- Python


def python(scene: Scene) -> Findings:
    """Python, and all packages that are needed."""
    del scene
    missing = [name for name in _needed() if not _is_installed(name)]
    if missing:
        install = shlex.join([sys.executable or "python3", "-m", "pip", "install", *missing])
        yield fail(f"packages are missing: {', '.join(missing)}", f"install them: {install}")
    if sqlite3.sqlite_version_info < SQLITE:
        needed = ".".join(map(str, SQLITE))
        message = f"Python's SQLite is {sqlite3.sqlite_version}, and the database needs {needed}"
        yield fail(message, "run it with a newer Python, as of: sudo apt-get install python3 python3-venv")
    ours = f"version {version_number()} on Python {platform.python_version()}"
    yield ok(f"{ours}, SQLite {sqlite3.sqlite_version}, {platform.system()} {platform.release()}")


def _needed() -> Iterator[str]:
    with suppress(metadata.PackageNotFoundError):
        for line in metadata.requires("reconciler") or ():
            if "extra ==" not in line:
                yield line.split(";")[0].strip().partition(" ")[0].split("<")[0].split(">")[0].split("=")[0]


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


# ---------------------------------------------------------------- memory


def memory(scene: Scene) -> Findings:
    """Whether the models of all servers that are to run would fit."""
    total, free, swap = _memory()
    group = group_limit()
    room = min(total, group or total)
    needed = _needed_by(scene)
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        message = f"processes begun here may take {in_bytes(soft)} of memory at most, and models are mapped whole"
        yield warn(message, "lift that before the controller is run: ulimit -v unlimited")
    if needed > room and not _has_gpu():
        whose = "this machine" if room == total else "the control group of this process"
        message = f"the models of all servers that are to run take {in_bytes(needed)}, and {whose} has {in_bytes(room)}"
        yield warn(
            message, f"take smaller quantizations, or have fewer run at once (a profile): {scene.command('models')}"
        )
    if (left := _may_be_promised()) is not None and left < needed:
        message = f"the kernel promises {in_bytes(left)} more and no byte besides (vm.overcommit_memory is 2)"
        yield warn(message, "have it promise as it usually does: sudo sysctl vm.overcommit_memory=0")
    told = f", limited to {in_bytes(group)} by its control group" if group and group < total else ""
    swapped = f"{in_bytes(swap)} of swap" if swap else "no swap"
    yield ok(f"{in_bytes(total)}{told}, {in_bytes(free)} free, {swapped}; models take {in_bytes(needed)}")


def _memory() -> tuple[int, int, int]:
    """Bytes in all, bytes that are free, and bytes of swap."""
    facts = _meminfo()
    if "MemTotal" in facts:
        return facts["MemTotal"], facts.get("MemAvailable", facts["MemFree"]), facts.get("SwapTotal", 0)
    import psutil  # noqa: PLC0415 - where there is no /proc

    found = psutil.virtual_memory()
    return found.total, found.available, psutil.swap_memory().total


def _meminfo() -> Mapping[str, int]:
    with suppress(OSError, ValueError):
        lines = [line.split() for line in (PROC / "meminfo").read_text().splitlines()]
        return {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines if len(line) == 3}
    return {}


def group_limit() -> int | None:
    """Bytes of memory that this process's control group, and those above it, may take; None: as much as there is."""
    limits = []
    with suppress(OSError):
        for line in (PROC / "self/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds and "memory" not in kinds.split(","):
                continue
            base, name = (CGROUPS / "memory", "memory.limit_in_bytes") if kinds else (CGROUPS, "memory.max")
            here = Path(path.lstrip("/"))
            limits += [limit for one in (here, *here.parents) if (limit := _limit(base / one / name)) is not None]
    return min(limits, default=None)


def _limit(file: Path) -> int | None:
    with suppress(OSError, ValueError):
        return found if (found := int(file.read_text())) < UNLIMITED else None
    return None


def _needed_by(scene: Scene) -> int:
    """Bytes of the models' files; one that several servers use is in memory once."""
    found = {}
    for server in scene.servers:
        for path in files_of(server.spec, scene.models) if server.is_to_run else ():
            with suppress(OSError):
                there = path.stat()
                found[there.st_dev, there.st_ino] = there.st_size
    return sum(found.values())


def _may_be_promised() -> int | None:
    """Bytes of memory that processes may still ask for, where the kernel counts them (vm.overcommit_memory = 2)."""
    with suppress(OSError, ValueError, KeyError):
        if int((PROC / "sys/vm/overcommit_memory").read_text()) == 2:
            facts = _meminfo()
            return max(0, facts["CommitLimit"] - facts["Committed_AS"])
    return None


def _has_gpu() -> bool:
    from reconciler.cli.doctoring_binary import nodes  # noqa: PLC0415 - it is asked for seldom

    return bool(nodes())


# ---------------------------------------------------------------- limits


def limits(scene: Scene) -> Findings:
    """Open files, inotify, processes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = float("inf") if hard == resource.RLIM_INFINITY else hard
    wanted = min(scene.settings.open_files, 65536)
    if most < max(wanted, FEWEST_FILES):
        message = f"processes begun here may have {hard} files open, and servers are to have {wanted}"
        yield warn(message, f"raise LimitNOFILE of the service, or before the controller is run: ulimit -n {wanted}")
    yield from _inotify(Path(scene.settings.manifests))
    count = len([server for server in scene.servers if server.is_to_run])
    yield from _processes(count)
    files = "any number of" if most == float("inf") else f"{hard}"
    yield ok(f"{files} open files ({soft} at first), {_processes_told()}; for {plural(count, 'server')}")


def _inotify(folder: Path) -> Findings:
    """Whether one more program may watch files: manifests are watched that way."""
    if platform.system() != "Linux":
        return
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = library.inotify_init1(os.O_CLOEXEC)
    if descriptor < 0:
        if ctypes.get_errno() == errno.EMFILE:
            yield _scarce("instance", "max_user_instances", 512)
        return
    try:
        watched = library.inotify_add_watch(descriptor, os.fsencode(folder), _MODIFIED)
        if watched < 0 and ctypes.get_errno() == errno.ENOSPC:
            yield _scarce("watch", "max_user_watches", 524288)
    finally:
        os.close(descriptor)


def _scarce(what: str, setting: str, usual: int) -> Finding:
    most = int((PROC / "sys/fs/inotify" / setting).read_text())
    message = f"this user has no inotify {what} left (of {most}): changed manifests are seen only at each tick"
    return warn(message, f"allow more: sudo sysctl fs.inotify.{setting}={max(usual, 4 * most)}")


def _processes(servers: int) -> Findings:
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    # A llama-server has some threads for each core, and those count as processes.
    needed = servers * ((os.cpu_count() or 1) * 2 + 16)
    if soft != resource.RLIM_INFINITY and soft < needed and os.geteuid() != 0:
        message = (
            f"this user may have {soft} processes and threads, and {plural(servers, 'server')} take about {needed}"
        )
        yield warn(message, f"raise LimitNPROC of the service, or before the controller is run: ulimit -u {needed * 2}")


def _processes_told() -> str:
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    return "any number of processes" if soft == resource.RLIM_INFINITY else f"{soft} processes"
