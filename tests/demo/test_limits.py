"""The demo's llama-server with little memory: what it is, and that the demo's settings allow it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from reconciler.demo.limits import PROGRAM, SETTINGS, allow, write_limited_program
from reconciler.settings import load_settings

ROOT = Path(__file__).parents[2]


def reader() -> dict[str, Any]:
    spec: dict[str, Any] = YAML(typ="safe").load(ROOT / "manifests" / "reader.yaml")["spec"]
    return spec


def test_it_runs_the_llama_server_in_use_whatever_its_path(tmp_path: Path) -> None:
    binary = tmp_path / "it's here" / "llama server"
    binary.parent.mkdir()
    binary.write_text('#!/bin/sh\nulimit -d\necho "$#: $1"\n')
    binary.chmod(0o755)
    program = write_limited_program(tmp_path, str(binary))
    done = subprocess.run([program, "two words"], capture_output=True, text=True, check=True)
    assert done.stdout == "300000\n1: two words\n"


def test_one_that_is_the_same_is_left_as_it_is(tmp_path: Path) -> None:
    program = write_limited_program(tmp_path, "/bin/true")
    before = program.stat()
    write_limited_program(tmp_path, "/bin/true")
    assert (program.stat().st_ino, program.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    write_limited_program(tmp_path, "/bin/false")
    assert "/bin/false" in program.read_text()


def test_the_settings_allow_it_unless_somebody_wrote_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Path(SETTINGS)
    assert allow(Path("models") / PROGRAM, settings)
    assert load_settings({}).binaries == (reader()["binary"],)
    settings.write_text("tick = 5\n")
    assert not allow(Path("models") / PROGRAM, settings)
    assert settings.read_text() == "tick = 5\n"
