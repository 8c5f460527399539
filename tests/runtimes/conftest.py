"""Real processes for the runtime's tests, looked at through both hosts: the portable one stands for macOS."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

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


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts processes in sessions of their own; with the session ends all that is in it."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*argv: str, **environ: str) -> "subprocess.Popen[bytes]":
        env = {"PATH": os.environ["PATH"], **environ}
        child = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, start_new_session=True)
        started.append(child)
        return child

    yield start
    for child in started:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
