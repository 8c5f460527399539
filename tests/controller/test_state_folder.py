"""Whatever the umask of who calls, and whatever was there before: the state is its owner's alone."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.controller.lock import hold
from reconciler.controller.state_folder import private
from reconciler.runtimes.logs import Logs
from reconciler.store.writer import Store


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_all_that_a_controller_writes_is_its_owners_alone(tmp_path: Path, umask: int) -> None:
    state = tmp_path / "state"
    with private(state) as before, hold(state, "run"):
        store = Store(state)
        os.close(Logs(state / "logs", keep=1, most_bytes=1).open("chat", "u1"))
        (state / "new").write_text("of whoever writes there next")
        found = {str(path.relative_to(state)): mode(path) for path in state.rglob("*")}
        store.close()
    assert before == umask
    assert os.umask(umask) == umask
    assert mode(state) == 0o700
    assert found.keys() >= {
        "state.db",
        "state.db-wal",
        "state.db-shm",
        "installation",
        "lock",
        "holder.json",
        "logs/chat/u1.log",
    }
    assert {name: oct(bits) for name, bits in found.items() if bits not in (0o600, 0o700)} == {}


def test_the_umask_comes_back_after_an_error(tmp_path: Path, umask: int) -> None:
    with pytest.raises(RuntimeError), private(tmp_path / "state"):
        raise RuntimeError
    assert os.umask(umask) == umask


def test_folders_above_are_made_as_the_caller_makes_folders(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with private(tmp_path / "above" / "state"):
            pass
    finally:
        os.umask(before)
    assert mode(tmp_path / "above") == 0o755
    assert mode(tmp_path / "above" / "state") == 0o700


def test_what_an_earlier_version_left_open_is_closed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "logs").mkdir(parents=True)
    for name in ("state.db", "state.db-wal", "installation", "holder.json", "lock"):
        (state / name).touch()
        (state / name).chmod(0o664)
    (state / "logs").chmod(0o755)
    (state / "notes").touch()
    (state / "notes").chmod(0o644)
    state.chmod(0o777)
    with private(state):
        pass
    assert mode(state) == 0o755
    assert mode(state / "logs") == 0o700
    assert {mode(state / name) for name in ("state.db", "state.db-wal", "installation", "holder.json", "lock")} == {
        0o600
    }
    assert mode(state / "notes") == 0o644


def test_a_sticky_folder_is_left_to_all_who_use_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with private(tmp_path):
        pass
    assert mode(tmp_path) == 0o1777


def test_a_link_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "theirs").touch()
    (tmp_path / "theirs").chmod(0o644)
    (tmp_path / "state" / "state.db").symlink_to(tmp_path / "theirs")
    with private(tmp_path / "state"):
        pass
    assert mode(tmp_path / "theirs") == 0o644


def test_sqlite_makes_its_other_files_as_open_as_the_database(tmp_path: Path) -> None:
    """A reader that makes them anew, without our umask, opens nothing."""
    with private(tmp_path / "state"):
        Store(tmp_path / "state").close()
    before = os.umask(0)
    try:
        connection = sqlite3.connect(tmp_path / "state" / "state.db")
        connection.execute("create table t (x)")
        assert mode(tmp_path / "state" / "state.db-wal") == 0o600
        connection.close()
    finally:
        os.umask(before)
