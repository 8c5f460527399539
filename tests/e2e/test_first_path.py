"""The main job: a file becomes a Ready server, an edit a restart, a removal a stop."""

import httpx
import pytest

from tests.e2e.installation import Installation

pytestmark = pytest.mark.real


def test_a_manifest_becomes_a_ready_server_that_answers(installation: Installation) -> None:
    installation.declare("chat")
    installation.start()
    installation.wait_ready("chat")
    (instance,) = installation.instances("chat")
    answer = httpx.post(
        f"http://127.0.0.1:{instance['port']}/v1/chat/completions",
        json={"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4},
        timeout=30,
    )
    assert answer.json()["choices"][0]["message"]["role"] == "assistant"
    assert instance["effective"]["ctx_per_slot"] == 256  # llama-server rounds 128 up to a block
    assert instance["effective"]["slots"] == 1
    assert instance["models"][0]["trainedContext"] == 512


def test_an_edit_restarts_and_a_removal_stops(installation: Installation) -> None:
    installation.declare("chat")
    path = installation.declare("other")
    installation.start()
    before = installation.wait_ready("chat", "other")
    installation.declare("chat", ctx=512)
    installation.wait_for("another pid of chat", lambda: installation.pids().get("chat") != before["chat"])
    after = installation.wait_ready("chat", "other")
    assert after["other"] == before["other"]
    path.unlink()
    installation.wait_for("other to be gone", lambda: set(installation.pids()) == {"chat"})
    installation.wait_for("other to be forgotten", lambda: set(installation.phases()) == {"chat"})
