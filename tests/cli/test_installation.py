import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from reconciler import installation
from tests.cli.filling import Filling
from tests.cli.pasted import commands


def state_in(folder: Path) -> Path:
    (folder / "state").mkdir(parents=True)
    (folder / "state" / "state.db").touch()
    return folder / "state"


def find(cwd: Path, flag: str | None = None, config: str | None = None, **environ: str) -> Path:
    return installation.find_state(cwd, environ, flag, config)


def test_the_flag_wins_over_the_environment_over_the_settings_over_the_folder(root: Path) -> None:
    flag, variable, settings, here = (state_in(root / name) for name in ("flag", "variable", "settings", "work"))
    cwd = here.parent
    assert find(cwd) == here
    (cwd / "reconciler.toml").write_text(f'state = "{settings}"')
    assert find(cwd) == settings
    assert find(cwd, RECONCILER_STATE=str(variable)) == variable
    assert find(cwd, flag=str(flag), RECONCILER_STATE=str(variable)) == flag


def test_relative_names_start_where_they_are_written(root: Path) -> None:
    state = state_in(root / "a")
    assert find(root, flag="a/../a/state") == state
    (root / "a" / "reconciler.toml").write_text('state = "state"')
    assert find(root, config="a/reconciler.toml") == state


def test_it_is_looked_for_upward(root: Path) -> None:
    state = state_in(root)
    deep = root / "manifests" / "team"
    deep.mkdir(parents=True)
    assert find(deep) == state
    (deep / "state").mkdir()
    assert find(deep) == state


def test_settings_that_name_no_state_change_nothing(root: Path) -> None:
    state = state_in(root)
    (root / "reconciler.toml").write_text("loads = 2")
    assert find(root) == state


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "no 'state/state.db' in "),
        ({"flag": "gone"}, "holds no state.db (named by --state)"),
        ({"RECONCILER_STATE": "gone"}, "(named by RECONCILER_STATE)"),
        ({"config": "gone.toml"}, "gone.toml cannot be read: No such file"),
        ({"config": "broken.toml"}, "broken.toml is not valid TOML"),
    ],
)
def test_what_is_not_found_is_told(root: Path, arguments: dict[str, str], words: str) -> None:
    (root / "broken.toml").write_text("state =")
    with pytest.raises(installation.NotFoundError) as error:
        find(root, **arguments)
    assert words in str(error.value)


def test_known_installations_are_named_with_what_to_type(root: Path) -> None:
    plain, blank = state_in(root / "elsewhere"), state_in(root / "my models")
    installation.remember(blank)
    installation.remember(plain)
    with pytest.raises(installation.NotFoundError) as error:
        find(root)
    assert commands(str(error.value)) == [
        ["--state", str(plain), "get", "servers"],
        ["--state", str(blank), "get", "servers"],
        ["run"],
    ]


# ---------------------------------------------------------------- the registry


def test_the_newest_is_first_and_once(root: Path) -> None:
    one, two = state_in(root / "one"), state_in(root / "two")
    for state in (one, two, one):
        installation.remember(state)
    assert installation.known() == [one, two]


def test_folders_that_are_gone_are_forgotten(root: Path) -> None:
    one, two = state_in(root / "one"), state_in(root / "two")
    installation.remember(one)
    (one / "state.db").unlink()
    assert installation.known() == []
    installation.remember(two)
    registry = root / "xdg" / "reconciler" / "installations.json"
    assert json.loads(registry.read_text()) == {"installations": [str(two)]}
    assert [path.name for path in registry.parent.iterdir()] == [registry.name]


@pytest.mark.parametrize("content", ["", "[]", '{"installations": 3}', '{"installations": [3]}'])
def test_a_broken_registry_is_begun_anew(root: Path, content: str) -> None:
    registry = root / "xdg" / "reconciler" / "installations.json"
    registry.parent.mkdir(parents=True)
    registry.write_text(content)
    assert installation.known() == []
    state = state_in(root)
    installation.remember(state)
    assert installation.known() == [state]


def test_a_registry_that_cannot_be_written_is_no_error(root: Path) -> None:
    (root / "xdg").write_text("a file")
    installation.remember(state_in(root))
    assert installation.known() == []


# ---------------------------------------------------------------- the socket


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name, wherever the tests have theirs."""
    with TemporaryDirectory(prefix="r", dir="/tmp") as folder:
        yield Path(folder)


def test_the_socket_is_in_the_state_folder(short: Path) -> None:
    assert installation.socket_path(short / "state") == short / "state" / "controller.sock"


def test_a_long_path_has_a_short_socket(root: Path, short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    long, other = (root / (letter * 120) / "state" for letter in "ab")
    path = installation.socket_path(long)
    assert isinstance(path, Path)
    assert path.parent == short
    assert path == installation.socket_path(long / ".." / "state")
    assert path != installation.socket_path(other)


def test_the_abstract_name_is_the_last_resort(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(root / ("r" * 120)))
    state = root / ("a" * 120)
    path = installation.socket_path(state)
    assert str(path).startswith("\0reconciler-")
    assert not installation.is_controller_running(state)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert installation.is_controller_running(state)


@pytest.mark.parametrize("length", [107, 108])
def test_every_path_it_gives_can_be_bound(short: Path, length: int) -> None:
    state = short / ("s" * (length - len(os.fsencode(short)) - len("//controller.sock")))
    state.mkdir()
    path = str(installation.socket_path(state))
    assert path.endswith("/controller.sock") == (length == 107)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        assert installation.is_controller_running(state)
    if not path.startswith("\0"):
        Path(path).unlink()


def test_a_socket_that_nobody_serves_is_no_controller(filling: Filling) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(installation.socket_path(filling.state)))
    assert not installation.is_controller_running(filling.state)
