"""A server's helpers die with it, and before the next one starts."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from tests.e2e.installation import Installation

pytestmark = pytest.mark.real
LONG = f"7654.{os.getpid()}"
"""Seconds that a helper sleeps, and what it is known by when it bears no mark."""
HELPERS = {
    "in its session": f"sleep {LONG} &",
    "in its session, without the mark": f"env -i /bin/sleep {LONG} &",
    "in a session of its own": f"setsid sleep {LONG} &",
}
HOLDER = f"import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep({LONG})"


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """After all else: helpers without a mark are nobody's to find."""
    yield
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if LONG in " ".join(process.cmdline()):
                process.kill()


def wrapper(installation: Installation, script: str) -> str:
    """A program that begins helpers, and becomes llama-server; the settings allow it."""
    path = installation.root / "wrapped-llama-server"
    server = f'exec {installation.environ["LLAMA_SERVER"]} "$@"'
    path.write_text(f'#!/bin/sh\n[ "$1" = --help ] && {server}\n{script}\n{server}\n')
    path.chmod(0o755)
    settings = installation.root / "reconciler.toml"
    settings.write_text(f'binaries = ["{path}"]\n{settings.read_text()}')
    return str(path)


def children(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children() if LONG in " ".join(child.cmdline())]


def spawned(installation: Installation) -> int:
    """The pid of the server, when it is recorded."""
    installation.wait_for("the spawn", lambda: any(row["identity"] for row in installation.instances("chat")))
    return int(installation.instances("chat")[0]["identity"]["pid"])


def ready(installation: Installation) -> int:
    """The pid of the server, when it is Ready; beside it there are others with its mark."""
    installation.wait_phase("chat", "Ready")
    return spawned(installation)


def runs(pid: int) -> bool:
    with suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize("kind", HELPERS)
@pytest.mark.parametrize("how", ["crash", "stop", "crash while no controller runs"])
def test_they_are_gone_before_the_next_one_starts(installation: Installation, kind: str, how: str) -> None:
    if "without" in kind and (installation.is_portable or "no controller" in how):
        pytest.skip("nothing is left by which it could be known")
    installation.declare("chat", binary=wrapper(installation, HELPERS[kind]))
    installation.start()
    leader = ready(installation)
    installation.wait_for("the helper", lambda: children(leader))
    helpers = children(leader)
    installation.reconcile()
    if how == "stop":
        installation.cli("stop", "chat", "--wait")
        installation.wait_phase("chat", "Stopped")
    elif how == "crash":
        os.kill(leader, signal.SIGKILL)
        installation.wait_for("another", lambda: len(installation.instances("chat")) == 2)
    else:
        installation.end(signal.SIGKILL)
        os.kill(leader, signal.SIGKILL)
        installation.start()
        installation.wait_for("another", lambda: len(installation.instances("chat")) == 2)
    assert [pid for pid in helpers if runs(pid)] == []
    assert [reason for reason, _ in installation.events("chat") if reason in ("Adopted", "Superfluous")] == []


def test_without_the_database_a_helper_is_not_taken_for_the_server(installation: Installation) -> None:
    installation.declare("chat", binary=wrapper(installation, HELPERS["in a session of its own"]))
    installation.start()
    leader = ready(installation)
    installation.wait_for("the helper", lambda: children(leader))
    (helper,) = children(leader)
    installation.end(signal.SIGKILL)
    os.kill(leader, signal.SIGKILL)
    for path in installation.state.glob("state.db*"):
        path.unlink()
    installation.start()
    installation.wait_phase("chat", "Ready")
    assert not runs(helper)
    assert [row["trigger"] for row in installation.instances("chat")] == ["Created"]
    assert f"pid {helper} (sleep)" in dict(installation.events("chat"))["Swept"]


def test_a_helper_that_has_the_port_gives_it_back(installation: Installation) -> None:
    port = installation.ports.start
    # The program itself never listens: only what it leaves behind does.
    script = f'setsid {sys.executable} -c "{HOLDER}" {port} &\nexec sleep 7653'
    installation.declare("chat", binary=wrapper(installation, script), port=port)
    installation.start()
    leader = spawned(installation)
    installation.wait_for("the holder", lambda: children(leader))
    helpers = children(leader)
    os.kill(leader, signal.SIGKILL)
    installation.wait_for("another", lambda: len(installation.instances("chat")) == 2)
    assert not runs(helpers[0])
    assert "PortInUse" not in {reason for reason, _ in installation.events("chat")}


def test_a_helper_of_a_server_that_runs_is_let_be(installation: Installation) -> None:
    installation.declare("chat", binary=wrapper(installation, "\n".join(HELPERS.values())))
    installation.start()
    leader = ready(installation)
    installation.wait_for("the helpers", lambda: len(children(leader)) == len(HELPERS))
    helpers = children(leader)
    installation.reconcile()
    installation.end(signal.SIGKILL)
    installation.start()
    installation.wait_for("a controller", installation.is_controlled)
    installation.reconcile()
    assert all(runs(pid) for pid in helpers)
    assert installation.phases() == {"chat": "Ready"}
    assert len(installation.instances("chat")) == 1
    assert runs(leader)
