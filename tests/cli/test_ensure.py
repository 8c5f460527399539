"""`ensure`: how a server is asked, where it is, and what is not ensured."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.follow import Progress
from reconciler.cli.probing import Answer, Health, Subject, probe, subject_of
from reconciler.core.model import Effective, Now, Phase
from reconciler.core.spec import ServerSpec
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import BOOT, START, Filling, status

OK = (200, {"status": "ok"})
PROPS = (200, {"default_generation_settings": {"n_ctx": 1024}, "total_slots": 2, "model_path": "/m/a.gguf"})
MISSING = (404, {"error": {"message": "File Not Found"}})


def spec_of(**fields: Any) -> ServerSpec:
    return ServerSpec.model_validate({"model": "a.gguf", "probes": {"liveness": {"timeout": "300ms"}}, **fields})


# ---------------------------------------------------------------- where it is


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "http://127.0.0.1:8001"),
        ({"host": "0.0.0.0"}, "http://127.0.0.1:8001"),
        ({"host": "::"}, "http://[::1]:8001"),
        ({"host": "fe80::1%eth0"}, "http://[fe80::1%25eth0]:8001"),
        ({"host": "gpu.example"}, "http://gpu.example:8001"),
        ({"flags": {"api-prefix": "/llm"}}, "http://127.0.0.1:8001/llm"),
        ({"flags": {"ssl-key-file": "k", "ssl-cert-file": "c"}}, "https://127.0.0.1:8001"),
        ({"flags": {"ssl-key-file": "k"}}, "http://127.0.0.1:8001"),
    ],
)
def test_its_url(fields: dict[str, Any], url: str) -> None:
    assert Subject(spec_of(**fields), pid=1, port=8001).url == url


def test_what_runs_is_asked_and_not_what_is_declared() -> None:
    instance = {"pid": 7, "port": 9000, "trigger": "Adopted", "spec": {"model": "b.gguf", "host": "::1"}}
    item = {"spec": {"model": "a.gguf"}, "status": {"instance": instance}}
    subject = subject_of(item, {"argv": ["x", "--model", "/m/b.gguf", "--api-key-file"]})
    assert (subject.url, subject.taken_over) == ("http://[::1]:9000", True)
    assert (subject.argument("--model"), subject.argument("--api-key-file")) == ("/m/b.gguf", None)


# ---------------------------------------------------------------- how it is


@contextmanager
def answering(paths: dict[str, tuple[int, Any]], key: str = "", server: str = "llama.cpp") -> Iterator[int]:
    """A server of this very process; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, body = paths.get(self.path, MISSING)
            if key and self.path != "/health" and self.headers["Authorization"] != f"Bearer {key}":
                code, body = 401, {"error": {"message": "Invalid API Key"}}
            self.send_response_only(code)
            self.send_header("Server", server)
            content = json.dumps(body).encode()
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: Any) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield listener.server_address[1]
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


@pytest.mark.parametrize(
    ("paths", "answer"),
    [
        ({"/health": OK, "/props": PROPS}, Answer(Health.WELL, effective=Effective(1024, 2, model="/m/a.gguf"))),
        ({"/health": OK}, Answer(Health.WELL, effective=Effective(unverified="/props answers 404"))),
        ({"/health": (503, {"error": {"message": "Loading model"}})}, Answer(Health.LOADING, "Loading model")),
        ({"/health": (500, {})}, Answer(Health.UNWELL, "/health answers 500: without a reason")),
        (
            {"/health": OK, "/props": (200, {**PROPS[1], "model_path": "/m/b.gguf"})},
            Answer(Health.UNWELL, "the server on the port serves /m/b.gguf, not /m/a.gguf"),
        ),
    ],
    ids=["well", "untold", "loading", "failing", "another"],
)
def test_what_it_says(paths: dict[str, tuple[int, Any]], answer: Answer) -> None:
    with answering(paths) as port:
        assert probe(Subject(spec_of(), os.getpid(), port, ["x", "--model", "/m/a.gguf"]), 5.0) == answer


def test_one_that_was_taken_over_may_serve_what_it_likes() -> None:
    with answering({"/health": OK, "/props": PROPS}) as port:
        argv = ["x", "--model", "/m/other.gguf"]
        assert probe(Subject(spec_of(), os.getpid(), port, argv, taken_over=True), 5.0).health is Health.WELL


