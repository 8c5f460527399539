"""What a real llama-server's live log tells, and what it says that it runs with."""

import json
import re
import signal
import threading
from typing import Any

import httpx
import pytest

from reconciler.demo.models import write_model
from tests.cli.pasted import commands
from tests.e2e.installation import SMALL, Installation

pytestmark = pytest.mark.real
QUICK = {"liveness": {"period": "100ms"}}
REASON = "RequestTooLarge"


def ask(installation: Installation, path: str, body: dict[str, Any]) -> httpx.Response:
    """A request of a user."""
    port = installation.instances("chat")[-1]["port"]
    return httpx.post(f"http://127.0.0.1:{port}{path}", json=body, timeout=60)


def told(installation: Installation) -> list[str]:
    return [message for reason, message in installation.events("chat") if reason == REASON]


def follow(installation: Installation, message: str) -> None:
    """Paste the command that a message names, and wait until it is done."""
    before = installation.pids()
    (command,) = commands(message)
    installation.cli(*command)
    installation.wait_for("a new process", lambda: installation.pids().get("chat") not in (None, before["chat"]))
    installation.wait_ready("chat")


@pytest.mark.parametrize(
    ("fields", "flags"),
    [
        ({}, {}),
        ({"parallel": 2}, {}),
        ({}, {"log-verbosity": 1}),
        ({}, {"log-jsonl": True}),
    ],
    ids=["usual", "two slots", "errors only", "json"],
)
def test_a_request_that_is_too_large_is_told_and_its_remedy_works(
    installation: Installation, fields: dict[str, Any], flags: dict[str, Any]
) -> None:
    write_model(installation.models / "roomy.gguf", context=8192)
    spec: dict[str, Any] = {**SMALL, **fields, "model": "roomy.gguf", "flags": {"warmup": False, **flags}}
    installation.declare("chat", **spec, probes=QUICK)
    installation.start()
    installation.wait_ready("chat")
    request = {"prompt": "a private word " * 100, "n_predict": 1}
    assert ask(installation, "/completion", request).status_code == 400
    installation.wait_for("an event", lambda: told(installation))
    (message,) = told(installation)
    assert message.startswith("a request of 1502 tokens does not fit into the 256 of a slot; send less, or: ")
    assert "private" not in installation.cli("get", "events") + installation.log()
    follow(installation, message)
    assert ask(installation, "/completion", request).status_code == 200


def test_one_that_goes_on_is_told_once(installation: Installation) -> None:
    small: dict[str, Any] = SMALL
    installation.declare("chat", **small, probes=QUICK)
    installation.start()
    before = installation.wait_ready("chat")
    for words in (100, 90, 80):
        ask(installation, "/completion", {"prompt": "word " * words})
        installation.wait_for("an event", lambda: told(installation))
    installation.stays(lambda: len(told(installation)) == 1, 1.0)
    installation.end(signal.SIGKILL)
    installation.start()
    installation.wait_for("a look", lambda: installation.is_controlled() and installation.phases()["chat"] == "Ready")
    installation.stays(lambda: len(told(installation)) == 1, 1.0)
    ask(installation, "/completion", {"prompt": "word " * 120})
    installation.wait_for("another", lambda: len(told(installation)) == 2)
    assert installation.pids() == before


def test_requests_that_are_too_large_together_are_told(installation: Installation) -> None:
    write_model(installation.models / "roomy.gguf", context=8192)
    flags = {"warmup": False, "kv-unified": True}
    spec: dict[str, Any] = {**SMALL, "model": "roomy.gguf", "ctx": 512, "parallel": 4, "flags": flags}
    installation.declare("chat", **spec, probes=QUICK)
    installation.start()
    installation.wait_ready("chat")
    bodies = [{"prompt": letter * 300, "n_predict": 100, "ignore_eos": True} for letter in "abcd"]
    threads = [threading.Thread(target=ask, args=(installation, "/completion", body)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    installation.wait_for("an event", lambda: told(installation))
    assert told(installation)[0] == (
        "requests were ended, as together they need more than the context of 512 tokens; "
        "send less, or: reconciler set server/chat spec.ctx=1024"
    )


def test_an_input_that_is_larger_than_a_batch_is_told_and_its_remedy_works(installation: Installation) -> None:
    write_model(installation.models / "embed.gguf", embedding=True, context=4096)
    flags = {"warmup": False, "embeddings": True}
    spec: dict[str, Any] = {**SMALL, "flags": flags, "ctx": 2048, "model": "embed.gguf"}
    installation.declare("chat", **spec, probes=QUICK)
    installation.start()
    installation.wait_ready("chat")
    body = {"content": "word " * 200}
    assert ask(installation, "/embedding", body).status_code == 500
    installation.wait_for("an event", lambda: told(installation))
    (message,) = told(installation)
    assert message.startswith("an input of 1002 tokens does not fit into one batch of 512; send less, or: ")
    follow(installation, message)
    assert ask(installation, "/embedding", body).status_code == 200


def test_what_was_asked_for_stands_beside_what_runs(installation: Installation) -> None:
    spec: dict[str, Any] = {**SMALL, "ctx": 4096, "parallel": 4, "gpuLayers": 7}
    installation.declare("chat", **spec, probes=QUICK)
    installation.start()
    installation.wait_ready("chat")
    (item,) = json.loads(installation.cli("get", "servers", "-o", "json"))["items"]
    model = str(installation.models / "tiny.gguf")
    assert item["status"]["effective"] == {
        "ctxPerSlot": 512,
        "slots": 4,
        "gpuLayers": None,
        "device": "CPU",
        "model": model,
        "trainedContext": 512,
        "capped": True,
    }
    assert item["status"]["asked"]["ctx"] == 4096
    wide = installation.cli("get", "servers", "-o", "wide")
    header, row = (re.split(" {2,}", line) for line in wide.splitlines()[:2])
    cells = dict(zip(header, row, strict=False))
    shown = {name: cells[name] for name in ("MODEL", "CTX", "NGL", "SLOTS", "DEVICE")}
    assert "2048 (asked 4096)" in installation.cli("describe", "server", "chat")
    assert shown == {
        "MODEL": "tiny.gguf",
        "CTX": "2048 (asked 4096)",
        "NGL": "0 (asked 7)",
        "SLOTS": "4",
        "DEVICE": "CPU",
    }
