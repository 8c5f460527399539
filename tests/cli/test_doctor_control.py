"""The checks of `doctor` of the controller, the clock and the Git source, each seen failing."""

import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.installation import socket_path
from tests.cli.conftest import Call
from tests.cli.doctoring import be_patient, declare, program, worst
from tests.cli.filling import BOOT, Filling


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


@contextmanager
def answering(state: Path, **told: object) -> Iterator[None]:
    """A controller that says so of itself."""
    body = json.dumps({"pid": os.getpid(), "passes": 3, "conditions": [], **told}).encode()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + body)

    with socketserver.ThreadingUnixStreamServer(str(socket_path(state)), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield
        server.shutdown()


def test_controllers(filling: Filling, call: Call) -> None:
    with answering(filling.state, version="0.0.1"):
        assert "is version 0.0.1, and this is" in worst(call, "controller")[1]
    why = {"type": "StateWritable", "status": "False", "reason": "StateUnwritable", "message": "it is full; df -h"}
    (filling.state / "controller.sock").unlink()
    with answering(filling.state, version="0.0.1", conditions=[why]):
        assert worst(call, "controller") == ("fail", "it is full", "df -h")


HOLDER = """
import fcntl, os, socket, sys
if "lock" in sys.argv:
    fcntl.flock(lock := open("state/lock", "w"), fcntl.LOCK_EX)
listener = socket.socket(socket.AF_UNIX)
if "listen" in sys.argv:
    listener.bind("state/controller.sock"), listener.listen()
if "user" in sys.argv:
    os.setuid(54321)
print("up", flush=True)
input()
"""


@pytest.mark.parametrize(
    ("does", "number", "expected"),
    [
        ("lock", 0, ("warn", "has the state folder, and nobody answers there")),
        ("lock listen", signal.SIGSTOP, ("fail", "was stopped by a signal")),
        ("lock listen", 0, ("fail", "does not answer")),
        ("listen", 0, ("fail", "somebody has its socket and does not answer")),
    ],
)
def test_a_controller_that_does_not_answer(
    filling: Filling, call: Call, does: str, number: int, expected: tuple[str, str]
) -> None:
    with holding(filling.state.parent, does) as holder:
        if number:
            holder.send_signal(number)
        status, message, remedy = worst(call, "controller")
    assert (status, expected[1] in message) == (expected[0], True), message
    assert "lock" not in does or str(holder.pid) in message + remedy


@contextmanager
def holding(root: Path, does: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has the lock, listens, or is another user's."""
    argv = [sys.executable, "-c", HOLDER, *does.split()]
    with subprocess.Popen(argv, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield holder
        holder.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_controller_of_another_user(filling: Filling, call: Call) -> None:
    with holding(filling.state.parent, "lock user"):
        status, message, remedy = worst(call, "permissions")
    assert (status, remedy) == ("warn", "look as that one: sudo -u '#54321' reconciler doctor")
    assert message.startswith("you are root, and the controller is 54321")


@pytest.mark.parametrize(("told", "status"), [("no", "warn"), ("yes", "ok")])
def test_a_clock_that_nobody_sets(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch, told: str, status: str
) -> None:
    (root / "bin").mkdir()
    program(root / "bin" / "timedatectl", f"echo {told}")
    monkeypatch.setenv("PATH", f"{root}/bin:{os.environ['PATH']}")
    found = worst(call, "clock")
    assert (found[0], "by the network" in found[1]) == (status, True)


def test_a_clock_that_was_set(filling: Filling, root: Path, call: Call) -> None:
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    since = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    for late, words in ((0, ""), (7200, "set forward by 2h"), (-7200, "set back by 2h")):
        about = {"boot": BOOT, "startTicks": ticks, "startedAt": time.time() - since - late}
        filling.meta("controller", json.dumps(about))
        status, message, _ = worst(call, "clock")
        assert (status, words in message) == ("warn" if late else "ok", True), message
    filling.meta("controller", "{}")
    file = declare(root, "chat")
    os.utime(file, (time.time() + 9000, time.time() + 9000))
    assert f"{file} is dated 2h" in worst(call, "clock")[1]


# ---------------------------------------------------------------- the Git source


def test_sources(root: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", "-b", "main", str(root / "repo")], check=True)
    url = f"file://{root}/repo"
    (root / "reconciler.toml").write_text(f'[source.git]\nurl = "{url}"\n')
    assert worst(call, "source")[0] == "ok"
    assert "has no branch 'main'" in worst(call, "source", "--network")[1]
    (root / "reconciler.toml").write_text(
        '[source.git]\nurl = "https://git.example/x"\nauth = {token_file = "token"}\n'
    )
    assert "the token cannot be read" in worst(call, "source")[1]
    (root / "token").write_text("ghp_secret\n")
    (root / "token").chmod(0o640)
    assert worst(call, "source")[:2] == ("warn", f"the token in {root}/token can be read or written by others")
    assert "ghp_secret" not in call("doctor").out
    monkeypatch.setenv("PATH", str(root))
    assert worst(call, "source")[1] == "https://git.example/x is to be followed, and there is no git"


def test_a_source_that_failed_before(filling: Filling, root: Path, call: Call) -> None:
    (root / "reconciler.toml").write_text('[source.git]\nurl = "https://git.example/fleet.git"\n')
    filling.source(error="the remote hung up", reason="RemoteUnreachable")
    assert "failed: the remote hung up" in worst(call, "source")[1]
