import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest

from reconciler.cli.terminal import cells
from reconciler.core.model import Phase
from tests.cli.fake_controller import FakeController
from tests.cli.filling import Filling, eventually, status

WIDTH = 60


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, cwd: Path, *arguments: str, **environ: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
        kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", *arguments],
            cwd=cwd,
            env={**kept, "TERM": "xterm", **environ},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self._read = b""
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        try:
            while content := os.read(self._ours, 4096):
                self._read += content
        except OSError:
            # The other end was closed.
            pass

    @property
    def text(self) -> str:
        return self._read.decode(errors="replace")

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self) -> int:
        code = self.process.wait(10)
        self._thread.join(5)
        os.close(self._ours)
        return code


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_a_terminal_is_redrawn(filling: Filling, controller: FakeController, root: Path) -> None:
    filling.ready("coder")
    terminal = Terminal(root, "get", "servers", "-w")
    eventually(lambda: "1 total, 1 ready, 1 running" in terminal.text)
    filling.record("coder", status(Phase.UNHEALTHY, "3 probes failed: " + "x" * 100))
    eventually(lambda: "Unhealthy" in terminal.text)
    assert terminal.interrupt() == 130
    assert "\x1b[1A" in terminal.text
    assert "\x1b[32mReady" in terminal.text
    assert "\x1b[33mUnhealthy" in terminal.text
    assert "Traceback" not in terminal.text
    assert max(cells(line) for line in re.split(r"[\r\n]+", plain(terminal.text))) <= WIDTH


def test_what_is_longer_than_the_terminal_does_not_scroll(
    filling: Filling, controller: FakeController, root: Path
) -> None:
    for number in range(40):
        filling.document(f"n{number:02}")
        filling.record(f"n{number:02}", status(Phase.STOPPED))
    terminal = Terminal(root, "get", "servers", "-w")
    for phase in (Phase.STARTING, Phase.READY, Phase.FAILED):
        seen = terminal.text.count(phase.value)
        filling.record("n00", status(phase))
        eventually(lambda phase=phase, seen=seen: terminal.text.count(phase.value) > seen)
    assert terminal.interrupt() == 130
    screen = pyte.HistoryScreen(WIDTH, 24)
    pyte.Stream(screen).feed(terminal.text)
    shown = [line.rstrip() for line in screen.display]
    # One line for the prompt behind it.
    assert len(screen.history.top) <= 1
    assert shown[0].startswith("n00") or shown[1].startswith("n00")
    assert [line for line in shown if "more lines" in line] == ["20 more lines"]
    assert any(line.startswith("40 total") for line in shown)


@pytest.mark.parametrize(("environ", "painted"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colour_is_for_the_phase_of_those_who_want_it(
    filling: Filling, controller: FakeController, root: Path, environ: dict[str, str], painted: bool
) -> None:
    filling.ready("coder")
    terminal = Terminal(root, "get", "servers", **environ)
    assert terminal.end() == 0
    assert "Ready" in terminal.text
    assert re.findall(r"\x1b\[[0-9;]*m[^\x1b]*\x1b\[0m", terminal.text) == (["\x1b[32mReady\x1b[0m"] if painted else [])
    assert ("\x1b" in terminal.text) == painted


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_data_on_a_terminal_commands_nothing(filling: Filling, root: Path, output: str) -> None:
    filling.event("coder", "Crashed", "\u202e\x9b2J evil")
    terminal = Terminal(root, "get", "events", "-o", output)
    assert terminal.end() == 0
    assert "evil" in terminal.text
    assert not set(terminal.text) & {"\u202e", "\x9b", "\x1b"}


class Piped:
    """A command whose output a program reads."""

    def __init__(self, cwd: Path, *arguments: str) -> None:
        self._out = cwd / "out"
        with self._out.open("wb") as out:
            self.process = subprocess.Popen([sys.executable, "-m", "reconciler", *arguments], cwd=cwd, stdout=out)

    @property
    def lines(self) -> list[str]:
        return self._out.read_text().splitlines()


@pytest.fixture
def piped(filling: Filling, controller: FakeController, root: Path, request: pytest.FixtureRequest) -> Iterator[Piped]:
    filling.ready("coder")
    filling.ready("chat")
    running = Piped(root, "get", *request.param)
    yield running
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(10) == 130


@pytest.mark.parametrize("piped", [("servers", "-w")], indirect=True)
def test_a_program_gets_only_the_rows_that_changed(piped: Piped, filling: Filling) -> None:
    eventually(lambda: len(piped.lines) == 3)
    filling.record("coder", status(Phase.STOPPING))
    eventually(lambda: len(piped.lines) == 4)
    assert piped.lines[3].split()[:2] == ["coder", "Stopping"]
    with filling.store.transaction():
        filling.store.remove_document("chat")
        filling.store.forget("chat")
    eventually(lambda: len(piped.lines) == 5)
    assert piped.lines[4].split()[0] == "chat"
    assert piped.lines[4].endswith("removed")


@pytest.mark.parametrize("piped", [("servers", "-w", "-o", "json")], indirect=True)
def test_json_comes_line_by_line(piped: Piped, filling: Filling) -> None:
    eventually(lambda: len(piped.lines) == 2)
    filling.record("coder", status(Phase.STOPPING))
    eventually(lambda: len(piped.lines) == 3)
    assert [json.loads(line)["status"]["phase"] for line in piped.lines] == ["Ready", "Ready", "Stopping"]
    with filling.store.transaction():
        filling.store.remove_document("chat")
        filling.store.forget("chat")
    eventually(lambda: len(piped.lines) == 4)
    last = json.loads(piped.lines[3])
    assert (last["metadata"]["name"], last["gone"]) == ("chat", True)
    assert not any("gone" in json.loads(line) for line in piped.lines[:3])


@pytest.mark.parametrize("piped", [("events", "coder", "-w")], indirect=True)
def test_events_are_appended(piped: Piped, filling: Filling) -> None:
    eventually(lambda: len(piped.lines) == 1)
    filling.event("coder", "Started", "one")
    filling.event("chat", "Started", "not asked for")
    filling.event("coder", "Ready", "two")
    eventually(lambda: len(piped.lines) >= 3)
    assert [line.split()[-1] for line in piped.lines[1:]] == ["one", "two"]
