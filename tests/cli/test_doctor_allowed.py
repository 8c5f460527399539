"""Which programs `doctor` runs: none that only a manifest names; and that none outlives it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import doctoring, doctoring_program
from reconciler.cli.doctoring import ok, warn
from reconciler.cli.doctoring_allowed import programs, untried
from reconciler.cli.doctoring_scene import Declared, Scene
from reconciler.cli.invocation import Invocation
from reconciler.core.source import GIT, LOCAL
from reconciler.settings import Settings
from tests.cli.conftest import Call
from tests.cli.doctoring import be_patient, declare, findings, program
from tests.cli.filling import eventually


def counting(path: Path) -> Path:
    return program(path, f"echo x >> {path}.ran; echo 'version: 1 (x)'")


def ran(path: Path) -> bool:
    return Path(f"{path}.ran").exists()


def test_a_program_that_only_a_manifest_names_is_not_run(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_patient(monkeypatch)
    theirs, file = counting(root / "theirs"), root / "reconciler.toml"
    declare(root, "chat", binary=str(theirs))
    (one,) = [one for one in findings(call, "llama-server") if "server/chat" in one["message"]]
    assert (one["status"], ran(theirs)) == ("warn", False)
    assert "was not run: the settings do not allow it" in one["message"]
    assert f'add "{theirs}" to binaries in ' in one["remedy"]
    findings(call, "gpu")
    file.write_text('binaries = ["*"]\n')
    (one,) = [one for one in findings(call, "llama-server") if "server/chat" in one["message"]]
    assert (one["status"], ran(theirs)) == ("ok", False)
    assert one["message"].endswith("is not run before its manifest is accepted")
    file.write_text(f'binaries = ["{theirs}"]\n')
    findings(call, "llama-server")
    assert ran(theirs)


class Told(Scene):
    """A scene whose servers are told."""

    told: Sequence[Declared] = ()

    @property
    def servers(self) -> Sequence[Declared]:
        return self.told


def scene(tmp_path: Path, servers: Sequence[Declared], **settings: Any) -> Scene:
    made = Told(Invocation(), Settings(llama_server="/bin/own", state=str(tmp_path), **settings), environ={})
    made.told = servers
    return made


LISTED = {"policy": {"git": {"binaries": ["/bin/a"]}}}
ALL = {"policy": {"git": {"binaries": ["*"]}}}


@pytest.mark.parametrize(
    ("origin", "is_accepted", "settings", "may"),
    [
        (LOCAL, True, {}, False),
        (LOCAL, True, {"binaries": ["/bin/a"]}, True),
        (LOCAL, True, {"binaries": ["*"]}, True),
        (LOCAL, False, {"binaries": ["*"]}, False),
        (GIT, True, {"binaries": ["/bin/a", "*"]}, False),
        (GIT, True, LISTED, True),
        (GIT, True, ALL, True),
        (GIT, False, ALL, False),
    ],
)
def test_it_runs_what_the_controller_would(
    tmp_path: Path, origin: str, is_accepted: bool, settings: dict[str, Any], may: bool
) -> None:
    server = Declared("chat", {"binary": "/bin/a"}, origin=origin, is_accepted=is_accepted)
    found = list(programs(scene(tmp_path, [server, replace(server, spec={"binary": "/bin/own"})], **settings)))
    assert [(one.path, one.named_by is None) for one in found] == [("/bin/own", True), ("/bin/a", may)]


def test_of_git_the_policy_is_named(tmp_path: Path) -> None:
    server = Declared("chat", {"binary": "/bin/a"}, origin=GIT, is_accepted=True)
    where = scene(tmp_path, [server])
    told = untried(where, list(programs(where))[1])
    assert told.remedy == 'to allow it, add "/bin/a" to binaries under [policy.git] in reconciler.toml'


def test_those_that_hang_take_nobody_elses_time(root: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctoring, "PATIENCE", 6.0)
    monkeypatch.setenv("LLAMA_SERVER", str(program(root / "llama-server", "echo 'version: 5 (x)'")))
    hung = [program(root / f"hung{at}", f"echo $$ > {root}/pid{at}; sleep 1000") for at in range(4)]
    (root / "reconciler.toml").write_text(f"binaries = {[str(one) for one in hung]}\n")
    for at, one in enumerate(hung):
        declare(root, f"chat-{at}", binary=str(one))
    found = findings(call, "llama-server")
    assert "version 5 (x)" in found[0]["message"]
    assert ["has not answered --version" in one["message"] for one in found[1:]] == [True] * 4
    for at in range(4):
        pid = int((root / f"pid{at}").read_text())
        eventually(lambda pid=pid: not _lives(pid), 5)


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_is_asked_at_the_end_is_ended(tmp_path: Path) -> None:
    """Also where a check is left behind, as its thread is, or somebody has had enough."""
    script = f"echo $$ > {tmp_path}/pid; sleep 1000"
    code = (
        "import os, threading, time\n"
        "from reconciler.cli.doctoring_program import ask\n"
        f"threading.Thread(target=ask, args=(['/bin/sh', '-c', {script!r}], os.environ, 900.0), daemon=True).start()\n"
        "time.sleep(900)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip(), 20)
    pid = int((tmp_path / "pid").read_text())
    child.send_signal(signal.SIGINT)
    child.wait(20)
    eventually(lambda: not _lives(pid), 5)


def test_findings_before_a_check_hangs_are_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctoring, "PATIENCE", 0.3)

    def look(_scene: Scene) -> doctoring.Findings:
        yield warn("this first", "do")
        time.sleep(5)
        yield ok("never")

    found = doctoring.examined({"a": look}, scene(root, ()))
    assert found[0].message == "this first"
    assert found[1].message.startswith("it has not come to its end within 0.3 s")
    doctoring_program.end_all()
