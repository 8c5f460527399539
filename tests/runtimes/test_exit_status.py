"""How a process that is not our child ended: what the kernel tells of it, and never anything else."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.core.model import Exit, Identity, Process
from reconciler.runtimes import tracked
from reconciler.runtimes.exit_status import exit_of
from reconciler.runtimes.host import FINGERPRINT, INSTALLATION, PORT, SERVER, UID, Host
from reconciler.runtimes.local import LocalRuntime
from reconciler.runtimes.logs import Logs
from tests.runtimes.patience import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs pidfd")
PARENT = """
import subprocess, sys
child = subprocess.Popen(["/bin/sh", "-c", "read go; " + sys.argv[1]], stdin=subprocess.PIPE, start_new_session=True)
print(child.pid, flush=True)
sys.stdin.readline()
child.stdin.close()
sys.stdin.readline()
child.wait()
print("reaped", flush=True)
sys.stdin.readline()
"""
"""A parent that lets its child end, and reaps it, when told to."""


def kernel_tells() -> bool:
    """Whether this kernel keeps the exit status for the holders of a pidfd."""
    child = subprocess.Popen(["/bin/true"])
    fd = os.pidfd_open(child.pid)
    try:
        child.wait()
        return exit_of(fd) == Exit(code=0)
    finally:
        os.close(fd)


class Stepparent:
    """Somebody else's child that bears our mark."""

    def __init__(self, installation: str, script: str) -> None:
        marks = {INSTALLATION: installation, SERVER: "chat", UID: "u1", FINGERPRINT: "1:abc", PORT: "8001"}
        argv = (sys.executable, "-c", PARENT, script)
        self._process = subprocess.Popen(
            argv, env={**os.environ, **marks}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=False
        )
        assert self._process.stdout is not None
        self.pid = int(self._process.stdout.readline())

    def _tell(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def let_end(self) -> None:
        """The child ends, and stays a zombie."""
        self._tell()
        eventually(lambda: Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")

    def reap(self) -> None:
        self._tell()
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


Begin = Callable[[str], Stepparent]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    begun: list[Stepparent] = []

    def start(script: str) -> Stepparent:
        begun.append(Stepparent(tmp_path.name, script))
        return begun[-1]

    yield start
    for one in begun:
        one.close()


@pytest.fixture
def runtime(linux: Host, tmp_path: Path) -> Iterator[LocalRuntime]:
    one = LocalRuntime(linux, tmp_path.name, Logs(tmp_path / "logs", keep=1, most_bytes=1), lambda: None)
    yield one
    one.close()


def adopted(runtime: LocalRuntime, pid: int) -> Process:
    """The child, among those that were found by their marks (its parent bears one too)."""
    found = eventually(lambda: [p for p in runtime.observe(fresh=True).get("chat", ()) if p.identity.pid == pid])
    return found[0]


def the(runtime: LocalRuntime, identity: Identity, *, fresh: bool = False) -> Process:
    return next(p for p in runtime.observe(fresh=fresh)["chat"] if p.identity == identity)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 0", Exit(code=0)),
        ("exit 7", Exit(code=7)),
        ("kill -ABRT $$", Exit(signal=signal.SIGABRT)),
        ("kill -KILL $$", Exit(signal=signal.SIGKILL)),
    ],
)
def test_the_end_of_an_adopted_one_is_known_once_it_is_reaped(
    runtime: LocalRuntime, begin: Begin, script: str, expected: Exit
) -> None:
    if not kernel_tells():
        pytest.skip("this kernel does not keep exit statuses for others (Linux 6.15 does)")
    child = begin(script)
    identity = adopted(runtime, child.pid).identity
    child.let_end()
    runtime.observe(fresh=True)
    child.reap()
    eventually(lambda: not the(runtime, identity).alive)
    assert the(runtime, identity).exit == expected


def test_of_a_zombie_that_nobody_reaps_it_stays_unknown(runtime: LocalRuntime, begin: Begin) -> None:
    child = begin("exit 7")
    identity = adopted(runtime, child.pid).identity
    child.let_end()
    began = time.monotonic()
    eventually(lambda: not the(runtime, identity, fresh=True).alive)
    assert the(runtime, identity).exit == Exit()
    assert time.monotonic() - began >= (tracked.PATIENCE if kernel_tells() else 0.0)


def test_a_kernel_that_does_not_tell_is_asked_once(
    runtime: LocalRuntime, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def refuse(*_: object) -> int:
        asked.append(1)
        raise OSError(25, "Inappropriate ioctl for device")

    monkeypatch.setattr("fcntl.ioctl", refuse)
    child = begin("exit 7")
    identity = adopted(runtime, child.pid).identity
    child.let_end()
    runtime.observe(fresh=True)
    assert (the(runtime, identity).alive, the(runtime, identity).exit, len(asked)) == (False, Exit(), 1)


@pytest.mark.anyio
async def test_it_is_asked_for_by_a_timer_that_grows_slower(linux: Host, begin: Begin, tmp_path: Path) -> None:
    if not kernel_tells():
        pytest.skip("this kernel does not keep exit statuses for others (Linux 6.15 does)")
    woken: list[float] = []
    over = asyncio.Event()
    identity: Identity | None = None

    def look() -> None:
        woken.append(time.monotonic())
        assert identity is not None
        if not the(one, identity).alive:
            over.set()

    one = LocalRuntime(linux, tmp_path.name, Logs(tmp_path / "logs", keep=1, most_bytes=1), look)
    child = begin("exit 7")
    identity = adopted(one, child.pid).identity
    child.let_end()
    await asyncio.wait_for(over.wait(), 20)
    assert 3 <= len(woken) <= 12
    one.close()


def test_a_process_that_runs_has_no_exit_yet(linux: Host, begin: Begin) -> None:
    child = begin("exit 7")
    identity = linux.identify(child.pid)
    assert identity is not None
    watch = linux.watch(identity, lambda: None)
    assert watch is not None
    assert watch.exit() in ((None,) if kernel_tells() else (None, Exit()))
    watch.close()
