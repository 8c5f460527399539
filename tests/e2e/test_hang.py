"""Servers that hang are restarted; those that are busy, asleep or starved are not."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from reconciler.demo.models import write_model
from tests.e2e.installation import Installation

FAKE = Path(__file__).parent / "fakes" / "sick_server.py"
FAST = {"period": "100ms", "timeout": "300ms", "failureThreshold": 2}
SOON = {"gracePeriod": "500ms"}


def ask(installation: Installation, path: str, body: object = None, seconds: float = 60.0) -> Any:
    """A request of a user."""
    port = installation.instances("chat")[-1]["port"]
    method = "GET" if body is None else "POST"
    return httpx.request(method, f"http://127.0.0.1:{port}{path}", json=body, timeout=seconds).raise_for_status().json()


def wait_replaced(installation: Installation, before: dict[str, int]) -> str:
    """Wait until another process has taken its place; what the first one's Unhealthy event says."""
    installation.wait_for("a new process", lambda: installation.pids().get("chat", before["chat"]) != before["chat"])
    first, second = installation.instances("chat")[:2]
    assert (first["stop_reason"], second["trigger"]) == ("Unresponsive", "Unresponsive")
    return next(message for reason, message in installation.events("chat") if reason == "Unhealthy")


# ---------------------------------------------------------------- the real one


@pytest.fixture
def long_model(installation: Installation) -> str:
    """A model whose prefill of 20,000 tokens takes a quarter of a minute on one core."""
    write_model(installation.models / "long.gguf", context=65536, width=256)
    return "long.gguf"


