"""Every step that touches the outside passes a boundary, and the fuse kills at the one it is set to."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.boundaries import Boundaries
from chaos.fuse import TRACE, Fuse


class Noted(Boundaries):
    """Tells what was passed."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.noted: list[str] = []

    def cross(self, name: str) -> None:
        self.passed.append(name)

    def note(self, what: str) -> None:
        self.noted.append(what)


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Noted:
    assert tmp_path.is_dir()  # made before anything is noted
    made = Noted()
    made.wrap(monkeypatch.setattr)
    return made


def around(*names: str) -> list[str]:
    return [f"{when} {name}" for name in names for when in ("before", "after")]


def test_files(noted: Noted, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    draft = tmp_path / "draft"
    draft.write_text("a")
    draft.read_text()
    draft.replace(tmp_path / "folder" / "done")
    (tmp_path / "folder" / "done").unlink()
    (tmp_path / "gone").unlink(missing_ok=True)
    os.close(os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT))
    expected = around("mkdir folder", "open draft", "replace done", "unlink done")
    assert noted.passed == [*expected, "before unlink gone", *around("create log")]


def test_commits(noted: Noted, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    connection.execute("create table t (a)")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("insert into t values (1)")
    connection.execute("COMMIT")
    connection.execute("BEGIN")
    connection.execute("insert into t values (2)")
    connection.execute("ROLLBACK")
    with connection:
        connection.execute("begin")
        connection.execute("insert into t values (3)")
    assert connection.execute("select a from t").fetchall() == [(1,), (3,)]
    connection.close()
    assert noted.passed == around("commit of create table t", "commit", "commit")


def test_spawns_and_signals(noted: Noted) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    pidfd = os.pidfd_open(child.pid)
    signal.pidfd_send_signal(pidfd, 0)
    signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    os.close(pidfd)
    assert child.wait() == -signal.SIGTERM
    assert child.stdin is not None
    child.stdin.close()
    (told,) = noted.noted
    assert told.startswith(f"SIGTERM {child.pid} ")
    assert noted.passed == around(f"spawn {Path(sys.executable).name}", told)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_the_fuse_kills_at_its_boundary(tmp_path: Path, number: int) -> None:
    fuse = Fuse(tmp_path / "fuse")
    fuse.arm(number)
    program = "import sys; from pathlib import Path; from chaos.fuse import Fused; fused = Fused(Path(sys.argv[1]))\n"
    program += "for step in range(4): fused.cross(str(step))"
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "fuse")], check=False)
    assert done.returncode == (-signal.SIGKILL if number <= 4 else 0)
    assert fuse.disarm() == min(number, 4)
    assert (tmp_path / "fuse").with_suffix(TRACE).read_text().split() == [str(step) for step in range(min(number, 4))]
