"""What servers take and give, over servers whose answers a test chooses."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import top, usage
from reconciler.cli.terminal import cells
from reconciler.cli.usage import shown_between
from reconciler.controller.usage import Look
from reconciler.core.history import Condition
from reconciler.core.model import Phase
from reconciler.engines.throughput import Metrics, Slots
from reconciler.runtimes.usage import Taken
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import START, Filling, eventually, status
from tests.cli.test_watch import WIDTH, Terminal, plain

ITEM = {"metadata": {"name": "chat"}, "status": {"phase": "Ready", "effective": {"slots": 4}}}


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (20.4 * 1024**2, "20 MiB"),
        (1.25 * 1024**3, "1.2 GiB"),
        (1023.9 * 1024**2, "1.0 GiB"),
        (40 * 1024**3, "40 GiB"),
        (5000 * 1024**4, "5000 TiB"),
    ],
)
def test_sizes_for_people(size: float, words: str) -> None:
    assert top.size_words(size) == words


def look(at: float, cpu: float, tokens: int, *, pid: int = 7) -> Look:
    return Look(at, pid, Taken(cpu, 2048), 5, Slots(2, 1, {(0, 1): tokens}), Metrics(waiting=3))


def test_rates_are_of_the_time_between_two_looks() -> None:
    found = shown_between(ITEM, look(10, 1, 100), look(12, 4, 130))
    assert (found.cpu, found.tokens) == (150, 15)
    assert (found.memory, found.gpu, found.busy, found.slots, found.waiting) == (2048, 5, 1, 2, 3)


@pytest.mark.parametrize("before", [None, look(10, 1, 100, pid=8), look(12, 1, 100), Look(10, 7)])
def test_another_process_has_no_rate_yet(before: Look | None) -> None:
    found = shown_between(ITEM, before, look(12, 4, 130))
    assert (found.cpu, found.tokens, found.memory) == (None, None, 2048)


def test_of_one_that_tells_nothing_the_slots_are_known_from_before() -> None:
    found = shown_between(ITEM, Look(10, 7), Look(12, 7))
    assert (found.busy, found.slots) == (None, 4)


class Answers:
    """Servers on ports of their own, and what they are asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, str, str]] = []
        self.release = threading.Event()
        self._servers: list[ThreadingHTTPServer] = []
        self.generated = 0

    def serve(self, *, hangs: bool = False, key: str = "") -> int:
        """A server's port."""
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                _, port = self.connection.getsockname()
                answers.asked.append((int(port), self.path, self.headers.get("Authorization", "")))
                if hangs:
                    answers.release.wait(30)
                allowed = not key or self.headers.get("Authorization") == f"Bearer {key}"
                body = answers.body(self.path) if allowed else b"{}"
                with suppress(OSError):
                    self.send_response(200 if allowed else 401)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_arguments: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return int(server.server_address[1])

    def body(self, path: str) -> bytes:
        self.generated += 50
        if path.endswith("/metrics"):
            return f"llamacpp:tokens_predicted_total {self.generated}\nllamacpp:requests_deferred 2\n".encode()
        slot = {"id": 0, "is_processing": True, "id_task": 1, "next_token": [{"n_decoded": self.generated}]}
        return json.dumps([slot, {"id": 1, "is_processing": False}]).encode()

    def close(self) -> None:
        self.release.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()


@pytest.fixture
def answers() -> Iterator[Answers]:
    answers = Answers()
    yield answers
    answers.close()


def serve(filling: Filling, name: str, port: int, **spec: Any) -> None:
    """A server that is Ready on that port; its process is this one."""
    filling.document(name, **spec)
    filling.instance(name, port=port, spec={"model": "a.gguf", **spec})
    filling.record(name, status(Phase.READY))


def usages(call: Call, *arguments: str) -> dict[str, dict[str, Any]]:
    called = call("top", "-o", "json", "--interval", "200ms", *arguments)
    assert called.code == 0, called.err
    return {item["metadata"]["name"]: item["usage"] for item in json.loads(called.out)["items"]}


def test_one_that_hangs_holds_up_nobody(
    filling: Filling, controller: FakeController, call: Call, answers: Answers
) -> None:
    for name in ("a-hangs", "b-hangs"):
        serve(filling, name, answers.serve(hangs=True))
    serve(filling, "well", answers.serve())
    began = time.monotonic()
    found = usages(call)
    assert time.monotonic() - began < 4
    assert found["well"]["slotsBusy"] == 1
    assert found["well"]["tokensPerSecond"] > 1
    assert found["a-hangs"]["tokensPerSecond"] is None
    assert found["a-hangs"]["slotsBusy"] is None
    assert found["a-hangs"]["memoryBytes"] == pytest.approx(found["well"]["memoryBytes"], rel=0.2)


def test_nobody_who_may_sleep_is_woken(
    filling: Filling, controller: FakeController, call: Call, answers: Answers
) -> None:
    sleeps, tells, strangers = (answers.serve() for _ in range(3))
    serve(filling, "sleeps", sleeps, flags={"sleep-idle-seconds": 60})
    serve(filling, "tells", tells, flags={"sleep-idle-seconds": 60, "metrics": True})
    serve(filling, "strangers", strangers)
    shown = status(Phase.READY)
    taken_over = Condition("Adopted", True, "Adopted", "started by hand", START)
    filling.record("strangers", type(shown)(shown.phase, "", (*shown.conditions, taken_over)))
    found = usages(call)
    assert {port: path for port, path, _ in answers.asked} == {tells: "/metrics"}
    assert found["sleeps"]["tokensPerSecond"] is None
    assert found["tells"]["tokensPerSecond"] > 1
    assert (found["tells"]["slotsBusy"], found["tells"]["requestsWaiting"]) == (None, 2)


