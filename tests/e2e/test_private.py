"""The state is its owner's alone, and what strangers wrote stays text."""

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.installation import Installation

pytestmark = pytest.mark.real
EVIL = "\x1b]0;owned\x07\x9b2J\u202e"


@contextmanager
def open_to_all() -> Iterator[None]:
    """The umask of somebody careless."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def too_open(state: Path) -> dict[str, str]:
    return {str(path): oct(path.lstat().st_mode) for path in (state, *state.rglob("*")) if path.lstat().st_mode & 0o077}


def commands(text: str) -> list[str]:
    return [one for one in text if not one.isprintable() and one != "\n"]


def wait_for_line(installation: Installation, log: Path, word: str) -> None:
    installation.wait_for(f"{word} in the log", lambda: word in log.read_text())


def line_of(pid: int, file: str, name: str) -> list[str]:
    text = Path(f"/proc/{pid}/{file}").read_text()
    return next(line for line in text.splitlines() if line.startswith(name)).split()


def test_nothing_in_the_state_is_open_to_others_and_servers_keep_the_umask(installation: Installation) -> None:
    installation.declare("chat")
    with open_to_all():
        installation.start()
    pid = installation.wait_ready("chat")["chat"]
    # A log in two halves, and a restarted server's.
    os.kill(pid, signal.SIGKILL)
    installation.wait_for("another instance", lambda: installation.pids().get("chat", pid) != pid)
    pid = installation.wait_ready("chat")["chat"]
    assert installation.controller is not None
    names = {path.name for path in installation.state.rglob("*")}
    assert names >= {"state.db", "state.db-wal", "installation", "lock", "holder.json", "controller.sock", "logs"}
    assert too_open(installation.state) == {}
    assert stat.S_IMODE((installation.root / "xdg" / "reconciler" / "installations.json").stat().st_mode) == 0o600
    if not installation.is_portable:
        assert line_of(installation.controller.pid, "status", "Umask:") == ["Umask:", "0077"]
        assert line_of(pid, "status", "Umask:") == ["Umask:", "0000"]
        assert line_of(pid, "limits", "Max open files")[3:5] == ["4096", "4096"]


def test_nor_with_the_controller_of_a_command(installation: Installation) -> None:
    installation.declare("chat")
    settings = installation.root / "reconciler.toml"
    settings.write_text(f"open_files = 777\n{settings.read_text()}")
    with open_to_all():
        installation.cli("apply")
    assert too_open(installation.state) == {}
    pid = installation.pids()["chat"]
    if not installation.is_portable:
        assert line_of(pid, "status", "Umask:") == ["Umask:", "0000"]
        assert line_of(pid, "limits", "Max open files")[3:5] == ["777", "777"]


def test_strangers_words_reach_the_log_as_text_and_stop_nothing(installation: Installation) -> None:
    """Names of files and folders, labels, a model's path, and a program that writes as it likes before it dies."""
    noisy = installation.root / "noisy"
    noisy.write_text("#!/bin/sh\nprintf '\\033]0;owned\\007\\033[2J\\302\\2332J \\377 error: evil\\n'\nexit 1\n")
    noisy.chmod(0o755)
    settings = installation.root / "reconciler.toml"
    settings.write_text(f"binaries = ['{noisy}']\n{settings.read_text()}")
    installation.declare("chat", labels={"tier": "\x9b2J\u202e"})
    installation.declare("noisy", binary=str(noisy), restart={"maxRestarts": 0})
    installation.declare("blocked", model="/none/\x9b2J\u202e.gguf")
    (installation.manifests / os.fsdecode(EVIL.encode() + b"\xff\n.yaml")).write_text("kind: [")
    for run, arguments in enumerate(((), ("--log-format", "json")), 1):
        installation.start(*arguments)
        installation.wait_for("a controller", installation.is_controlled)
        installation.wait_phase("chat", "Ready")
        installation.wait_phase("noisy", "Failed")
        installation.wait_phase("blocked", "Blocked")
        # A folder that cannot be read, with such a name: nothing may be concluded, and nothing fail.
        odd = installation.manifests / os.fsdecode(EVIL.encode() + b"\xff\n")
        odd.mkdir(exist_ok=True)
        (odd / "link").symlink_to("x" * 300)
        log = installation.root / f"controller-{run}.log"
        wait_for_line(installation, log, "ManifestsHeld")
        (odd / "link").unlink()
        installation.reconcile()
        installation.end()
        assert "the pass failed" not in log.read_text()
        assert commands(log.read_text()) == []
    assert "error: evil" in installation.log()
    assert commands("".join(message for _, message in installation.events())) == []
    assert commands(installation.cli("get", "servers") + installation.cli("describe", "server", "noisy")) == []
    assert sorted(path.name for path in (installation.state / "logs").iterdir()) == ["chat", "noisy"]
