"""Watching real servers: what they take and serve, what they write, how far they have loaded."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.demo.models import write_model
from tests.e2e.installation import Installation
from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.real
PERCENT = re.compile(r"loading (\d+) %")
SIZE, LASTING = 300_000_000, 5.0
"""Bytes of the model that is loaded slowly, and seconds that it is to take at least."""


def port_of(installation: Installation, name: str) -> int:
    return int(json.loads(installation.cli("get", "servers", name, "-o", "json"))["items"][0]["status"]["port"])


def usage(installation: Installation, *arguments: str) -> dict[str, dict[str, Any]]:
    listed = json.loads(installation.cli("top", "-o", "json", *arguments))
    return {item["metadata"]["name"]: item["usage"] for item in listed["items"]}


@contextmanager
def completing(port: int) -> Iterator[None]:
    """Somebody asks for one completion after the other."""
    over = threading.Event()
    asked = threading.Event()

    def ask() -> None:
        body = {"prompt": "a b c", "n_predict": 400, "ignore_eos": True}
        while not over.is_set():
            httpx.post(f"http://127.0.0.1:{port}/completion", json=body, timeout=60).raise_for_status()
            asked.set()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        assert asked.wait(60)
        yield
    finally:
        over.set()
        thread.join(60)


def test_what_a_busy_server_takes_and_serves(installation: Installation) -> None:
    installation.declare("busy", ctx=512, flags={"metrics": True, "warmup": False})
    installation.declare("idle")
    installation.start()
    installation.wait_ready("busy", "idle")
    with completing(port_of(installation, "busy")):
        found = usage(installation)
    busy, idle = found["busy"], found["idle"]
    assert busy["tokensPerSecond"] > 50
    assert busy["cpuPercent"] > 5 * max(idle["cpuPercent"], 1)
    assert (busy["slots"], busy["requestsWaiting"]) == (1, 0)
    assert (idle["tokensPerSecond"], idle["slotsBusy"], idle["slots"]) == (0, 0, 1)
    assert 5_000_000 < idle["memoryBytes"] < 500_000_000
    # Processes go on without a controller, and are looked at all the same.
    installation.end()
    assert usage(installation, "idle")["idle"]["slotsBusy"] == 0


def test_a_sleeping_server_sleeps_on(installation: Installation) -> None:
    installation.declare("sleeps", flags={"sleep-idle-seconds": 1, "warmup": False})
    installation.start()
    installation.wait_ready("sleeps")
    port = port_of(installation, "sleeps")

    def is_asleep() -> bool:
        return bool(httpx.get(f"http://127.0.0.1:{port}/props", timeout=10).json()["is_sleeping"])

    installation.wait_for("sleep", is_asleep)
    found = usage(installation)["sleeps"]
    assert found["memoryBytes"] > 1_000_000
    assert found["slotsBusy"] is None
    assert is_asleep()


# ---------------------------------------------------------------- loading


@contextmanager
def slowed_down(installation: Installation) -> Iterator[None]:
    """The processes of the installation read no faster than so, from their very start: they stop themselves first."""
    over, begun = threading.Event(), dict[int, float]()

    def slow() -> None:
        while not over.wait(0.005):
            found: list[int] = []
            with suppress(sqlite3.Error):
                found = list(installation.pids().values())
            for pid in found:
                due = SIZE * (time.monotonic() - begun.setdefault(pid, time.monotonic())) / LASTING
                with suppress(ProcessLookupError, FileNotFoundError):
                    read = int(Path(f"/proc/{pid}/io").read_text().split()[1])
                    os.kill(pid, signal.SIGSTOP if read > due and due < SIZE else signal.SIGCONT)

    thread = threading.Thread(target=slow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def large(installation: Installation) -> Iterator[Installation]:
    """A controller without servers, and a model of 300 MB. Servers stand still until somebody has them go on."""
    program = installation.root / "standing"
    program.write_text(f'#!/bin/sh\nkill -STOP $$\nexec {installation.environ["LLAMA_SERVER"]} "$@"\n')
    program.chmod(0o755)
    installation.environ["LLAMA_SERVER"] = str(program)
    model = write_model(installation.models / "large.gguf", layers=16, pad_bytes=SIZE)
    installation.start()
    installation.wait_for("the controller", installation.is_controlled)
    yield installation
    installation.close()
    model.unlink()


def test_a_load_is_seen_to_move(large: Installation) -> None:
    with slowed_down(large), Terminal(large, "get", "servers", "-w", columns=160) as watch:
        # It is read, and not mapped: a mapping is there at once where the file is in memory.
        large.declare("large", model="large.gguf", flags={"load-mode": "none", "warmup": False})
        with Terminal(large, "apply") as terminal:
            assert terminal.end() == 0, terminal.text
        seen = [int(found) for found in PERCENT.findall(terminal.output)]
        assert seen == sorted(seen)
        assert len(set(seen)) >= 3, terminal.output
        watch.wait_for("1 total, 1 ready")
        watched = [int(found) for found in PERCENT.findall(watch.output)]
        assert watched == sorted(watched)
        assert len(set(watched)) >= 2, watch.output
        assert watch.interrupt() == 130
        # Against the last time, too.
        with Terminal(large, "restart", "large") as terminal:
            assert terminal.end() == 0, terminal.text
        assert re.search(r"loading \d+ %, [\d.]+s of about [\d.]+s", terminal.output), terminal.output


# ---------------------------------------------------------------- logs


def test_logs_are_followed_over_restarts_of_servers_and_controllers(installation: Installation, tmp_path: Path) -> None:
    for name in ("one", "other"):
        installation.declare(name, labels={"tier": "fast"})
    installation.declare("slow", labels={"tier": "slow"})
    installation.start()
    installation.wait_ready("one", "other", "slow")
    shown = tmp_path / "shown"
    with shown.open("wb") as out:
        command = [sys.executable, "-m", "reconciler", "logs", "-l", "tier=fast", "-f", "--grep", "listening on"]
        following = subprocess.Popen(
            command, cwd=installation.root, env=installation.environ, stdout=out, stderr=subprocess.DEVNULL
        )

    def count(name: str) -> int:
        return sum(line.startswith(name) for line in shown.read_text().splitlines())

    installation.wait_for("both logs", lambda: (count("one   | "), count("other | ")) == (1, 1))
    installation.cli("restart", "one")
    installation.wait_for("the next instance's", lambda: (count("one   | "), count("other | ")) == (2, 1))
    installation.end()
    installation.start()
    installation.wait_ready("one", "other", "slow")
    installation.cli("restart", "other")
    installation.wait_for("it goes on", lambda: (count("one   | "), count("other | ")) == (2, 2))
    following.send_signal(signal.SIGINT)
    assert following.wait(10) == 130
    assert "slow" not in shown.read_text()
    assert "listening on" in installation.cli("logs", "one", "--since", "1m", "--grep", "LISTENING", "-i")
    assert installation.cli("logs", "one", "--since", "1ms") == ""
