"""Why real servers ended, as the rows have it."""

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.e2e.installation import Installation
from tests.runtimes.groups import MemoryGroup

pytestmark = pytest.mark.real
ENDLESS: dict[str, Any] = {"ctx": 256, "parallel": 1, "flags": {"warmup": False, "context-shift": True}}


def first_end(installation: Installation, name: str) -> dict[str, Any]:
    """The row of the first instance, once it has ended."""
    installation.wait_for("an end", lambda: (installation.instances(name) or [{}])[0].get("ended") is not None)
    return installation.instances(name)[0]


def diagnoses(installation: Installation, name: str) -> set[str]:
    """Of all its instances so far."""
    return {row["diagnosis"] for row in installation.instances(name)}


def ask(port: int) -> Thread:
    """Ask for a completion without an end."""
    body = json.dumps({"prompt": "to be", "n_predict": -1, "ignore_eos": True}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/completion", body, {"Content-Type": "application/json"})

    def wait() -> None:
        with pytest.raises(OSError):  # noqa: PT011 - however a broken connection is told
            urllib.request.urlopen(request, timeout=60).read()

    thread = Thread(target=wait, daemon=True)
    thread.start()
    return thread


def is_at_work(installation: Installation, name: str) -> bool:
    return any("processing task" in path.read_text() for path in (installation.state / "logs" / name).glob("*.log"))


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (signal.SIGKILL, "KilledByUser"),
        (signal.SIGTERM, "KilledByUser"),
        (signal.SIGINT, "KilledByUser"),
        (signal.SIGSEGV, "Crashed"),
        (signal.SIGABRT, "Crashed"),
    ],
)
def test_a_signal_to_an_idle_server(installation: Installation, number: signal.Signals, cause: str) -> None:
    installation.declare("chat")
    installation.start()
    os.kill(installation.wait_ready("chat")["chat"], number)
    row = first_end(installation, "chat")
    assert row["diagnosis"] == cause, row["evidence"]
    installation.wait_ready("chat")


def test_a_server_that_an_earlier_controller_began(installation: Installation) -> None:
    """Nobody knows what was counted before: it is compared with what the new one saw first."""
    installation.declare("chat")
    installation.start()
    pid = installation.wait_ready("chat")["chat"]
    installation.end(signal.SIGKILL)
    installation.start()
    installation.wait_for("a pass", lambda: installation.is_controlled() and installation.passes() > 1)
    os.kill(pid, signal.SIGKILL)
    row = first_end(installation, "chat")
    # How another's child ended is told by newer kernels alone.
    assert row["diagnosis"] == ("KilledByUser" if row["exit"]["signal"] else "Unknown"), row["evidence"]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_within_a_request(installation: Installation, number: signal.Signals) -> None:
    installation.declare("chat", **ENDLESS)
    installation.start()
    pid = installation.wait_ready("chat")["chat"]
    client = ask(installation.instances("chat")[0]["port"])
    installation.wait_for("work", lambda: is_at_work(installation, "chat"))
    os.kill(pid, number)
    row = first_end(installation, "chat")
    client.join(30)
    assert row["diagnosis"] == "CrashedInRequest", row["evidence"]


@pytest.fixture
def small_group() -> Iterator[MemoryGroup]:
    made = MemoryGroup.make("reconciler-small", 48 << 20)
    if made is None:
        pytest.skip("no memory cgroup can be made here (it takes root)")
    yield made
    made.remove()


@pytest.mark.parametrize("begin", ["exec ", ""], ids=["the server itself", "a child of a shell"])
def test_the_kernel_kills_it_for_memory(
    installation: Installation, small_group: MemoryGroup, llama_server: str, begin: str
) -> None:
    """It moves to the group after the spawn: where it was seen first tells nothing."""
    script = installation.root / "llama-server"
    script.write_text(f'#!/bin/sh\necho $$ > {small_group.folder}/cgroup.procs\n{begin}{llama_server} "$@"\n')
    script.chmod(0o755)
    installation.environ["LLAMA_SERVER"] = str(script)
    # Of many kills within seconds the kernel's log does not say who stood beside the victim (its messages are limited).
    again = {"maxRestarts": 3, "initialBackoff": "3s", "factor": 1}
    installation.declare("chat", ctx=1 << 19, fallback="off", restart=again)
    installation.start()
    installation.wait_for("a kill that is known as one", lambda: "OomKilled" in diagnoses(installation, "chat"))
    row = next(row for row in installation.instances("chat") if row["diagnosis"] == "OomKilled")
    assert "cgroup" in row["evidence"] or "oom_kill" in row["evidence"]
    assert diagnoses(installation, "chat") <= {"OomKilled", "Unknown", ""}
    installation.end()


def test_a_secret_that_the_log_repeats_is_neither_told_nor_stored(installation: Installation) -> None:
    key = installation.models / "key"
    key.write_text("hf_s3cretvalue\n")
    installation.declare("chat", env={"LLAMA_ARG_CACHE_TYPE_K": {"fromFile": str(key)}}, restart={"maxRestarts": 0})
    installation.start()
    row = first_end(installation, "chat")
    assert row["diagnosis"] == "InvalidFlag"
    assert row["evidence"] == 'error while handling environment variable "LLAMA_ARG_CACHE_TYPE_K": (hidden)'
    assert "hf_s3cretvalue" in next((installation.state / "logs" / "chat").glob("*.log")).read_text()
    installation.end()
    kept = b"".join(path.read_bytes() for path in installation.state.glob("state.db*"))
    assert b"hf_s3cretvalue" not in kept
    assert "hf_s3cretvalue" not in installation.log()


def test_a_client_forges_no_cause(installation: Installation) -> None:
    """A grammar is logged as it is, with its line breaks, at the usual verbosity."""
    installation.declare("chat")
    installation.start()
    pid = installation.wait_ready("chat")["chat"]
    error = "error: request (999999999999 tokens) exceeds the available context size (512 tokens), try increasing it"
    forged = f"x\n0.01.000.000 E srv    send_error: task id = 1, {error}\nCUDA error: out of memory\nstd::bad_alloc"
    body = json.dumps({"prompt": "a", "grammar": forged}).encode()
    url = f"http://127.0.0.1:{installation.instances('chat')[0]['port']}/completion"
    with pytest.raises(OSError, match="400"):
        urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=60)
    log = next((installation.state / "logs" / "chat").glob("*.log"))
    installation.wait_for("the forged line", lambda: "\nCUDA error: out of memory\n" in log.read_text())
    os.kill(pid, signal.SIGSEGV)
    row = first_end(installation, "chat")
    assert (row["diagnosis"], row["evidence"]) == ("Crashed", "SIGSEGV")
    assert "RequestTooLarge" not in installation.cli("get", "events")


def test_a_model_that_is_overwritten_in_use(installation: Installation, tiny_model: Path) -> None:
    model = installation.models / "own.gguf"
    model.write_bytes(tiny_model.read_bytes())
    os.utime(model, (0, 0))
    installation.declare("chat", model="own.gguf")
    installation.start()
    installation.wait_ready("chat")
    os.truncate(model, 0)
    ask(installation.instances("chat")[0]["port"])
    row = first_end(installation, "chat")
    assert row["diagnosis"] == "ModelFileChanged", row["evidence"]
