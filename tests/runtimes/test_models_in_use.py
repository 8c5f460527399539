"""Which file a server has in use as its model, and which service started it, whatever its command line says."""

import os
import sys
import time
from pathlib import Path

import pytest

from reconciler.runtimes.models_in_use import Mapped, mapped_models, model_in_use
from reconciler.runtimes.units import service_of, unit_of
from tests.runtimes.conftest import Spawn

MAP = """
import mmap, sys, time
file = open(sys.argv[1])
mapped = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
print(flush=True)
time.sleep(600)
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "a.gguf"
    path.write_text("GGUF")
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_models_in_memory_are_seen_by_the_names_they_have_now(spawn: Spawn, model: Path) -> None:
    child = spawn(sys.executable, "-c", MAP, str(model))
    assert child.stdout is not None
    child.stdout.readline()
    inode = model.stat().st_ino
    assert mapped_models(child.pid) == (Mapped(inode, str(model)),)
    moved = model.rename(model.with_name("my b.gguf"))
    assert mapped_models(child.pid) == (Mapped(inode, str(moved)),)
    moved.unlink()
    assert mapped_models(child.pid) == (Mapped(inode, f"{moved} (deleted)"),)
    assert mapped_models(2**22 + 1) == ()


def test_the_file_in_memory_counts_and_not_its_name(model: Path) -> None:
    mapped = (Mapped(model.stat().st_ino, str(model)),)
    link = model.with_name("current.gguf")
    link.symlink_to(model)
    assert model_in_use(str(link), mapped, 0.0) == str(model)
    other = model.with_name("b.gguf")
    other.write_text("GGUF")
    link.unlink()
    link.symlink_to(other)
    assert model_in_use(str(link), mapped, 0.0) == str(model)
    model.unlink()
    assert model_in_use(str(model), mapped, 0.0) == str(model)


def aged(*paths: Path) -> float:
    """A moment after these were made, by the clock of files."""
    return max(os.lstat(path).st_ctime for path in paths) + 0.001


@pytest.mark.parametrize("change", ["none", "file", "link", "folder's link", "relative link", "gone"])
def test_without_it_in_memory_a_model_that_changed_since_is_unknown(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr("reconciler.runtimes.models_in_use.SLACK", 0.0)
    (tmp_path / "release").symlink_to(tmp_path)
    link = tmp_path / "current.gguf"
    link.symlink_to("release/a.gguf")
    path, since = str(tmp_path / "release" / "current.gguf"), aged(model, link, tmp_path / "release")
    time.sleep(0.02)  # the clock of files is coarse
    if change == "file":
        os.utime(model, (0, 0))
    elif change == "gone":
        model.unlink()
    elif change != "none":
        changed = {"link": link, "relative link": link, "folder's link": tmp_path / "release"}[change]
        target = changed.readlink()
        changed.unlink()
        changed.symlink_to(target)
    assert model_in_use(path, (), since) == (str(model) if change == "none" else "")


# ---------------------------------------------------------------- services


@pytest.mark.parametrize(
    ("groups", "service"),
    [
        ("0::/system.slice/llama.service\n", "llama.service"),
        ("12:cpu:/x\n1:name=systemd:/system.slice/llama@1.service\n0::/\n", "llama@1.service"),
        ("0::/user.slice/user-1.slice/user@1.service/app.slice/llama.service\n", "--user llama.service"),
        ("0::/user.slice/user-1.slice/user@1.service/app.slice/vte-1.scope\n", ""),
        ("0::/user.slice/user-1.slice/session-3.scope\n", ""),
        ("0::/system.slice/a b;c.service\n", ""),
        ("0::/\n", ""),
        ("", ""),
    ],
)
def test_a_service_is_known_by_the_control_group(groups: str, service: str) -> None:
    assert service_of(groups) == service


def test_who_was_not_started_by_a_service_itself_belongs_to_none() -> None:
    pid, parent = os.getpid(), os.getppid()
    assert unit_of(pid, parent, {}) == ""
    assert unit_of(pid, parent, {"SYSTEMD_EXEC_PID": "1"}) == ""
    assert unit_of(2**22 + 1, parent, {"SYSTEMD_EXEC_PID": str(parent)}) == ""
