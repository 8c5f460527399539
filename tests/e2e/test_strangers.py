"""llama-servers that somebody started by hand, servers of other installations, and programs that get in the way."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from reconciler.runtimes.models_in_use import mapped_models
from tests.e2e.installation import Installation, installed

pytestmark = pytest.mark.real
ByHand = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def by_hand(installation: Installation) -> Iterator[ByHand]:
    """Starts llama-servers as people do: from the models' folder, with a path relative to it."""
    children = []

    def start(port: int, *arguments: str, ctx: int = 128, answers: bool = True) -> "subprocess.Popen[bytes]":
        command = [installation.environ["LLAMA_SERVER"], "-m", "tiny.gguf", "-c", str(ctx), "-np", "1", "-t", "1"]
        with (installation.root / "by-hand.log").open("wb") as log:
            child = subprocess.Popen(
                [*command, "--no-warmup", "--port", str(port), *arguments],
                cwd=installation.models,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        children.append(child)
        installation.wait_for("the one by hand to listen", lambda: not answers or is_open(port))
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def is_ready(installation: Installation, name: str) -> bool:
    return installation.phases().get(name) == "Ready" and bool(installation.conditions(name)["Ready"]["status"])


def message(installation: Installation, name: str = "chat") -> str:
    return str(installation.query("select message from servers where name = ?", name)[0][0])


def wait_blocked(installation: Installation, words: str) -> None:
    installation.wait_for(
        f"Blocked with {words!r}",
        lambda: installation.phases().get("chat") == "Blocked" and words in message(installation),
    )


# ---------------------------------------------------------------- taken over


def test_one_started_by_hand_is_taken_over_and_kept_over_restarts_of_the_controller(
    installation: Installation, by_hand: ByHand, free_port: int
) -> None:
    child = by_hand(free_port, "--api-key", "hunter2")
    installation.declare("chat", port=free_port)
    installation.start()
    installation.wait_for("chat Ready", lambda: is_ready(installation, "chat"))
    (row,) = installation.instances("chat")
    assert (row["adopted"], row["trigger"], row["identity"]["pid"]) == (True, "Adopted", child.pid)
    told = installation.conditions("chat")["Adopted"]["message"]
    assert f"pid {child.pid} (llama-server" in told
    assert installation.pids() == {}
    for _ in range(2):
        installation.end(signal.SIGKILL)
        installation.start()
        installation.wait_for("the new controller", installation.is_controlled)
        installation.reconcile()
    assert len(installation.instances("chat")) == 1
    assert "exit 1" not in installation.cli("get", "restarts", "chat")
    written = [installation.query(f"select * from {table}") for table in ("instances", "servers", "events")]
    assert "hunter2" not in f"{written}{installation.log()}"
    said = installation.cli("logs", "chat", code=1)
    assert f"was taken over as pid {child.pid}" in said
    assert "Adopted" in installation.cli("describe", "server", "chat")
    assert child.poll() is None


def test_it_is_replaced_at_the_next_change_and_only_that_process_is_ended(
    installation: Installation, by_hand: ByHand, free_port: int
) -> None:
    child = by_hand(free_port)
    installation.declare("chat", port=free_port)
    installation.start()
    installation.wait_for("chat Ready", lambda: is_ready(installation, "chat"))
    installation.declare("chat", port=free_port, ctx=256)
    child.wait(30)
    pids = installation.wait_ready("chat")
    first, second = installation.instances("chat")
    assert (first["stop_reason"], second["identity"]["pid"]) == ("SpecChanged", pids["chat"])
    assert "Adopted" not in installation.conditions("chat")


def test_when_it_dies_it_is_started_as_declared(installation: Installation, by_hand: ByHand, free_port: int) -> None:
    child = by_hand(free_port)
    installation.declare("chat", port=free_port)
    installation.start()
    installation.wait_for("chat Ready", lambda: is_ready(installation, "chat"))
    child.kill()
    child.wait()
    installation.wait_ready("chat")
    assert [row["trigger"] for row in installation.instances("chat")] == ["Adopted", "Crashed"]


def test_without_its_row_it_is_adopted_anew(installation: Installation, by_hand: ByHand, free_port: int) -> None:
    child = by_hand(free_port)
    installation.declare("chat", port=free_port)
    installation.start()
    installation.wait_for("chat Ready", lambda: is_ready(installation, "chat"))
    installation.end()
    for file in installation.state.glob("state.db*"):
        file.unlink()
    installation.start()
    installation.wait_for("chat Ready", lambda: is_ready(installation, "chat"))
    (row,) = installation.instances("chat")
    assert (row["adopted"], row["identity"]["pid"]) == (True, child.pid)


@pytest.mark.parametrize("runs", [True, False], ids=["with a controller", "without one"])
def test_one_that_is_not_as_declared_is_taken_over_on_request(
    installation: Installation, by_hand: ByHand, free_port: int, *, runs: bool
) -> None:
    child = by_hand(free_port, ctx=256)
    installation.declare("chat", port=free_port)
    installation.start()
    ways = f"take it over as it is with: reconciler adopt chat, or end it with: kill {child.pid}"
    wait_blocked(installation, f"a llama-server with ctx 256, declared 128; {ways}")
    assert installation.instances("chat") == []
    if not runs:
        installation.end()
    said = installation.cli("adopt", "chat")
    assert "Ready in" in said
    if not runs:
        installation.start()
        installation.wait_for("the controller", installation.is_controlled)
    assert message(installation) == "adopted, with ctx 256, declared 128"
    assert "ctx: 256 (declared: 128)" in installation.cli("describe", "server", "chat")
    assert installation.query("select kind from requests where done_at is null") == []
    assert child.poll() is None
    installation.cli("restart", "chat")
    child.wait(30)
    assert installation.wait_ready("chat")["chat"] != child.pid


def test_with_never_nothing_is_taken_over_unasked(installation: Installation, by_hand: ByHand, free_port: int) -> None:
    child = by_hand(free_port)
    installation.declare("chat", port=free_port, adopt="Never")
    installation.start()
    wait_blocked(installation, "a llama-server as declared, but spec.adopt is Never")
    child.terminate()
    child.wait()
    installation.wait_ready("chat")


def test_stopping_and_adopting_take_each_other_back(
    installation: Installation, by_hand: ByHand, free_port: int
) -> None:
    child = by_hand(free_port, ctx=256)
    installation.declare("chat", port=free_port)
    installation.start()
    wait_blocked(installation, "a llama-server with ctx 256, declared 128")
    installation.cli("stop", "chat")
    assert installation.phases() == {"chat": "Stopped"}
    installation.cli("adopt", "chat")
    assert installation.query("select kind from requests where done_at is null") == []
    installation.cli("stop", "chat")
    assert child.wait(30) == 0
    assert installation.phases() == {"chat": "Stopped"}


def test_a_request_for_one_that_runs_already_says_so(installation: Installation) -> None:
    installation.declare("chat")
    installation.start()
    pids = installation.wait_ready("chat")
    assert "nothing was taken over" in installation.cli("adopt", "chat", code=1)
    assert installation.wait_ready("chat") == pids


# ---------------------------------------------------------------- not to be taken over


def test_a_stopped_one_is_told_as_silent_and_left_alone(
    installation: Installation, by_hand: ByHand, free_port: int
) -> None:
    child = by_hand(free_port)
    child.send_signal(signal.SIGSTOP)
    installation.declare("chat", port=free_port)
    installation.start()
    wait_blocked(installation, "no llama-server answers there")
    said = installation.cli("adopt", "chat", code=1)
    assert "Blocked" in said
    assert installation.instances("chat") == []
    child.send_signal(signal.SIGCONT)
    installation.wait_for("chat Ready", lambda: is_ready(installation, "chat"))
    assert installation.instances("chat")[0]["identity"]["pid"] == child.pid


def test_another_installations_server_is_told_with_its_folder(
    installation: Installation, tmp_path: Path, tiny_model: Path, free_port: int
) -> None:
    (tmp_path / "the other").mkdir()
    ports = range(installation.ports.start, installation.ports.stop)
    with installed(tmp_path / "the other", installation.environ["LLAMA_SERVER"], tiny_model, ports) as other:
        other.declare("coder", port=free_port)
        other.start()
        pids = other.wait_ready("coder")
        installation.declare("chat", port=free_port)
        installation.start()
        wait_blocked(installation, "it is server 'coder' of the installation in")
        words = f"stop it with: reconciler --state '{other.state}' stop coder"
        assert words in message(installation)
        assert f"pid {pids['coder']} " in message(installation)
        installation.cli("adopt", "chat", code=1)
        assert other.wait_ready("coder") == pids
        assert "AdoptRefused" in [reason for reason, _ in installation.events("chat")]
        installation.cli("--state", str(other.state), "stop", "coder")
        installation.wait_ready("chat")


class Liar(BaseHTTPRequestHandler):
    """Answers as llama-server does, whatever it is asked."""

    server_version, sys_version = "llama.cpp", ""

    def do_GET(self) -> None:
        body = json.dumps({"status": "ok"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def lying(port: int) -> Iterator[None]:
    """A program that is no llama-server and says that it is; it lets others listen on its port, too."""
    server = HTTPServer(("127.0.0.1", port), Liar, bind_and_activate=False)
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.server_bind()
    server.server_activate()
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_stranger_that_answers_200_is_never_ready(installation: Installation, free_port: int) -> None:
    with lying(free_port):
        installation.declare("chat", port=free_port)
        installation.start()
        who = "another program" if installation.is_portable else f"pid {os.getpid()} "
        wait_blocked(installation, f"port {free_port} is held by {who}")
        assert installation.is_portable or "end it with: kill" in message(installation)
        installation.cli("adopt", "chat", code=1)
        assert installation.instances("chat") == []
    installation.wait_ready("chat")


@pytest.mark.skipif(sys.platform != "linux", reason="needs to see whose a socket is")
def test_one_that_joins_the_port_of_a_ready_server_is_noticed(installation: Installation, free_port: int) -> None:
    if installation.is_portable:
        pytest.skip("without /proc nobody can tell whose a socket is")
    installation.declare("chat", port=free_port, flags={"warmup": False, "reuse-port": True})
    installation.start(RECONCILER_TICK="1")
    pids = installation.wait_ready("chat")
    with lying(free_port):
        installation.wait_phase("chat", "Unhealthy")
        assert f"pid {os.getpid()} " in message(installation)
        assert not installation.conditions("chat")["Ready"]["status"]
        assert installation.conditions("chat")["Ready"]["reason"] == "PortShared"
    assert installation.wait_ready("chat") == pids
    assert [reason for reason, _ in installation.events("chat")].count("PortShared") == 1


# ---------------------------------------------------------------- one process, two installations


def test_what_one_installation_took_over_another_one_leaves_alone(
    installation: Installation, by_hand: ByHand, tmp_path: Path, tiny_model: Path, free_port: int
) -> None:
    child = by_hand(free_port)
    (tmp_path / "other").mkdir()
    ports = range(installation.ports.start, installation.ports.stop)
    with installed(tmp_path / "other", installation.environ["LLAMA_SERVER"], tiny_model, ports) as other:
        other.declare("talk", port=free_port, model=str(installation.models / "tiny.gguf"))
        other.start()
        other.wait_for("talk Ready", lambda: is_ready(other, "talk"))
        other.end()
        installation.declare("chat", port=free_port)
        installation.start()
        words = f"it is server 'talk' of the installation in {other.state}; stop it with: reconciler --state"
        wait_blocked(installation, words)
        installation.cli("adopt", "chat", code=1)
        assert installation.instances("chat") == []
        assert child.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs to see what a process has in memory")
def test_the_model_that_it_runs_counts_and_not_where_its_link_leads_by_now(
    installation: Installation, by_hand: ByHand, free_port: int
) -> None:
    link, other = installation.models / "current.gguf", installation.models / "other.gguf"
    link.symlink_to("tiny.gguf")
    child = by_hand(free_port, "-m", "current.gguf")
    installation.wait_for("the model in memory", lambda: bool(mapped_models(child.pid)))
    other.write_bytes((installation.models / "tiny.gguf").read_bytes())
    link.unlink()
    link.symlink_to("other.gguf")
    installation.declare("chat", port=free_port, model="other.gguf")
    installation.start()
    wait_blocked(installation, f"model {installation.models / 'tiny.gguf'}, declared {other}")


@pytest.mark.skipif(sys.platform != "linux", reason="needs to see whose a socket is")
def test_who_comes_on_the_port_of_a_stopped_server_is_told(
    installation: Installation, by_hand: ByHand, free_port: int
) -> None:
    if installation.is_portable:
        pytest.skip("without /proc nobody can tell whose a socket is")
    installation.declare("chat", port=free_port, suspend=True)
    installation.start(RECONCILER_TICK="1")
    installation.wait_phase("chat", "Stopped")
    child = by_hand(free_port)
    words = f"pid {child.pid} "
    installation.wait_for("the stranger to be told", lambda: words in message(installation))
    assert f"listens on its port {free_port} meanwhile; end that with: kill {child.pid}" in message(installation)
    assert installation.phases() == {"chat": "Stopped"}
    assert installation.instances("chat") == []
