"""Installations that lie elsewhere: those that `install` set up, and those of another user."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from reconciler import installation
from tests.cli.conftest import Call
from tests.cli.test_installation import find, state_in

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as somebody else")


def settings(config: Path, state: Path) -> None:
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(f'state = "{state}"\n')


def test_what_was_installed_is_found_from_everywhere_else(root: Path) -> None:
    own, machine, here = state_in(root / "own"), state_in(root / "machine"), root / "somewhere"
    here.mkdir()
    of_user, of_machine = installation.installed_configs({})
    settings(of_machine, machine)
    assert find(here) == machine
    settings(of_user, own)
    assert find(here) == own
    assert find(root / "machine") == machine


def test_where_install_writes() -> None:
    of_user, of_machine = installation.installed_configs({"XDG_CONFIG_HOME": "/home/me/.settings"})
    assert str(of_user) == "/home/me/.settings/reconciler/reconciler.toml"
    assert str(of_machine) == "/etc/reconciler/reconciler.toml"


@pytest.mark.parametrize("sign", ["manifests/", "reconciler.toml"])
def test_a_folder_of_manifests_is_no_other_installations(root: Path, sign: str) -> None:
    settings(installation.installed_configs({})[-1], state_in(root / "machine"))
    here = root / "begun"
    here.mkdir()
    (here / sign).mkdir() if sign.endswith("/") else (here / sign).touch()
    with pytest.raises(installation.NotFoundError):
        find(here)


@pytest.mark.parametrize("text", ["state =", "loads = 2", 'state = "/nowhere"'])
def test_what_was_installed_and_never_ran_is_none(root: Path, text: str) -> None:
    config = installation.installed_configs({})[-1]
    config.parent.mkdir()
    config.write_text(text)
    with pytest.raises(installation.NotFoundError, match=r"no installation found: no 'state/state\.db'"):
        find(root)


def test_anothers_is_told_with_whom_to_be(root: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    state_in(root)
    monkeypatch.setattr(installation, "owner_elsewhere", lambda _state: "llama")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for verb, typed in ((("ui",), "ui --print"), (("get", "events"), "get servers")):
        told = call(*verb)
        assert told.code == 1
        assert f"error: {root}/state is llama's, and closed to root\n" in told.err
        assert "sudo -u llama " in told.err
        assert told.err.endswith(f"--state {root}/state {typed}\n")


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder that others can enter."""
    with TemporaryDirectory(prefix="r", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def as_nobody(ask: Callable[[], object]) -> str:
    """What is seen by a user to whom nothing belongs."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os.write(writing, str(ask()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as file:
        return file.read()


@only_root
@pytest.mark.parametrize(
    ("folder", "database", "owner"),
    [(0o700, 0o600, "root"), (0o755, 0o600, "root"), (0o755, 0o644, "")],
)
def test_whose_it_is_that_is_closed(short: Path, folder: int, database: int, owner: str) -> None:
    state = state_in(short)
    (state / "state.db").chmod(database)
    state.chmod(folder)
    assert as_nobody(lambda: installation.owner_elsewhere(state)) == owner
    assert installation.owner_elsewhere(state) == ""
    assert installation.owner_elsewhere(short / "none") == ""


@only_root
def test_below_a_closed_folder_there_is_nothing_of_ours(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `sudo -u reconciler` is typed in somebody's home."""
    home, state = short / "home", state_in(short / "machine")
    home.mkdir(mode=0o700)
    (home / "manifests").mkdir()
    config = short / "reconciler.toml"
    settings(config, state)
    monkeypatch.setattr(installation, "installed_configs", lambda _environ: [config])
    assert as_nobody(lambda: find(home)) == str(state)
