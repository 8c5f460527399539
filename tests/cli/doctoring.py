"""What tests of `doctor` share: its findings by check, and other users and programs to provoke them with."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Call

NOBODY = 65534
Found = Callable[..., list[dict[str, str]]]


def findings(call: Call, name: str, *arguments: str) -> list[dict[str, str]]:
    """What one check finds."""
    called = call("doctor", "-o", "json", *arguments)
    items: list[dict[str, str]] = json.loads(called.out)["items"]
    assert called.code == int(any(item["status"] == "fail" for item in items))
    assert all(item["remedy"] for item in items if item["status"] != "ok"), items
    return [item for item in items if item["name"] == name]


def worst(call: Call, name: str, *arguments: str) -> tuple[str, str, str]:
    """Status, message and remedy of the worst that it finds."""
    found = sorted(findings(call, name, *arguments), key=lambda one: ["fail", "warn", "ok"].index(one["status"]))
    return found[0]["status"], found[0]["message"], found[0]["remedy"]


def worst_for_nobody(call: Call, name: str) -> tuple[str, str, str]:
    """The same for a user who owns nothing. All is imported before: that one might not read it."""
    call("doctor")
    with as_nobody():
        return worst(call, name)


def manifest(name: str, **spec: Any) -> str:
    """A manifest; JSON is YAML."""
    head = {"apiVersion": "llama.reconciler/v1alpha1", "kind": "LlamaServer", "metadata": {"name": name}}
    return json.dumps({**head, "spec": {"model": "tiny.gguf", **spec}})


def declare(root: Path, name: str, **spec: Any) -> Path:
    """Write a manifest, and make the folders that a machine in order has."""
    for folder in ("manifests", "models"):
        (root / folder).mkdir(exist_ok=True)
    file = root / "manifests" / f"{name}.yaml"
    file.write_text(manifest(name, **spec))
    return file


def program(path: Path, script: str) -> Path:
    """A shell script that may be run."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each check time: a machine that is busy with other tests is slow at random."""
    monkeypatch.setattr("reconciler.cli.doctoring.PATIENCE", 60.0)
    monkeypatch.setattr("reconciler.cli.doctoring_scene.PATIENCE", 60.0)
    monkeypatch.setattr("reconciler.cli.doctoring_scene.HALF", 30.0)
    monkeypatch.setattr("reconciler.cli.doctoring_binary.LISTING", 30.0)
    monkeypatch.setattr("reconciler.cli.doctoring_binary.SECONDS", 30.0)
    monkeypatch.setattr("reconciler.cli.doctoring_program.ask.__defaults__", (30.0,))


@contextmanager
def everybody(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder that every user may enter; pytest's own are root's alone."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("XDG_CACHE_HOME", f"{folder}/cache")
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


@contextmanager
def as_nobody(user: int = NOBODY) -> Iterator[None]:
    """As a user who owns nothing; who is not root is such a one for what is closed to its owner."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
