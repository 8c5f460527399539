import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "reconciler.service"


@pytest.fixture
def service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(UNIT.read_text())
    return unit["Service"]


def test_a_restart_of_the_unit_leaves_the_servers_running(service: configparser.SectionProxy) -> None:
    assert service["KillMode"] == "process"
    assert service["OOMPolicy"] == "continue"
    assert service["Restart"] == "always"
    assert "PrivateTmp" not in service


def test_the_command_is_one_that_reconciler_has(service: configparser.SectionProxy) -> None:
    program, verb, *flags = service["ExecStart"].split()
    assert (program, verb) == ("/opt/reconciler/bin/reconciler", "run")
    assert flags == ["--config", "/etc/reconciler/reconciler.toml"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    # Only the program is not there to be verified.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/reconciler/bin/reconciler", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