@pytest.mark.parametrize("prefix", ["", "/llm"])
def test_it_is_asked_with_its_key(tmp_path: Path, prefix: str) -> None:
    (tmp_path / "keys").write_text("\nsecret\nsecond\n")
    spec = spec_of(apiKeyFile="keys", flags={"api-prefix": prefix} if prefix else {})
    argv = ["x", "--api-key-file", str(tmp_path / "keys")]
    with answering({f"{prefix}/health": OK, f"{prefix}/props": PROPS}, key="secret") as port:
        assert probe(Subject(spec, os.getpid(), port, argv), 5.0).effective == Effective(1024, 2, model="/m/a.gguf")
        unknown = probe(Subject(spec, os.getpid(), port), 5.0)
    assert unknown.health is (Health.UNWELL if prefix else Health.WELL)
    assert unknown.effective.ctx_per_slot is None


def test_another_program_is_no_answer() -> None:
    with answering({"/health": OK}, server="nginx") as port:
        assert probe(Subject(spec_of(), os.getpid(), port), 5.0).health is Health.UNWELL
        found = probe(Subject(spec_of(), os.getppid(), port), 5.0)
    told = f"port {port} is answered by another process than pid {os.getppid()}"
    assert found == Answer(Health.UNWELL, told)


def test_nobody_is_there(free_port: int) -> None:
    found = probe(Subject(spec_of(), os.getpid(), free_port), 5.0)
    assert found.health is Health.UNWELL
    assert "refused" in found.why.lower() or "another process" in found.why


