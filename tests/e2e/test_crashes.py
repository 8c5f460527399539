"""Servers that die, and come back."""

import itertools
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.installation import Installation

pytestmark = pytest.mark.real
NOT_THERE = {"hf": "nobody/nothing"}
"""A model that no start finds, without asking anybody for it: another try might."""


@pytest.mark.parametrize(("number", "code", "killed_by"), [(signal.SIGKILL, None, 9), (signal.SIGTERM, 0, None)])
def test_a_killed_server_is_restarted_and_its_end_recorded(
    installation: Installation, number: int, code: int | None, killed_by: int | None
) -> None:
    installation.declare("chat")
    installation.start()
    before = installation.wait_ready("chat")
    os.kill(before["chat"], number)
    installation.wait_for("a new process", lambda: installation.pids().get("chat", before["chat"]) != before["chat"])
    installation.wait_ready("chat")
    first, second = installation.instances("chat")
    assert first["exit"] == {"code": code, "signal": killed_by}
    assert first["stopping"] is None
    assert second["trigger"] == "Crashed"
    assert second["attempt"] == 1
    assert second["delay"] == 0.5
    waited = second["intent"]["monotonic"] - first["ended"]["monotonic"]
    assert 0.5 <= waited < 3
    assert second["port"] == first["port"]


def test_a_crash_loop_backs_off_fails_and_is_brought_back_by_a_fix(installation: Installation) -> None:
    installation.declare("chat", model=NOT_THERE, flags={"offline": True, "log-verbosity": 3})
    installation.start()
    installation.wait_phase("chat", "Failed")
    rows = installation.instances("chat")
    assert [row["delay"] for row in rows] == [0, 0.5, 1, 2]
    for before, after in itertools.pairwise(rows):
        waited = after["intent"]["monotonic"] - before["ended"]["monotonic"]
        assert after["delay"] <= waited < after["delay"] + 2
    assert all(row["exit"]["code"] == 1 and "model" in row["log_tail"] for row in rows)
    assert all(row["diagnosis"] == "DownloadFailed" for row in rows)
    installation.stays(lambda: not installation.pids(), 1.0)
    message = installation.query("select message from servers")[0][0]
    assert "gave up after 3 restarts" in message
    assert "reconciler restart chat" in message

    installation.declare("chat")
    installation.wait_ready("chat")
    assert installation.query("select n, restarts from servers") == [(0, 3)]


def test_a_repaired_model_file_brings_a_failed_server_back(installation: Installation, tiny_model: Path) -> None:
    broken = installation.models / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(64))
    installation.declare("chat", model="broken.gguf")
    installation.start(RECONCILER_TICK="1")
    installation.wait_phase("chat", "Failed")
    assert installation.conditions("chat")["Ready"]["reason"] == "ModelBroken"
    assert len(installation.instances("chat")) == 1
    draft = broken.with_suffix(".part")
    draft.write_bytes(tiny_model.read_bytes())
    draft.replace(broken)
    installation.wait_ready("chat")


def test_another_policy(installation: Installation) -> None:
    policy = {"initialBackoff": "100ms", "factor": 3, "maxBackoff": "500ms", "maxRestarts": 4}
    installation.declare("loop", model=NOT_THERE, flags={"offline": True}, restart=policy)
    installation.declare("once", model=NOT_THERE, flags={"offline": True}, restart={"policy": "Never"})
    installation.start()
    installation.wait_phase("loop", "Failed")
    installation.wait_phase("once", "Failed")
    assert [round(row["delay"], 3) for row in installation.instances("loop")] == [0, 0.1, 0.3, 0.5, 0.5]
    assert len(installation.instances("once")) == 1


def test_an_exit_with_0_completes_where_the_policy_says_so(installation: Installation) -> None:
    installation.declare("chat", restart={"policy": "OnFailure"})
    installation.start()
    before = installation.wait_ready("chat")
    os.kill(before["chat"], signal.SIGTERM)
    installation.wait_phase("chat", "Stopped")
    installation.stays(lambda: not installation.pids(), 1.0)
    installation.cli("restart", "chat")
    installation.wait_ready("chat")


def test_a_server_that_stops_answering_is_restarted(installation: Installation) -> None:
    probes = {"liveness": {"period": "100ms", "timeout": "200ms", "failureThreshold": 2}}
    installation.declare("chat", probes=probes, stop={"gracePeriod": "500ms"})
    installation.start()
    before = installation.wait_ready("chat")
    os.kill(before["chat"], signal.SIGSTOP)
    installation.wait_for("a new process", lambda: installation.pids().get("chat", before["chat"]) != before["chat"])
    installation.wait_ready("chat")
    first, second = installation.instances("chat")
    assert first["stop_reason"] == "Unresponsive"
    assert first["exit"]["signal"] == signal.SIGKILL
    assert second["trigger"] == "Unresponsive"
    assert "Unhealthy" in [reason for reason, _ in installation.events("chat")]
