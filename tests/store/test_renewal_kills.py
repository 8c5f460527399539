"""A controller is killed at each boundary while its database is made anew; the next one has what there was."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaos.boundaries import Boundaries
from reconciler.store.trouble import DamagedError
from reconciler.store.writer import Store
from tests.store.test_writer import NOW, change_everything, remembered

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
KILLED = 9
HOLDS = "replace state.db.new"
"""The step from which on the new file is the one that counts."""


class Killer(Boundaries):
    """Ends the process at the boundary of a number, and says which one it was."""

    def __init__(self, number: int, tell: int) -> None:
        self.left = number
        self.tell = tell

    def cross(self, name: str) -> None:
        os.write(self.tell, f"{name}\n".encode())
        self.left -= 1
        if self.left == 0:
            os._exit(KILLED)


@dataclass(frozen=True)
class Case:
    """What is done to the files, and how much of them is readable all the time."""

    harm: Callable[[Store], None]
    at_start: bool = False
    is_always_whole: bool = False


def delete(store: Store) -> None:
    store.path.unlink()


def delete_shm(store: Store) -> None:
    store.path.with_name("state.db-shm").unlink()


def replace_by_another(store: Store) -> None:
    other = store.path.with_name("other")
    with sqlite3.connect(other) as connection:
        connection.execute("create table something (x)")
    connection.close()
    other.replace(store.path)


def find_damage(store: Store) -> None:
    """As SQLite's check would say; the rows can be read all the same."""
    store.suspect(DamagedError("some page"))


def damage_at_rest(store: Store) -> None:
    """A page of the index of `meta`: its rows can be read without it."""
    sql = "select rootpage from sqlite_master where name = 'sqlite_autoindex_meta_1'"
    page = store._db.conn.execute(sql).fetchone()[0]
    store.close()
    with store.path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))


CASES = {
    "deleted": Case(delete),
    "shared memory deleted": Case(delete_shm, is_always_whole=True),
    "replaced": Case(replace_by_another),
    "damaged": Case(find_damage, is_always_whole=True),
    "damaged at the start": Case(damage_at_rest, at_start=True, is_always_whole=True),
}


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def filled(folder: Path) -> Store:
    store = Store(folder)
    with store.transaction():
        change_everything(store)
        store.add_request("stop", "halted", NOW)
    return store


def play(folder: Path, case: Case, number: int) -> tuple[int, list[str]]:
    """A controller in a process of its own; how it ended, and the boundaries that it passed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        with suppress(BaseException):
            store = filled(folder)
            case.harm(store)
            Killer(number, writing).wrap()
            if case.at_start:
                store = Store(folder)
            store.look()
            store.mend()
            code = 0 if store.trouble is None else 2
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as told:
        passed = told.read().splitlines()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), passed


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_nothing_is_lost_wherever_it_is_killed(tmp_path: Path, case: Case) -> None:
    model = filled(made(tmp_path / "model"))
    wanted = remembered(model)
    model.close()
    code, steps = play(made(tmp_path / "whole"), case, 1000)
    assert code == 0
    first = 1 if case.is_always_whole else steps.index(f"after {HOLDS}") + 1
    assert len(steps) > first + 5
    for number, step in enumerate(steps, 1):
        if number < first or (step.startswith("after") and number < len(steps)):
            continue  # nothing happens between it and the next one
        folder = made(tmp_path / str(number))
        assert play(folder, case, number)[0] == KILLED
        again = Store(folder)
        assert again.trouble is None
        assert remembered(again) == wanted, f"lost when it was killed {step}"
        assert [row[0] for row in again._db.conn.execute("pragma integrity_check")] == ["ok"]
        again.close()
        assert not list(folder.glob("state.db.new*"))


def test_what_was_interrupted_is_finished_and_told(tmp_path: Path) -> None:
    store = filled(tmp_path)
    known = remembered(store)
    store.close()
    store.path.rename(tmp_path / "state.db.new")
    store.path.write_text("what was there")
    again = Store(tmp_path)
    assert remembered(again) == known
    (event,) = again.take_news()
    (aside,) = tmp_path.glob("state.db.replaced-*Z")
    assert event.reason == "StateRebuilt"
    assert str(aside) in event.message
    again.close()
    assert Store(tmp_path).take_news() == []
