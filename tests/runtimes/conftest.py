"""Real processes for the runtime's tests, looked at through both hosts: the portable one stands for macOS."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.runtimes.host import Host, choose_host

Spawn = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(params=["auto", "portable"])
def host(request: pytest.FixtureRequest) -> Host:
    """Each of the hosts that can work here."""
    return choose_host(request.param)


@pytest.fixture
def linux() -> Host:
    """The host with /proc and pidfd."""
    if sys.platform != "linux":
        pytest.skip("needs /proc and pidfd")
    return choose_host()


def _wait_for_environment(pid: int) -> None:
    """A program has begun for whoever started it a moment before its environment can be read (proc(5))."""
    path, until = Path(f"/proc/{pid}/environ"), time.monotonic() + 10
    with suppress(OSError):  # elsewhere than on Linux; or it has ended already
        while not path.read_bytes() and time.monotonic() < until:
            time.sleep(0.001)


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts processes in sessions of their own; with the session ends all that is in it."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*argv: str, **environ: str) -> "subprocess.Popen[bytes]":
        env = {"PATH": os.environ["PATH"], **environ}
        child = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, start_new_session=True)
        started.append(child)
        _wait_for_environment(child.pid)
        return child

    yield start
    for child in started:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
