"""Several commands, or somebody else, at the same files at once."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler.manifests import changing
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import Filling
from tests.cli.test_diff_and_validate import answer, change, manifest
from tests.cli.test_set import TEXT


@pytest.fixture
def coder(root: Path) -> Path:
    path = root / "manifests" / "coder.yaml"
    path.parent.mkdir()
    path.write_text(TEXT)
    return path


def test_a_file_that_changes_all_the_time_is_left(
    filling: Filling, controller: FakeController, coder: Path, call: Call
) -> None:
    filling.ready("coder", ctx=4096)

    def meanwhile(_body: Any) -> tuple[int, Any]:
        coder.write_text(f"{coder.read_text()}# mine\n")
        return 200, {"changes": [], "problems": [], "folderProblem": ""}

    controller.on("/preview", meanwhile)
    code, _, err = call("set", "coder", "ctx=8192")
    assert code == 1
    assert err.startswith("error: manifests/coder.yaml has changed meanwhile; nothing was changed\n")
    assert coder.read_text().replace("# mine\n", "") == TEXT


def test_who_is_overtaken_makes_the_edit_anew(
    filling: Filling, controller: FakeController, coder: Path, call: Call
) -> None:
    filling.ready("coder", ctx=4096)
    told = [change("coder", "restart", f"{what} changed") for what in ("ctx", "ctx, flags.mlock")]

    def meanwhile(_body: Any) -> tuple[int, Any]:
        if len(told) == 2:
            coder.write_text(TEXT.replace("jinja: true", "jinja: true\n    mlock: true"))
        return answer(told.pop(0))(_body)  # type: ignore[no-any-return]

    controller.on("/preview", meanwhile)
    code, out, err = call("set", "coder", "ctx=8192")
    assert (code, err) == (0, "")
    first, second, *_ = out.splitlines()
    assert (first, second) == ("~ coder  restart: ctx changed", "~ coder  restart: ctx, flags.mlock changed")
    assert coder.read_text() == TEXT.replace("ctx: 4096", "ctx: 8192").replace("true", "true\n    mlock: true")


def test_between_looking_and_writing_no_other_command_writes(
    coder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = changing.write

    def held(path: Path, before: bytes, after: str | None) -> None:
        folder = os.open(coder.parent, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(folder)
        write(path, before, after)

    monkeypatch.setattr(changing, "write", held)
    assert call("set", "coder", "ctx=8192").code == 0
    assert "ctx: 8192" in coder.read_text()


def test_commands_at_the_same_time_lose_nothing(coder: Path, call: Call) -> None:
    program = [sys.executable, "-m", "reconciler", "set", "coder"]
    running = [
        subprocess.Popen(
            [*program, f"metadata.labels.of-{number}=x"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for number in range(4)
    ]
    ended = [(each.communicate(timeout=60)[1], each.returncode) for each in running]
    assert [code for _, code in ended] == [0] * 4, ended
    assert all(f"    of-{number}: x\n" in coder.read_text() for number in range(4))


def test_two_that_create_a_server_make_one(
    filling: Filling, controller: FakeController, root: Path, call: Call
) -> None:
    """Whoever writes first has it, in whatever file."""

    def meanwhile(body: Any) -> tuple[int, Any]:
        (root / "manifests").mkdir(exist_ok=True)
        (root / "manifests" / "mine.yaml").write_text(manifest("coder"))
        return answer()(body)  # type: ignore[no-any-return]

    controller.on("/preview", meanwhile)
    code, _, err = call("create", "server", "coder", "--model", "x")
    assert code == 1
    assert err.startswith("error: server 'coder' is there by now: manifests/mine.yaml; nothing was changed\nhint: ")
    assert [path.name for path in (root / "manifests").iterdir()] == ["mine.yaml"]


def test_of_two_files_that_are_to_change_none_does_where_one_cannot(
    coder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (coder.parent / "other.yaml").write_text(manifest("other", "ctx: 1"))
    coder.chmod(0o640)
    write = changing.write

    def refuse(path: Path, before: bytes, after: str | None) -> None:
        if path.name == "other.yaml":
            raise OSError(1, "Operation not permitted", str(path))
        write(path, before, after)

    monkeypatch.setattr(changing, "write", refuse)
    code, _, err = call("suspend", "coder", "other")
    assert code == 1
    assert "error: manifests/other.yaml cannot be written: Operation not permitted; nothing was changed\n" in err
    assert (coder.read_text(), coder.stat().st_mode & 0o777) == (TEXT, 0o640)


@pytest.mark.parametrize(("folder", "is_told"), [("..2024", True), (".worktrees/1a2b", True), ("else", False)])
def test_a_file_that_another_program_publishes_is_told(root: Path, call: Call, folder: str, is_told: bool) -> None:
    for made in ("manifests", f"volume/{folder}"):
        (root / made).mkdir(parents=True)
    (root / "volume" / folder / "coder.yaml").write_text(TEXT)
    (root / "manifests" / "coder.yaml").symlink_to(f"../volume/{folder}/coder.yaml")
    err = call("set", "coder", "ctx=8192").err
    assert ("warning: manifests/coder.yaml leads to " in err) == is_told
    assert "ctx: 8192" in (root / "volume" / folder / "coder.yaml").read_text()
