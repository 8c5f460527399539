"""`wait` and selections over real servers."""

import os
import signal
import subprocess
import sys

import pytest

from tests.e2e.installation import Installation

pytestmark = pytest.mark.real


def begin(installation: Installation, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "reconciler", "wait", *arguments],
        cwd=installation.root,
        env=installation.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(waiting: subprocess.Popen[str]) -> tuple[int, str]:
    out, _ = waiting.communicate(timeout=60)
    return waiting.returncode, out


def test_ready_removed_and_failed(installation: Installation) -> None:
    installation.declare("chat", labels={"tier": "prod"})
    installation.declare("coder", labels={"tier": "prod"})
    installation.declare("spare", labels={"tier": "dev"}, suspend=True)
    installation.start()
    installation.wait_for("a controller", installation.is_controlled)
    told = installation.cli("wait", "-l", "tier=prod", "--timeout", "30s")
    assert sorted(line.split()[:2] for line in told.splitlines()) == [["chat", "Ready"], ["coder", "Ready"]]
    assert installation.cli("get", "servers", "-l", "tier in (prod)", "--sort-by=-name", "-o", "name").split() == [
        "server/coder",
        "server/chat",
    ]
    told = installation.cli("wait", "spare", "--timeout", "100ms", code=1)
    assert "not Ready within 100ms: spare is Stopped: suspended by its manifest" in told

    waiting = begin(installation, "coder", "--for=delete")
    (installation.manifests / "coder.yaml").unlink()
    code, out = ended(waiting)
    assert (code, out.partition(" in ")[0]) == (0, "coder  gone")
    assert set(installation.pids()) == {"chat"}

    (installation.models / "bad.gguf").write_bytes(b"GGUF" + bytes(64))
    os.utime(installation.models / "bad.gguf", (0, 0))
    waiting = begin(installation, "bad", "--for=create")
    installation.declare("bad", model="bad.gguf", restart={"maxRestarts": 0})
    assert ended(waiting)[0] == 0
    assert ended(begin(installation, "bad", "--for=phase=Failed", "--timeout", "20s"))[0] == 0


def test_it_goes_on_over_another_controller(installation: Installation) -> None:
    installation.declare("chat")
    installation.start()
    before = installation.wait_ready("chat")
    installation.end(signal.SIGKILL)
    os.kill(before["chat"], signal.SIGKILL)
    waiting = begin(installation, "chat", "--timeout", "40s")
    installation.stays(lambda: waiting.poll() is None, 1.0)
    installation.start()
    assert ended(waiting)[0] == 0
    assert installation.pids()["chat"] != before["chat"]
