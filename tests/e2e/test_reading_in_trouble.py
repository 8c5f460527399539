"""What the verbs show and say while the state folder cannot be written, is gone, or cannot even be read."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.controller.lock import HOLDER
from tests.e2e.hung_loader import write_hung_loader
from tests.e2e.installation import Installation
from tests.e2e.test_state_trouble import fill_up, locked, small_disk, wait_logged

pytestmark = pytest.mark.real
__all__ = ["small_disk"]
RECONCILER = (sys.executable, "-m", "reconciler")
READING = (("get", "servers"), ("get", "events"), ("get", "restarts"), ("describe", "server", "one"), ("logs", "one"))


def test_what_is_shown_while_the_database_is_locked_is_how_it_is(installation: Installation) -> None:
    for name in ("one", "two"):
        installation.declare(name, restart={"initialBackoff": "0s"})
    installation.start()
    before = installation.wait_ready("one", "two")
    with locked(installation):
        installation.declare("new")
        os.kill(before["one"], signal.SIGKILL)
        wait_logged(installation, "StateUnwritable")
        installation.wait_for("the new one", lambda: "new " in installation.cli("get", "servers"))
        shown = {verb: installation.cli(*verb) for verb in READING}
        for verb, text in shown.items():
            assert text.count("warning: the state cannot be written: another program holds") == 1, (verb, text)
            assert f"pid {os.getpid()} (" in text
            assert "as of before" not in text
        servers = {line.split()[0]: line for line in shown["get", "servers"].splitlines() if line}
        assert "Blocked" in servers["one"]
        assert "the state cannot be written" in servers["one"]
        assert str(before["one"]) not in servers["one"]
        assert "Ready" in servers["two"]
        assert "Blocked" in servers["new"]
        assert "StateUnwritable" in shown["get", "events"]
        assert "SIGKILL" in shown["get", "restarts"]
        assert "Ready        False   StateUnwritable" in shown["describe", "server", "one"]
    installation.wait_ready("one", "two", "new")


def test_apply_fails_while_the_state_cannot_be_written_and_says_why(installation: Installation) -> None:
    installation.declare("one", restart={"initialBackoff": "0s"})
    installation.start()
    before = installation.wait_ready("one")
    with locked(installation):
        os.kill(before["one"], signal.SIGKILL)
        wait_logged(installation, "StateUnwritable")
        for arguments in ((), ("one",), ("--no-wait",)):
            told = installation.cli("apply", *arguments, code=1)
            assert "error: the state cannot be written: another program holds" in told
            assert "unchanged" not in told
    assert "1 " in installation.cli("apply").splitlines()[-1]


def test_a_trouble_that_begins_while_apply_waits_ends_it(installation: Installation) -> None:
    hung, settings = write_hung_loader(installation.root), installation.root / "reconciler.toml"
    settings.write_text(f'binaries = ["{hung}"]\n{settings.read_text()}')
    installation.declare("slow", binary=str(hung))
    installation.start()
    installation.wait_for("slow", lambda: installation.phases().get("slow") == "Starting")
    command = [*RECONCILER, "apply", "--timeout", "60s"]
    with subprocess.Popen(
        command,
        cwd=installation.root,
        env=installation.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as applying:
        try:
            assert applying.stdout is not None
            assert "slow" in applying.stdout.readline()
            with locked(installation):
                installation.declare("more")
                _, told = applying.communicate(timeout=30)
        finally:
            applying.kill()
    assert applying.returncode == 1
    assert "error: the state cannot be written: another program holds" in told


def delete_database(installation: Installation) -> None:
    (installation.state / "state.db").unlink()


def truncate_database(installation: Installation) -> None:
    os.truncate(installation.state / "state.db", 0)


@pytest.mark.parametrize("take_away", [delete_database, truncate_database])
def test_a_database_that_is_gone_is_read_from_its_controller(
    installation: Installation, take_away: Callable[[Installation], None]
) -> None:
    installation.declare("one")
    installation.start(RECONCILER_TICK="300")
    before = installation.wait_ready("one")
    take_away(installation)
    for verb in READING:
        text = installation.cli(*verb)
        assert "error" not in text
    assert str(before["one"]) in installation.cli("get", "servers")
    installation.end(signal.SIGKILL)
    installation.start()
    installation.wait_for("a controller", installation.is_controlled)
    assert installation.wait_ready("one") == before


def test_verbs_read_on_a_full_disk_with_and_without_a_controller(installation: Installation, small_disk: Path) -> None:
    installation.declare("one")
    installation.start()
    before = installation.wait_ready("one")
    installation.end()
    filling = fill_up(small_disk)
    assert str(before["one"]) in installation.cli("get", "servers")
    assert "Started" in installation.cli("get", "events")
    told = installation.cli("apply", code=1)
    assert "error: the state cannot be written: its disk is full; make room there: df -h" in told
    installation.start()
    wait_logged(installation, "StateUnwritable")
    installation.wait_for("a controller that can be asked", installation.is_controlled)
    for verb in READING:
        text = installation.cli(*verb)
        assert "df -h" in text
        assert "disk I/O error" not in text
    assert f" manages {installation.state}" in installation.cli("run", code=1)
    filling.unlink()
    assert installation.wait_ready("one") == before


@pytest.fixture
def read_only(installation: Installation) -> Iterator[Callable[[], None]]:
    """Mounts the state folder read-only."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")

    def mount() -> None:
        for options in (["--bind", str(installation.state)], ["-o", "remount,bind,ro"]):
            done = subprocess.run(["mount", *options, str(installation.state)], check=False, capture_output=True)
            if done.returncode != 0:
                pytest.skip("no mounts here")

    yield mount
    while f" {installation.state} " in Path("/proc/mounts").read_text():
        subprocess.run(["umount", "-l", str(installation.state)], check=True)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_verbs_read_a_read_only_folder(
    installation: Installation, read_only: Callable[[], None], how: signal.Signals
) -> None:
    installation.declare("one")
    installation.start()
    before = installation.wait_ready("one")
    installation.end(how)
    read_only()
    assert str(before["one"]) in installation.cli("get", "servers")
    assert "Ready" in installation.cli("get", "events")
    assert str(before["one"]) in installation.cli("describe", "server", "one")


def test_a_folder_that_may_not_be_entered_is_told_with_its_remedy(installation: Installation) -> None:
    installation.declare("one")
    installation.start()
    installation.wait_ready("one")
    installation.end()
    if shutil.which("setpriv") is None or os.geteuid() != 0:
        pytest.skip("root without its rights is needed")
    without = "-dac_override,-dac_read_search,-fowner"
    installation.state.chmod(0)
    try:
        done = subprocess.run(
            ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}", *RECONCILER, "get", "servers"],
            cwd=installation.root,
            env=installation.environ,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        installation.state.chmod(0o700)
    assert done.returncode == 1
    assert "this user may not write" in done.stderr
    assert "ls -la" in done.stderr
    assert "unexpected" not in done.stderr
    assert not (installation.state / HOLDER).exists()