@pytest.mark.parametrize(("work", "health"), [("while True: pass", Health.BUSY), ("time.sleep(60)", Health.UNWELL)])
def test_one_that_says_nothing_is_busy_if_it_computes(work: str, health: Health) -> None:
    listen = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)"
    with subprocess.Popen([sys.executable, "-c", f"{listen}\n{work}"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            found = probe(Subject(spec_of(), process.pid, port), 5.0)
        finally:
            process.kill()
    assert found == Answer(health, "no answer within 300ms")


# ---------------------------------------------------------------- the command


def test_one_that_is_not_there(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.ready("coder")
    called = call("ensure", "codr")
    assert (called.code, called.out) == (1, "")
    assert called.err.startswith("error: no server 'codr', did you mean 'coder'?")


def test_one_that_the_profile_leaves_out_stays_so(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.document("coder")
    why = "the active profile 'day' leaves it out"
    filling.record("coder", status(Phase.STOPPED, why, "NotInProfile"))
    called = call("ensure", "coder", "--start")
    assert called.err.startswith(f"error: coder is not to run: {why}\n")
    assert (called.code, controller.asked) == (1, [])


@pytest.mark.parametrize(("start", "asked"), [((), []), (("--start",), [("/requests", "start")])])
def test_one_that_was_stopped_is_started_only_when_told_to(
    filling: Filling, controller: FakeController, call: Call, start: tuple[str, ...], asked: list[tuple[str, str]]
) -> None:
    filling.stopped("coder")
    with filling.store.transaction():
        filling.store.add_request("stop", "coder", Now(0, START, BOOT))
    called = call("ensure", "coder", *start, "--timeout", "300ms")
    assert (called.code, called.out) == (1, "")
    assert [(path, body["kind"]) for path, body in controller.asked][:1] == asked


def test_what_was_asked_for_meanwhile_is_not_asked_again(
    filling: Filling, controller: FakeController, call: Call
) -> None:
    filling.failed("coder")
    with filling.store.transaction():
        filling.store.add_request("restart", "coder", Now(0, START, BOOT))
    called = call("ensure", "coder", "--timeout", "300ms")
    assert called.code == 1
    assert called.err.startswith("coder  Failed: ")
    assert "; it is being restarted already\n" in called.err
    assert controller.asked == []


@pytest.fixture
def serving(filling: Filling, controller: FakeController, request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a server that serves the model that is given, and should serve tiny.gguf."""
    with answering({"/health": OK, "/props": (200, {**PROPS[1], "model_path": request.param})}) as port:
        filling.document("coder")
        filling.instance("coder", port=port, spec={"model": "tiny.gguf", "parallel": 2})
        filling.record("coder", status(Phase.READY))
        yield port


@pytest.mark.parametrize("serving", ["tiny.gguf"], indirect=True)
def test_only_its_url_is_printed(serving: int, controller: FakeController, call: Call) -> None:
    assert call("ensure", "coder", "--ctx", "2048") == (0, f"http://127.0.0.1:{serving}\n", "")
    assert json.loads(call("ensure", "coder", "-o", "json").out)["ctx"] == 2048
    called = call("ensure", "coder", "--ctx", "2049")
    assert (called.code, called.out) == (1, "")
    assert called.err.startswith("error: coder has a context of 2048, not of 2049\n")
    assert controller.asked == []


@pytest.mark.parametrize("serving", ["/m/other.gguf"], indirect=True)
def test_one_that_serves_another_model_is_restarted(serving: int, controller: FakeController, call: Call) -> None:
    called = call("ensure", "coder", "--timeout", "400ms")
    assert (called.code, called.out) == (1, "")
    assert "coder  the server on the port serves /m/other.gguf, not tiny.gguf; restarting it\n" in called.err
    assert controller.asked == [("/requests", {"kind": "restart", "servers": ["coder"]})]
    quiet = call("ensure", "coder", "--timeout", "400ms", "--url")
    assert [line.partition(":")[0] for line in quiet.err.splitlines()] == ["error", "hint"]


def test_the_time_is_over_while_it_loads(filling: Filling, controller: FakeController, call: Call) -> None:
    with answering({"/health": (503, {"error": {"message": "Loading model"}})}) as port:
        filling.document("coder")
        filling.instance("coder", port=port, spec={"model": "tiny.gguf"})
        filling.record("coder", status(Phase.READY))
        called = call("ensure", "coder", "--timeout", "400ms")
    assert (called.code, called.out) == (1, "")
    assert called.err == (
        "error: coder is not Ready within 400ms\nhint: see why with: reconciler describe server coder\n"
    )
    assert controller.asked == []


LESS = "asked for ctx 8192; running ctx 2048, for ContextTooLarge; go back with: reconciler restart coder --primary"


@pytest.mark.parametrize("serving", ["tiny.gguf"], indirect=True)
@pytest.mark.parametrize("words", [(), ("--url",), ("-o", "json")])
def test_that_something_else_answers_than_was_asked_for_is_told(
    filling: Filling, serving: int, controller: FakeController, call: Call, words: tuple[str, ...]
) -> None:
    filling.condition("coder", "Degraded", "ContextTooLarge", LESS, holds=True)
    called = call("ensure", "coder", *words)
    assert called.code == 0
    assert called.err.startswith(f"✗ coder  Degraded: ContextTooLarge\n  What happened   {LESS}\n")
    if words == ("-o", "json"):
        found = json.loads(called.out)
        assert found["degraded"] == {"reason": "ContextTooLarge", "message": LESS, "step": None}
        assert (found["requested"], found["model"], "asked" in found) == (None, "tiny.gguf", False)
    else:
        assert called.out == f"http://127.0.0.1:{serving}\n"
    assert call("ensure", "coder", *words, "-q").err == ""


@pytest.mark.parametrize("serving", ["tiny.gguf"], indirect=True)
def test_one_that_runs_as_asked_for_has_nothing_told(serving: int, controller: FakeController, call: Call) -> None:
    called = call("ensure", "coder", "-o", "json")
    assert (called.err, json.loads(called.out)["degraded"]) == ("", None)


def test_the_last_word_is_how_it_stands_when_the_time_is_over(
    filling: Filling, controller: FakeController, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    filling.document("coder")
    filling.record("coder", status(Phase.STARTING))
    gives_up = Progress.give_up

    def fails_just_then(*arguments: Any) -> None:
        gives_up(*arguments)
        filling.record("coder", status(Phase.FAILED, "gave up after 3 restarts"))

    monkeypatch.setattr("reconciler.cli.follow.Progress.give_up", fails_just_then)
    called = call("ensure", "coder", "--timeout", "300ms")
    assert called.code == 1
    assert "coder  not done within 300ms: Starting\n" in called.err
    assert "error: coder is not Ready within 300ms: Failed: gave up after 3 restarts\n" in called.err
