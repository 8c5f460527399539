import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from reconciler.demo import banner as module
from reconciler.demo.banner import banner, command_path, in_background, show_when_settled


def server(name: str, phase: str = "Ready", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"model": "tiny.gguf", **spec},
        "status": {"phase": phase, "instance": {"pid": 4711, "port": 8001}},
    }


def test_it_tells_where_servers_answer_and_what_to_try() -> None:
    text = banner([server("chat"), server("embedder", flags={"embeddings": True})], ".venv/bin/reconciler")
    assert "chat       answers at http://127.0.0.1:8001\n" in text
    assert """  curl -s http://127.0.0.1:8001/v1/chat/completions -d '{"messages": [{"role": "user",""" in text
    assert """  curl -s http://127.0.0.1:8001/v1/embeddings -d '{"input": "Hello"}'\n""" in text
    assert "  kill -9 4711   # chat is back at once\n" in text
    assert "To stop them: .venv/bin/reconciler stop --all\n" in text


@pytest.mark.parametrize(
    ("phase", "line"),
    [
        ("Stopped", "chat       Stopped: rec start chat"),
        ("Blocked", "chat       Blocked: rec describe server chat"),
        ("Starting", "chat       Starting: rec describe server chat"),
    ],
)
def test_a_server_that_is_not_ready_is_told_with_what_to_do(phase: str, line: str) -> None:
    item = server("chat", phase)
    item["status"]["instance"] = None
    assert line in banner([item], "rec").splitlines()


def test_no_server_at_all_is_told() -> None:
    assert "no server yet; look again: rec get servers" in banner([], "rec")


def test_an_ipv6_host_is_bracketed() -> None:
    assert "http://[::1]:8001" in banner([server("chat", host="::1")], "rec")


def test_the_command_is_short_inside_the_checkout_and_absolute_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    monkeypatch.chdir(tmp_path)
    assert command_path() == ".venv/bin/reconciler"
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "executable", "/opt/venv/bin/python")
    monkeypatch.chdir(tmp_path)
    assert command_path() == "/opt/venv/bin/reconciler"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.0)
    monkeypatch.setattr(module, "_PAUSE", 0.0)


def answers(monkeypatch: pytest.MonkeyPatch, *looks: list[dict[str, Any]]) -> list[int]:
    left = list(looks)
    monkeypatch.setattr(module, "_servers", lambda: left.pop(0))
    return left  # type: ignore[return-value]


def blocked(name: str, reason: str) -> dict[str, Any]:
    item = server(name, "Blocked")
    item["status"]["conditions"] = [{"type": "Ready", "status": "False", "reason": reason}]
    return item


def test_one_on_a_fallback_step_says_so() -> None:
    reader = server("reader")
    reader["status"]["fallback"] = {"step": 1, "told": "ctx 2048"}
    told = "answers at http://127.0.0.1:8001, with ctx 2048: .venv/bin/reconciler describe server reader\n"
    assert told in banner([reader], ".venv/bin/reconciler")
    reader["status"]["fallback"]["step"] = 0
    assert "answers at http://127.0.0.1:8001\n" in banner([reader], ".venv/bin/reconciler")


@pytest.mark.parametrize(
    "passing",
    [blocked("a", "ModelGrowing"), server("a", "Pending"), server("a", "Unknown"), server("a", "BackOff")],
    ids=lambda item: item["status"]["phase"],
)
def test_it_waits_for_what_passes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], passing: dict[str, Any]
) -> None:
    left = answers(monkeypatch, [passing], [passing], [server("a")], [server("a")])
    show_when_settled(os.getpid())
    assert len(left) == 1
    assert "a          answers at" in capsys.readouterr().out


def test_what_needs_somebody_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, [blocked("a", "ModelMissing")])
    show_when_settled(os.getpid())
    assert "a          Blocked: " in capsys.readouterr().out


def test_it_waits_until_every_server_is_settled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [server("a"), server("b")]
    left = answers(monkeypatch, [], [server("a"), server("b", "Starting")], both, both)
    show_when_settled(os.getpid())
    assert len(left) == 1
    assert capsys.readouterr().out.count("answers at") == 2


def test_after_its_patience_it_tells_what_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "PATIENCE", -1.0)
    answers(monkeypatch, [server("a", "Starting")])
    show_when_settled(os.getpid())
    assert "a          Starting: " in capsys.readouterr().out


def test_it_is_silent_when_the_controller_has_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    answers(monkeypatch)
    show_when_settled(child)
    assert capsys.readouterr().out == ""


def test_background_work_is_done_by_a_process_that_is_no_child(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def work() -> None:
        mark.with_suffix(".part").write_text(str(os.getppid()))
        mark.with_suffix(".part").rename(mark)

    in_background(work)
    deadline = time.monotonic() + 20
    while not mark.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert int(mark.read_text()) != os.getpid()
