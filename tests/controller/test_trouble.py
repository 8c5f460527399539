"""What a controller needs in its state folder is kept there, and another controller's is left alone."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.controller.keeping import MEND_EACH, Checker, Keeper
from reconciler.controller.lock import HeldError, hold, read_holder
from reconciler.core.history import ServerRecord
from reconciler.runtimes.claims import Claims
from reconciler.runtimes.host import choose_host
from reconciler.store.trouble import DamagedError
from reconciler.store.writer import Store

HOLD = """
import sys
import threading
from pathlib import Path
from reconciler.controller.lock import hold
with hold(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
def store(state: Path) -> Iterator[Store]:
    opened = Store(state)
    yield opened
    opened.close()


def take_over(state: Path) -> "subprocess.Popen[bytes]":
    """Another controller that holds the folder's lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.communicate()


# ---------------------------------------------------------------- the lock


def delete_lock(state: Path) -> None:
    (state / "lock").unlink()


def delete_folder(state: Path) -> None:
    shutil.rmtree(state)


@pytest.mark.parametrize("take_away", [delete_lock, delete_folder])
def test_a_lock_whose_file_is_gone_is_taken_again(state: Path, take_away: object) -> None:
    with hold(state, "run") as lock:
        for _ in range(3):
            take_away(state)  # type: ignore[operator]
            lock.ensure()
            with pytest.raises(HeldError, match=f"pid {os.getpid()}"), hold(state, "apply"):
                pass
        lock.ensure()
    assert read_holder(state) == {}
    with hold(state, "run"):
        pass


@pytest.mark.parametrize("take_away", [delete_lock, delete_folder])
def test_a_lock_that_another_has_taken_meanwhile_is_lost_for_good(state: Path, take_away: object) -> None:
    with hold(state, "run") as lock:
        take_away(state)  # type: ignore[operator]
        state.mkdir(exist_ok=True)
        other = take_over(state)
        for _ in range(2):
            with pytest.raises(HeldError, match=f"pid {other.pid}"):
                lock.ensure()
    assert read_holder(state) == {"pid": other.pid, "verb": "run"}
    end(other)


def test_what_cannot_be_written_of_the_holder_is_no_error(state: Path) -> None:
    (state / ".holder.json").mkdir()
    with hold(state, "run"), pytest.raises(HeldError), hold(state, "apply"):
        pass


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
def test_a_lock_file_that_nobody_can_find_any_more_is_let_go_of(state: Path) -> None:
    with hold(state, "run") as lock:
        before = descriptors()
        for _ in range(5):
            delete_folder(state)
            lock.ensure()
        assert descriptors() == before
        elsewhere = state.with_name("elsewhere")
        state.rename(elsewhere)
        lock.ensure()
        assert descriptors() == before + 1
        with pytest.raises(HeldError), hold(elsewhere, "apply"):
            pass
    assert descriptors() == before - 1


def test_it_is_let_go_of_where_the_folder_may_not_be_entered(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch, hold(state, "run"):
        patch.setattr("reconciler.controller.lock._inode", refuse)
    with hold(state, "run"):
        pass


# ---------------------------------------------------------------- the keeper


class House:
    """A keeper and what it looks after."""

    def __init__(self, store: Store) -> None:
        self.told: list[str] = []
        self.keeper = Keeper(store, lambda event: self.told.append(event.reason))


def test_while_all_is_well_there_is_nothing_to_look_at_again(store: Store) -> None:
    house = House(store)
    assert house.keeper.look(0.0, fresh=True) is None
    assert house.told == []


def test_trouble_is_looked_at_each_second_and_told_once(store: Store) -> None:
    house = House(store)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("begin immediate")
    with store.transaction(anyway=True):
        store.save_server(ServerRecord("chat"))
    tries: list[None] = []
    mend = store.mend
    store.mend = lambda: tries.append(mend())  # type: ignore[method-assign]
    wakes = [house.keeper.look(at / 10, fresh=False) for at in range(30)]
    assert len(tries) == 3
    assert wakes[:10] == [MEND_EACH] * 10
    assert house.told == ["StateUnwritable"]
    other.close()
    assert house.keeper.look(3.0, fresh=False) is None
    assert house.told == ["StateUnwritable", "StateRecovered"]


def test_a_renamed_parent_is_waited_for_and_not_made_anew(tmp_path: Path) -> None:
    """What is made in its place would bar the way back."""
    above, away = tmp_path / "home", tmp_path / "away"
    (above / "state").mkdir(parents=True)
    store = Store(above / "state")
    try:
        with hold(above / "state", "run") as lock:
            keeper = Keeper(store, lambda _event: None)
            keeper.hold(lock)
            above.rename(away)
            for number in range(3):
                keeper.look(number * MEND_EACH, fresh=True)
            with store.transaction(anyway=True):
                store.save_server(ServerRecord("kept"))
            assert not above.exists()
            assert str(store.trouble) == (
                f"the state cannot be written: {above} is gone, or was renamed; put it back: mv RENAMED {above}"
            )
            away.rename(above)
            keeper.look(4 * MEND_EACH, fresh=True)
            assert store.trouble is None
    finally:
        store.close()
    again = Store(above / "state")
    assert "kept" in again.history().servers
    again.close()


def test_everything_is_put_right_when_the_folder_was_gone(store: Store, state: Path) -> None:
    house, calls = House(store), []

    def refuse() -> None:
        calls.append("refused")
        raise OSError("later")

    with hold(state, "run") as lock:
        house.keeper.hold(lock)
        house.keeper.keep(refuse)
        house.keeper.keep(store.put_installation_right)
        house.keeper.look(0.0, fresh=False)
        assert calls == []
        shutil.rmtree(state)
        assert house.keeper.look(1.0, fresh=False) is None
        assert calls == ["refused"]
        assert house.told == ["StateRecovered"]
        assert (state / "installation").read_text().splitlines() == [store.installation, os.path.realpath(state)]
        assert read_holder(state)["pid"] == os.getpid()


def test_nothing_is_written_over_what_another_controller_has_taken(store: Store, state: Path) -> None:
    house = House(store)
    with hold(state, "run") as lock:
        house.keeper.hold(lock)
        shutil.rmtree(state)
        state.mkdir()
        other = take_over(state)
        theirs = Store(state)
        for at in range(3):
            with pytest.raises(HeldError):
                house.keeper.look(float(at), fresh=True)
        with pytest.raises((HeldError, sqlite3.Error)), store.transaction():
            store.save_server(ServerRecord("chat"))
        assert theirs.history().servers == {}
        theirs.look()
        assert theirs.trouble is None
        theirs.close()
    end(other)
    assert not list(state.glob("state.db.replaced*"))


# ---------------------------------------------------------------- whose a folder is


def test_the_processes_of_a_folder_tell_whose_it_is(tmp_path: Path) -> None:
    def sleeper(installation: str, folder: Path) -> "subprocess.Popen[bytes]":
        marks = {"RECONCILER_INSTALLATION": installation, "RECONCILER_FOLDER": str(folder)}
        return subprocess.Popen(["sleep", "60"], env={**os.environ, **marks})

    running = [sleeper("1" * 16, tmp_path / "a"), sleeper("1" * 16, tmp_path / "a"), sleeper("2" * 16, tmp_path / "ab")]
    try:
        installations_over = Claims(choose_host()).installations_over
        assert installations_over(str(tmp_path / "a")) == {"1" * 16}
        assert installations_over(str(tmp_path / "ab")) == {"2" * 16}
        assert installations_over(str(tmp_path)) == set()
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert installations_over(str(tmp_path / "a")) == set()


# ---------------------------------------------------------------- the check of the whole database


class Slow:
    """A store whose check says at last that it is damaged."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.checks = 0
        store.check = self.check  # type: ignore[method-assign]

    def check(self) -> None:
        self.checks += 1
        self.begun.set()
        assert self.may_end.wait(10)
        raise DamagedError("a page")


@pytest.mark.parametrize("is_made_anew_meanwhile", [True, False])
def test_what_a_check_says_of_a_file_that_is_no_longer_there_is_not_believed(
    store: Store, is_made_anew_meanwhile: bool
) -> None:
    slow, pokes = Slow(store), list[int]()

    async def play() -> None:
        checker = Checker(store, lambda: pokes.append(1))
        checker.begin()
        await asyncio.to_thread(slow.begun.wait, 10)
        checker.begin()
        if is_made_anew_meanwhile:
            store.suspect(DamagedError("the same page"))
            store.mend()
        slow.may_end.set()
        await asyncio.wait(checker.running, timeout=10)
        checker.begin()  # a moment after one that took long
        assert checker.running == set()

    asyncio.run(play())
    assert slow.checks == 1
    assert (store.trouble is None) == is_made_anew_meanwhile
    assert pokes == ([] if is_made_anew_meanwhile else [1])