@contextlib.contextmanager
def stolen_cpu() -> Iterator[None]:
    """Four times as many busy processes as there are cores."""
    thieves = [psutil.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for thief in thieves:
            thief.kill()
            thief.wait()


@pytest.mark.real
@pytest.mark.long
def test_a_long_prefill_on_a_crowded_machine_is_no_hang(installation: Installation, long_model: str) -> None:
    liveness = {**FAST, "stall": "1s"}
    installation.declare("chat", model=long_model, ctx=32768, probes={"liveness": liveness})
    installation.start()
    before = installation.wait_ready("chat")
    prompt = {"prompt": [100 + number % 200 for number in range(8000)], "n_predict": 8, "cache_prompt": False}
    answers: list[Any] = []
    asker = threading.Thread(target=lambda: answers.append(ask(installation, "/completion", prompt, 300.0)))
    with stolen_cpu():
        asker.start()
        installation.wait_for("an answer", lambda: answers, 100.0)
    asker.join()
    assert answers[0]["tokens_evaluated"] == 8000
    assert installation.wait_ready("chat") == before
    assert not {"Unhealthy", "Stopping"} & {reason for reason, _ in installation.events("chat")}


@pytest.mark.real
def test_one_that_is_stopped_in_the_middle_of_a_prefill_is_found(installation: Installation, long_model: str) -> None:
    """SIGSTOP: the kernel accepts for it, and nobody answers."""
    installation.declare("chat", model=long_model, ctx=32768, probes={"liveness": {**FAST, "stall": "1s"}}, stop=SOON)
    installation.start()
    before = installation.wait_ready("chat")
    prompt = {"prompt": [100 + number % 200 for number in range(20000)], "n_predict": 1, "cache_prompt": False}

    def request() -> None:
        with contextlib.suppress(httpx.HTTPError):
            ask(installation, "/completion", prompt)

    asker = threading.Thread(target=request)
    asker.start()
    installation.wait_for("work", lambda: ask(installation, "/slots")[0]["is_processing"])
    os.kill(before["chat"], signal.SIGSTOP)
    assert "/health: no answer within 0.3 s" in wait_replaced(installation, before)
    asker.join()
    installation.wait_ready("chat")


@pytest.mark.real
def test_one_that_sleeps_is_well_and_is_let_sleep(installation: Installation) -> None:
    flags = {"warmup": False, "sleep-idle-seconds": 1}
    installation.declare("chat", flags=flags, probes={"liveness": {**FAST, "stall": "1s"}})
    installation.start()
    before = installation.wait_ready("chat")
    installation.wait_for("sleep", lambda: ask(installation, "/props")["is_sleeping"])
    installation.stays(
        lambda: ask(installation, "/props")["is_sleeping"] and installation.phases()["chat"] == "Ready", 3.0
    )
    assert installation.pids() == before


@pytest.mark.real
@pytest.mark.parametrize(
    "flags",
    [{}, {"embeddings": True}, {"embeddings": True, "pooling": "none"}, {"reranking": True}, {"slots": False}],
)
def test_each_kind_of_server_passes_its_completion(installation: Installation, flags: dict[str, Any]) -> None:
    write_model(installation.models / "embed.gguf", embedding=True)
    model = "embed.gguf" if {"embeddings", "reranking"} & flags.keys() else "tiny.gguf"
    (installation.root / "keys").write_text("one\n")
    installation.declare(
        "chat",
        model=model,
        flags={"warmup": False, "metrics": True, **flags},
        apiKeyFile=str(installation.root / "keys"),
        probes={"liveness": {**FAST, "timeout": "5s", "completion": True, "completionPeriod": "1s"}},
    )
    installation.start()
    before = installation.wait_ready("chat")
    port = installation.instances("chat")[0]["port"]

    def tokens() -> float:
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": "Bearer one"}).text
        return sum(
            float(line.split()[1]) for line in metrics.splitlines() if line.startswith("llamacpp:prompt_tokens_total")
        )

    first = tokens()
    installation.wait_for("two more completions", lambda: tokens() >= first + 2 * 2)
    assert installation.wait_ready("chat") == before
    assert installation.query("select message from servers") == [("",)]
    assert "Unhealthy" not in {reason for reason, _ in installation.events("chat")}


@pytest.mark.real
def test_requests_beside_completions_are_all_answered(installation: Installation) -> None:
    liveness = {**FAST, "timeout": "5s", "completion": True, "completionPeriod": "1s"}
    installation.declare("chat", probes={"liveness": liveness})
    installation.start()
    before = installation.wait_ready("chat")
    until, answered = time.monotonic() + 4.0, 0
    while time.monotonic() < until:
        assert (
            ask(installation, "/completion", {"prompt": "ab", "n_predict": 8, "ignore_eos": True})["tokens_predicted"]
            == 8
        )
        answered += 1
        time.sleep(0.01)
    assert answered > 20
    assert installation.wait_ready("chat") == before


@pytest.mark.real
def test_completions_and_sleep_exclude_each_other(installation: Installation) -> None:
    path = installation.declare("chat", flags={"sleep-idle-seconds": 60}, probes={"liveness": {"completion": True}})
    told = installation.cli("validate", str(path), code=None)
    assert "leave this out, or the flag `sleep-idle-seconds`" in told


# ---------------------------------------------------------------- one that falls ill on demand


@pytest.fixture
def sick(installation: Installation) -> Path:
    """The file that says what ails the server."""
    program = installation.root / "sick-server"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    program.chmod(0o755)
    installation.environ["LLAMA_SERVER"] = str(program)
    return installation.root / "ills"


def declare_sick(installation: Installation, sick: Path, **liveness: Any) -> dict[str, int]:
    probes = {"liveness": {**FAST, "stall": "1s", **liveness}}
    installation.declare("chat", flags={}, env={"SICK": str(sick)}, probes=probes, stop=SOON)
    installation.start()
    return installation.wait_ready("chat")


@pytest.mark.parametrize(
    ("ills", "liveness", "message"),
    [
        ("broken", {"completion": True, "completionPeriod": "1s"}, "/completion: answers 500: Compute error."),
        ("mute", {"period": "400ms"}, "/slots does not answer, and nothing has moved for 1s or longer"),
        ("stuck", {}, "slots at work: 1, but nothing has moved for 1s or longer"),
        ("slow", {}, "/health: no answer within 0.3 s"),
        ("slow spins", {"busyLimit": "2s"}, "/health: no answer within 0.3 s, for 2s or longer, though it computes"),
        ("stuck spins", {"busyLimit": "2s"}, "no counter has moved for 2s or longer, though it computes"),
        ("deaf", {}, "/health: connection refused"),
    ],
)
def test_what_hangs_is_restarted(
    installation: Installation, sick: Path, ills: str, liveness: dict[str, Any], message: str
) -> None:
    before = declare_sick(installation, sick, **liveness)
    sick.write_text(ills)
    assert message in wait_replaced(installation, before)
    sick.unlink()
    installation.wait_ready("chat")
    assert installation.instances("chat")[0]["diagnosis"] == ("Unreachable" if ills == "deaf" else "Hung")


def test_one_that_answers_late_is_slow_and_let_be(installation: Installation, sick: Path) -> None:
    before = declare_sick(installation, sick, timeout="4s")
    sick.write_text("late")
    installation.wait_for("Slow", lambda: "Slow" in installation.conditions("chat"))
    shown = installation.cli("describe", "server", "chat")
    assert "/health takes 1." in shown
    sick.unlink()
    installation.wait_for("no longer Slow", lambda: "Slow" not in installation.conditions("chat"))
    assert (installation.phases()["chat"], installation.pids()) == ("Ready", before)
    assert [reason for reason, _ in installation.events("chat")].count("Slow") == 1


@pytest.mark.parametrize(
    ("ills", "reason"), [("slow spins", "Busy"), ("stuck spins", "Ready"), ("mute spins", "Ready"), ("broken", "Ready")]
)
def test_what_works_or_is_not_asked_for_work_is_let_be(
    installation: Installation, sick: Path, ills: str, reason: str
) -> None:
    before = declare_sick(installation, sick)
    sick.write_text(ills)
    installation.wait_for(reason, lambda: installation.conditions("chat")["Ready"]["reason"] == reason)
    installation.stays(
        lambda: installation.conditions("chat")["Ready"]["status"] and installation.pids() == before, 4.0
    )
    assert installation.conditions("chat")["Ready"]["reason"] == reason
    sick.unlink()
    installation.wait_for("Ready again", lambda: installation.conditions("chat")["Ready"]["reason"] == "Ready")


def test_by_default_a_healthy_server_is_asked_for_its_health_alone(installation: Installation, sick: Path) -> None:
    declare_sick(installation, sick, stall="2m")
    installation.stays(lambda: installation.phases()["chat"] == "Ready", 2.0)
    asked = sick.with_suffix(".asked").read_text().splitlines()
    assert asked == ["GET /props", "GET /v1/models"]


def test_one_whose_completions_never_work_is_failed_in_the_end(installation: Installation, sick: Path) -> None:
    probes = {"liveness": {**FAST, "completion": True, "completionPeriod": "1s"}}
    restart = {"maxRestarts": 1, "stabilityWindow": "1s", "initialBackoff": "10ms"}
    sick.write_text("broken")
    installation.declare("chat", flags={}, env={"SICK": str(sick)}, probes=probes, stop=SOON, restart=restart)
    installation.start()
    installation.wait_phase("chat", "Failed")
    assert [row["stop_reason"] for row in installation.instances("chat")] == ["Unresponsive", "Unresponsive"]
    assert "Hung: /completion: answers 500: Compute error." in dict(installation.events("chat"))["Failed"]
