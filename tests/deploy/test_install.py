"""`install` and `uninstall`: what they write and call, told before, and that servers outlive both."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.cli.units import Unit, written
from reconciler.settings import load_settings
from tests.cli.conftest import Call, Called, call, root
from tests.e2e.conftest import installation
from tests.e2e.installation import Installation

__all__ = ["call", "installation", "root"]

# What a systemd does that these commands rely on: it knows a unit by its file, and runs its command.
STUB = """\
#!{python}
import os, pathlib, shlex, signal, subprocess, sys
home = pathlib.Path({home!r})
with (home / "calls").open("a") as calls:
    print(*sys.argv[1:], file=calls)
if (home / "broken").exists():
    sys.exit("Failed to connect to bus: No medium found")
verb = next(word for word in sys.argv[1:] if not word.startswith("--"))
unit, pid = pathlib.Path({unit!r}), home / "pid"
def stop():
    if pid.exists():
        os.kill(int(pid.read_text()), signal.SIGTERM)
        pid.unlink()
if verb == "restart":
    stop()
    line = next(line for line in unit.read_text().splitlines() if line.startswith("ExecStart="))
    command = shlex.split(line.partition("=")[2])
    with (home / "journal").open("ab") as log:
        begun = subprocess.Popen(command, cwd=home, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    pid.write_text(str(begun.pid))
if verb == "disable" and "--now" in sys.argv:
    stop()
"""


class Systemd:
    """A systemctl on PATH that notes how it was called."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.unit = home / "config" / "systemd" / "user" / "reconciler.service"
        program = home / "bin" / "systemctl"
        program.parent.mkdir(parents=True)
        program.write_text(STUB.format(python=sys.executable, home=str(home), unit=str(self.unit)))
        program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """All calls so far."""
        path = self.home / "calls"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def main_pid(self) -> int:
        """What was begun last."""
        return int((self.home / "pid").read_text())

    def breaks(self) -> None:
        """Nobody answers from now on."""
        (self.home / "broken").touch()

    def close(self) -> None:
        if (pid := self.home / "pid").exists():
            os.kill(int(pid.read_text()), signal.SIGTERM)


@pytest.fixture
def systemd(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    made = Systemd(root)
    monkeypatch.setenv("HOME", str(root))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(root / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(root / "data"))
    monkeypatch.setenv("PATH", f"{root / 'bin'}:{os.environ['PATH']}")
    yield made
    made.close()


def test_a_service_of_a_user(call: Call, systemd: Systemd, root: Path) -> None:
    told = call("install", "--user", "--no-start")
    assert told.code == 0, told.err
    command, user = written(systemd.unit.read_text())
    config = root / "config" / "reconciler" / "reconciler.toml"
    assert (command[-3:], user) == (("run", "--config", str(config)), "")
    assert os.access(command[0], os.X_OK)
    settings = load_settings({}, str(config))
    assert (settings.manifests, settings.models) == (f"{config.parent}/manifests", f"{root}/data/reconciler/models")
    assert settings.state == f"{root}/xdg/reconciler/state"
    assert Path(settings.manifests).is_dir()
    assert Path(settings.llama_server).name == "llama-server"
    assert systemd.calls == [
        "--user show --property=Version",
        "--user daemon-reload",
        "--user enable reconciler.service",
    ]
    assert "start it with: systemctl --user start reconciler" in told.out
    assert "loginctl enable-linger" in told.out
    # Again: settings are people's, and stay.
    config.write_text(config.read_text() + "loads = 2\n")
    assert call("install", "--user").code == 0
    assert load_settings({}, str(config)).loads == 2
    assert systemd.calls[-1] == "--user restart reconciler.service"


def test_a_dry_run_shows_all_and_changes_nothing(call: Call, systemd: Systemd, root: Path) -> None:
    before = sorted(root.rglob("*"))
    systemd.breaks()  # and needs no systemd
    told = call("install", "--user", "--dry-run")
    assert told.code == 0
    assert "    KillMode=process" in told.out
    assert "systemctl --user enable reconciler.service\nsystemctl --user restart reconciler.service\n" in told.out
    assert told.out.endswith("dry run: nothing was changed\n")
    assert sorted(root.rglob("*")) == sorted([*before, root / "broken"])


def test_settings_of_ones_own_are_used(call: Call, systemd: Systemd, root: Path) -> None:
    (root / "mine.toml").write_text('models = "weights"\n')
    assert call("install", "--user", "--no-start", "--config", "mine.toml").code == 0
    text = systemd.unit.read_text()
    assert written(text)[0][-1] == f"{root}/mine.toml"
    assert f"WorkingDirectory={root}\n" in text
    assert not (root / "config" / "reconciler").exists()


def test_folders_that_are_named_stand_in_new_settings(
    call: Call, systemd: Systemd, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_MODELS", "/elsewhere")
    monkeypatch.setenv("RECONCILER_STATE", str(root / "kept"))
    config = root / "config" / "reconciler" / "reconciler.toml"
    assert call("install", "--user", "--no-start", "--models", "/srv/models", "--manifests", "mf").code == 0
    settings = load_settings({}, str(config))
    assert (settings.models, settings.manifests, settings.state) == ("/srv/models", f"{root}/mf", f"{root}/kept")
    assert (root / "mf").is_dir()
    # Settings that are there are people's: what they would not heed is refused.
    (root / "mine.toml").touch()
    for mine in ((), ("--config", "mine.toml")):
        told = call("install", "--user", "--no-start", "--models", "/srv/other", *mine)
        refused(told, 2, "--models goes with new settings: ", "--help")


def test_a_service_of_the_machine_runs_in_its_settings_folder(
    call: Call, systemd: Systemd, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what settings name relatively, or leave out, is where it was before."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (root / "mine.toml").touch()
    told = call("install", "--system", "--dry-run", "--config", "mine.toml")
    assert f"    WorkingDirectory={root}\n" in told.out
    assert "    WorkingDirectory=/var/lib/reconciler\n" in call("install", "--system", "--dry-run").out


def refused(told: Called, code: int, error: str, hint: str) -> None:
    assert (told.code, told.out) == (code, "")
    assert error in told.err
    assert hint in told.err


@pytest.mark.parametrize("text", [None, "lods = 4\n", "loads = ["])
def test_settings_that_cannot_be_used_are_told_before(
    call: Call, systemd: Systemd, root: Path, text: str | None
) -> None:
    if text is not None:
        (root / "mine.toml").write_text(text)
    told = call("install", "--user", "--config", "mine.toml")
    refused(told, 2, "mine.toml", "name a file that is there" if text is None else "correct that setting")
    assert not systemd.unit.exists()
    assert systemd.calls == []


def test_where_systemd_does_not_answer_it_says_what_to_do(call: Call, systemd: Systemd, root: Path) -> None:
    systemd.breaks()
    told = call("install", "--user")
    refused(told, 1, "systemd does not answer: Failed to connect to bus: No medium found", "run --config ")
    assert not systemd.unit.exists()


def test_without_systemd_it_says_what_to_do(call: Call, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(root))
    refused(call("install", "--user"), 1, "this machine has no systemd", "run --config ")


def test_a_call_that_fails_ends_it(call: Call, systemd: Systemd, root: Path) -> None:
    stub = root / "bin" / "systemctl"
    stub.write_text(stub.read_text().replace('if verb == "restart":', 'if verb == "restart": sys.exit(3)\nif False:'))
    told = call("install", "--user")
    assert told.code == 1
    assert "systemctl --user restart reconciler.service ended with 3" in told.err
    assert "journalctl --user -u reconciler" in told.err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("install", "--user", "--root", "image"), "--root goes with --system"),
        (("install", "--user", "--as", "llama"), "--as goes with --system"),
    ],
)
def test_what_does_not_go_together(call: Call, systemd: Systemd, arguments: tuple[str, ...], error: str) -> None:
    refused(call(*arguments), 2, error, "--help")


def test_only_root_changes_the_system(call: Call, systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for verb in ("install", "uninstall"):
        refused(call(verb, "--system"), 1, "only be changed by root", f"reconciler {verb} --user")


@pytest.mark.skipif(shutil.which("systemctl") is None, reason="systemd is not installed")
def test_a_service_in_an_image(call: Call, root: Path) -> None:
    """By the real systemctl, which enables units offline."""
    image = root / "image"
    made = call("install", "--system", "--root", str(image), "--as", "llama")
    assert made.code == 0
    unit = image / "etc/systemd/system/reconciler.service"
    wanted = image / "etc/systemd/system/multi-user.target.wants/reconciler.service"
    assert wanted.is_symlink()
    (command, user), text = written(unit.read_text()), unit.read_text()
    assert (command[-1], user) == ("/etc/reconciler/reconciler.toml", "llama")
    assert text == Unit(command, user="llama").text()
    users = image / "usr/lib/sysusers.d/reconciler.conf"
    assert f"the image needs the user llama; make it with: systemd-sysusers --root={image}\n" in made.out
    if shutil.which("systemd-sysusers"):
        subprocess.run(["systemd-sysusers", f"--root={image}"], check=True, capture_output=True, timeout=30)
        assert "llama:" in (image / "etc/passwd").read_text()
        assert "render:x:" in (image / "etc/group").read_text()
    assert "m llama render\n" in users.read_text()
    # The one of this machine is not the image's.
    assert "# llama_server = " in (image / "etc/reconciler/reconciler.toml").read_text()
    settings = load_settings({}, str(image / "etc/reconciler/reconciler.toml"))
    assert (settings.manifests, settings.state) == ("/etc/reconciler/manifests", "/var/lib/reconciler/state")
    told = call("uninstall", "--system", "--root", str(image))
    assert told.code == 0
    assert not unit.exists()
    assert not wanted.is_symlink()
    assert (image / "etc/reconciler/reconciler.toml").exists()
    assert call("uninstall", "--system", "--root", str(image)).out == f"nothing to remove: there is no {unit}\n"


@pytest.mark.real
def test_servers_outlive_it_unless_told(
    call: Call, installation: Installation, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Installed and uninstalled: the process is there still; with --stop-servers none is left."""
    for name, value in installation.environ.items():
        monkeypatch.setenv(name, value)
    systemd = Systemd(root)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(root / "config"))
    monkeypatch.setenv("PATH", f"{root / 'bin'}:{os.environ['PATH']}")
    installation.declare("one")
    config = str(installation.root / "reconciler.toml")
    try:
        begun = call("install", "--user", "--config", config)
        assert begun.code == 0
        kept = installation.wait_ready("one")
        assert controller_of(installation) == systemd.main_pid
        assert f"--config {config} ui\n" in begun.out
        told = call("uninstall", "--user")
        assert told.code == 0
        assert "the servers run on; to stop them: " in told.out
        installation.wait_for("no controller", lambda: not installation.is_controlled())
        assert installation.pids() == kept
        assert call("install", "--user", "--config", config).code == 0
        installation.wait_for("the second controller", installation.is_controlled)
        assert installation.wait_ready("one") == kept
        told = call("uninstall", "--user", "--stop-servers")
        assert (told.code, installation.pids()) == (0, {})
        assert "start --all" in told.out
        assert not systemd.unit.exists()
    finally:
        systemd.close()


def controller_of(installation: Installation) -> int:
    """The pid of the last controller that took the state folder."""
    ((about,),) = installation.query("select value from meta where key = 'controller'")
    return int(json.loads(about)["pid"])
