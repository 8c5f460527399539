"""The units: as they lie in deploy/systemd, as `install` makes them, and as systemd reads them."""

import configparser
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from reconciler.cli.units import Unit, quoted, written
from tests.cli.pasted import parse

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
PROGRAM = "/opt/reconciler/bin/reconciler"
KEPT = {
    "system": (
        FOLDER / "reconciler.service",
        Unit((PROGRAM, "run", "--config", "/etc/reconciler/reconciler.toml"), user="reconciler").text(),
    ),
    "user": (
        FOLDER / "user" / "reconciler.service",
        # `%h` is systemd's word for the home folder; what is installed names it.
        Unit((PROGRAM, "run", "--config", "%h/.config/reconciler/reconciler.toml"), folder="%h")
        .text()
        .replace("%%h", "%h"),
    ),
}
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


@pytest.fixture(params=KEPT)
def scope(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def section(text: str, name: str = "Service") -> configparser.SectionProxy:
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(text)
    return unit[name]


def test_the_files_are_what_install_writes(scope: str) -> None:
    path, text = KEPT[scope]
    assert path.read_text() == text


def test_a_restart_of_the_unit_leaves_the_servers_running(scope: str) -> None:
    service = section(KEPT[scope][1])
    assert service["KillMode"] == "process"
    assert service["OOMPolicy"] == "continue"
    assert service["Restart"] == "always"
    # What makes a namespace with each start, hides devices, or forbids code made at run time: servers or GPUs suffer.
    private = {name for name in service if name.startswith(("Private", "ProtectSystem", "ProtectHome", "ReadOnly"))}
    assert not private | ({"MemoryDenyWriteExecute", "DevicePolicy", "ProtectClock", "ProtectProc"} & set(service))


def test_systemd_is_told_how_the_controller_is(scope: str) -> None:
    service = section(KEPT[scope][1])
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")
    assert service["WatchdogSec"] == "60s"


def test_the_command_is_one_that_reconciler_has(scope: str) -> None:
    program, *arguments = shlex.split(section(KEPT[scope][1])["ExecStart"])
    assert program == PROGRAM
    parse(arguments)


def verify(path: Path, scope: str, *, runtime: Path) -> tuple[int, str]:
    command = ["systemd-analyze", f"--{scope}", "verify", "--man=no", str(path)]
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environ)
    return ended.returncode, ended.stderr


@needs_systemd
def test_systemd_understands_every_line(scope: str, tmp_path: Path) -> None:
    # Only the program is not there to be verified.
    unit = tmp_path / "reconciler.service"
    unit.write_text(KEPT[scope][1].replace(PROGRAM, "/bin/true"))
    assert verify(unit, scope, runtime=tmp_path) == (0, "")
    unit.write_text(unit.read_text().replace("OOMPolicy", "OomPolicy"))
    assert "OomPolicy" in verify(unit, scope, runtime=tmp_path)[1]


@needs_systemd
def test_systemd_finds_it_fairly_confined(tmp_path: Path) -> None:
    unit = tmp_path / "reconciler.service"
    unit.write_text(KEPT["system"][1])
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=45", "--json=short", str(unit)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    exposed = {one["json_field"] for one in json.loads(ended.stdout) if float(one["exposure"] or 0) > 0}
    assert not exposed & {"NoNewPrivileges", "CapabilityBoundingSet_CAP_SYS_ADMIN", "RestrictSUIDSGID"}


@pytest.mark.parametrize(
    "word", ["plain", "with space", 'quo"te', "back\\slash", "per%cent", "dol$lar", "apo'strophe", "semi;colon", "ü"]
)
def test_a_word_comes_back_as_it_was(word: str, tmp_path: Path) -> None:
    unit = Unit(("/bin/true", word), folder=f"/{word}")
    assert written(unit.text()) == (("/bin/true", word), "")
    if shutil.which("systemd-analyze"):
        path = tmp_path / "reconciler.service"
        path.write_text(Unit(("/bin/true", word), folder="/").text())
        assert verify(path, "user", runtime=tmp_path) == (0, "")


def test_a_unit_says_whom_it_runs_as() -> None:
    text = Unit(("/bin/true",), user="llama", groups=("video", "render")).text()
    assert written(text) == (("/bin/true",), "llama")
    assert section(text)["SupplementaryGroups"] == "video render"
    assert "CapabilityBoundingSet" in section(text)
    # Root without its powers could not read the models of others.
    assert "CapabilityBoundingSet" not in section(Unit(("/bin/true",), user="root").text())
    assert quoted("/a b") == '"/a b"'


def test_a_unit_without_a_command_is_told() -> None:
    with pytest.raises(ValueError, match="no ExecStart"):
        written("[Service]\nType=simple\n")