def test_keys_and_prefixes_are_used(
    filling: Filling, controller: FakeController, call: Call, answers: Answers, root: Path
) -> None:
    (root / "key").write_text("secret\nanother\n")
    serve(filling, "keyed", answers.serve(key="secret"), apiKeyFile=str(root / "key"), flags={"api-prefix": "/llm"})
    serve(filling, "locked", answers.serve(key="other"), apiKeyFile=str(root / "key"))
    found = usages(call)
    assert found["keyed"]["slotsBusy"] == 1
    assert found["locked"]["slotsBusy"] is None
    assert {path for _, path, _ in answers.asked} == {"/llm/slots", "/slots"}


def test_a_pid_that_means_another_process_is_not_told_of(
    filling: Filling, controller: FakeController, call: Call, answers: Answers
) -> None:
    serve(filling, "chat", answers.serve())
    (row,) = filling.store.history().instances.values()
    assert row.identity is not None
    with filling.store.transaction():
        other = replace(row.identity, start_ticks=row.identity.start_ticks + 1)
        filling.store.save_instance(replace(row, identity=other))
    assert usages(call)["chat"] == {
        "cpuPercent": None,
        "memoryBytes": None,
        "gpuBytes": None,
        "tokensPerSecond": None,
        "slotsBusy": None,
        "slots": None,
        "requestsWaiting": None,
    }
    assert answers.asked == []


LISTENS = """
import socket, sys
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
print(listener.getsockname()[1], flush=True)
client = listener.accept()[0]
print("asked", flush=True)
"""


def test_a_stranger_on_the_port_is_not_asked(
    filling: Filling, controller: FakeController, call: Call, root: Path
) -> None:
    (root / "key").write_text("secret\n")
    with subprocess.Popen([sys.executable, "-c", LISTENS], stdout=subprocess.PIPE, text=True) as stranger:
        assert stranger.stdout is not None
        serve(filling, "chat", int(stranger.stdout.readline()), apiKeyFile=str(root / "key"))
        found = usages(call)["chat"]
        stranger.kill()
        assert stranger.stdout.read() == ""
    assert (found["memoryBytes"] > 0, found["slotsBusy"]) == (True, None)


class OneGpu:
    """A machine with a GPU of which this process takes 3 GiB."""

    are_there = True

    def memory(self) -> dict[int, int]:
        return {os.getpid(): 3 * 1024**3}


def test_the_table(
    filling: Filling, controller: FakeController, call: Call, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "Gpus", OneGpu)
    serve(filling, "chat", answers.serve())
    filling.stopped("idle")
    header, chat, idle, last = call("top", "--interval", "200ms").out.splitlines()
    assert header.split() == ["NAME", "PHASE", "CPU", "MEMORY", "GPU", "TOKENS/S", "SLOTS", "WAITING"]
    assert chat.split()[:2] == ["chat", "Ready"]
    assert "3.0 GiB" in chat
    assert chat.split()[-2:] == ["1/2", "-"]
    assert idle.split() == ["idle", "Stopped", *["-"] * 6]
    assert last.startswith("2 total, ")
    assert last.endswith(" tokens/s")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((), ["busy", "chat", "idle"]),
        (("--sort-by", "slots"), ["chat", "busy", "idle"]),
        (("-l", "tier=demo", "chat"), ["chat"]),
        (("-l", "tier=none"), []),
    ],
)
def test_which_and_in_what_order(
    filling: Filling,
    controller: FakeController,
    call: Call,
    answers: Answers,
    arguments: tuple[str, ...],
    names: list[str],
) -> None:
    filling.stopped("idle")
    serve(filling, "busy", answers.serve(), flags={"sleep-idle-seconds": 60})
    serve(filling, "chat", answers.serve())
    assert list(usages(call, *arguments)) == names


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("chatt",), 1, "no server 'chatt', did you mean 'chat'?"),
        (("--interval", "1ms"), 2, "must be 100ms or longer"),
        (("-l", "tier=none"), 0, "see which there are with: reconciler get servers"),
    ],
)
def test_what_cannot_be_shown(
    filling: Filling, controller: FakeController, call: Call, arguments: tuple[str, ...], code: int, words: str
) -> None:
    filling.ready("chat")
    called = call("top", *arguments)
    assert (called.code, called.out) == (code, "")
    assert words in called.err


def test_a_terminal_is_redrawn_until_it_is_enough(
    filling: Filling, controller: FakeController, root: Path, answers: Answers
) -> None:
    for number in range(30):
        filling.stopped(f"idle-with-a-rather-long-name-{number}")
    serve(filling, "chat", answers.serve())
    terminal = Terminal(root, "top", "--interval", "200ms", "--sort-by", "tokens")
    eventually(lambda: terminal.text.count("31 total") > 2)
    assert terminal.interrupt() == 130
    assert "\x1b[32mReady" in terminal.text
    assert "11 more" in terminal.text
    assert "Traceback" not in terminal.text
    lines = [line for part in plain(terminal.text).split("\n") for line in part.split("\r")]
    assert max(map(cells, lines)) <= WIDTH
