"""A database that cannot be written: what happens meanwhile is kept, and written when it can be."""

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.actions import Event
from reconciler.core.history import ServerRecord, Stamp
from reconciler.core.model import Identity
from reconciler.store.changes import MOST_EVENTS, Backlog, Line, Row, Statement
from reconciler.store.rows import server_row
from reconciler.store.trouble import Cause, StateUnwritableError, trouble_of
from reconciler.store.writer import Store
from tests.store.test_writer import NOW, STAMP, at, change_everything, document, instance, on_disk, query, remembered


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def locker(store: Store) -> Iterator[sqlite3.Connection]:
    """Another program that holds the database locked."""
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("begin immediate")
    yield other
    other.close()


def reasons(store: Store) -> list[tuple[str, int]]:
    return [(reason, count) for reason, count in query(store, "select reason, count from events order by id")]


def cause(store: Store) -> Cause | None:
    return store.trouble.cause if store.trouble else None


def test_what_is_no_intent_is_kept_and_written_later(store: Store, locker: sqlite3.Connection) -> None:
    before = on_disk(store)
    with store.transaction(anyway=True):
        change_everything(store)
    assert cause(store) is Cause.LOCKED
    assert on_disk(store) == before
    known = remembered(store)
    assert set(store.history().servers) == {"server-1"}
    store.mend()
    assert cause(store) is Cause.LOCKED
    assert store.errors == 2
    locker.rollback()
    store.mend()
    assert store.trouble is None
    assert store.errors == 2
    assert remembered(store) == on_disk(store) == known
    assert query(store, "select launch from instances") == [('{"argv": ["x"]}',)]
    assert [event.reason for event in store.take_news()] == ["StateUnwritable", "StateRecovered"]
    assert sorted(reasons(store)) == [("Reason", 1), ("StateRecovered", 1), ("StateUnwritable", 1)]


def test_an_intent_is_refused_and_nothing_of_it_is_remembered(store: Store, locker: sqlite3.Connection) -> None:
    for _ in range(3):
        with pytest.raises(StateUnwritableError, match="fuser -v"), store.transaction():
            change_everything(store)
    assert remembered(store) == on_disk(store)
    assert store.documents == {}
    locker.rollback()
    with store.transaction():
        change_everything(store, 2)
    assert store.trouble is None
    assert set(store.history().servers) == {"server-2"}
    assert remembered(store) == on_disk(store)
    assert sorted(reasons(store)) == [("Reason", 1), ("StateRecovered", 1), ("StateUnwritable", 1)]


def test_a_lock_does_not_hold_up_the_loop(store: Store, locker: sqlite3.Connection) -> None:
    began = time.monotonic()
    with store.transaction(anyway=True):
        store.save_server(ServerRecord("chat"))
    assert time.monotonic() - began < 0.4
    for limit, act in ((0.2, store.mend), (0.01, store.look)):
        began = time.monotonic()
        act()
        assert time.monotonic() - began < limit
    began = time.monotonic()
    for _ in range(100):
        with store.transaction(anyway=True):
            store.save_server(ServerRecord("chat"))
    assert time.monotonic() - began < 0.1


def test_the_newest_row_is_what_is_written(store: Store, locker: sqlite3.Connection) -> None:
    with store.transaction(anyway=True):
        store.save_instance(instance(), {"argv": ["x"]})
        store.save_document(document(ctx=1), NOW)
        store.assign_port("chat", 8001)
    with store.transaction(anyway=True):
        store.save_instance(instance(identity=Identity("boot-a", 7, 7)))
        store.save_document(document(ctx=2), NOW)
        store.save_server(ServerRecord("gone"))
        store.forget("gone")
        store.forget("chat")
        store.save_server(ServerRecord("chat", n=3))
    with store.transaction(anyway=True):
        store.save_instance(instance(identity=Identity("boot-a", 7, 7), ended=STAMP))
        store.add_event(Event("chat", "Crashed", "x"), NOW)
        store.add_event(Event("chat", "Crashed", "x"), at(1))
    known = remembered(store)
    locker.rollback()
    store.mend()
    assert remembered(store) == on_disk(store) == known
    assert query(store, "select pid, ended_at, launch from instances") == [(7, NOW.wall, '{"argv": ["x"]}')]
    assert ("Crashed", 2) in reasons(store)


def test_a_change_that_no_database_takes_does_not_hold_back_the_others(
    store: Store, locker: sqlite3.Connection
) -> None:
    with store.transaction(anyway=True):
        store.save_server(ServerRecord("chat"))
        store._changes.append(Row("servers", "name", {"name": None, "phase": 7}, ("servers", "bad")))
        store.save_server(ServerRecord("embed"))
    locker.rollback()
    store.mend()
    assert store.trouble is None
    assert set(on_disk(store)[1]) == {"chat", "embed"}  # type: ignore[call-overload]


def test_a_wrong_change_is_no_trouble_of_the_disk(store: Store) -> None:
    wrong = Row("servers", "name", {"name": None}, ())
    with pytest.raises(sqlite3.IntegrityError), store.transaction(anyway=True):
        store._changes.extend([server_row(ServerRecord("chat")), wrong])
    assert store.trouble is None
    assert remembered(store) == on_disk(store)


def test_the_backlog_is_bounded() -> None:
    backlog = Backlog()
    for number in range(3 * MOST_EVENTS):
        backlog.add([Line("chat", "Reason", str(number), False, float(number))])
        backlog.add([Statement("delete from ports where server = ?", ["chat"], ("ports", "chat"))])
    kept = [change.message for change in backlog if isinstance(change, Line)]
    assert len(backlog) == MOST_EVENTS + 2
    assert kept[0] == "0"
    assert kept[1:] == [str(number) for number in range(2 * MOST_EVENTS, 3 * MOST_EVENTS)]


def test_a_transaction_that_fails_in_the_middle_leaves_the_backlog_alone(
    store: Store, locker: sqlite3.Connection
) -> None:
    def fail() -> None:
        with store.transaction(anyway=True):
            change_everything(store)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        fail()
    assert store.trouble is None
    assert len(store._disk.backlog) == 0


# ---------------------------------------------------------------- files that are gone


def delete(store: Store) -> None:
    store.path.unlink()


def delete_wal(store: Store) -> None:
    store.path.with_name("state.db-wal").unlink()


def delete_shm(store: Store) -> None:
    store.path.with_name("state.db-shm").unlink()


def delete_folder(store: Store) -> None:
    for path in store.path.parent.iterdir():
        path.unlink()
    store.path.parent.rmdir()


def rename(store: Store) -> None:
    store.path.rename(store.path.with_name("elsewhere"))


def replace_by_another(store: Store) -> None:
    other = store.path.with_name("other")
    with sqlite3.connect(other) as connection:
        connection.execute("create table something (x)")
    connection.close()
    other.replace(store.path)


def replace_by_garbage(store: Store) -> None:
    other = store.path.with_name("other")
    other.write_text("no database")
    other.replace(store.path)


GONE: list[Callable[[Store], None]] = [
    delete,
    delete_wal,
    delete_shm,
    delete_folder,
    rename,
    replace_by_another,
    replace_by_garbage,
]


@pytest.mark.parametrize("take_away", GONE)
def test_files_that_are_gone_are_made_anew_with_all_of_the_history(
    store: Store, take_away: Callable[[Store], None]
) -> None:
    with store.transaction():
        change_everything(store)
        store.save_instance(replace(instance(uid="old"), ended=STAMP), {"argv": ["old"]})
    known = remembered(store)
    take_away(store)
    store.look()
    assert store.trouble is None
    assert on_disk(store) == remembered(store) == known
    assert query(store, "select uid, launch from instances order by uid") == [
        ("old", '{"argv": ["old"]}'),
        ("u1", '{"argv": ["x"]}'),
    ]
    (event,) = store.take_news()
    assert event.reason == "StateRecovered"
    assert sorted(reasons(store)) == [("Reason", 1), ("StateRecovered", 1)]
    with store.transaction():
        change_everything(store, 2)
    assert on_disk(store) == remembered(store)
    store.look()
    assert store.take_news() == []
    set_aside = [path.name for path in store.path.parent.iterdir() if ".replaced-" in path.name]
    assert len(set_aside) == (1 if take_away in (replace_by_another, replace_by_garbage) else 0)
    assert all(name in event.message for name in set_aside)
    store.close()
    again = Store(store.path.parent)
    assert remembered(again) == known or set(again.history().servers) == {"server-1", "server-2"}
    assert [row[0] for row in query(again, "pragma integrity_check")] == ["ok"]
    again.close()


@pytest.mark.parametrize("take_away", [delete, delete_folder])
def test_an_intent_never_goes_into_a_file_that_nobody_can_find(
    store: Store, take_away: Callable[[Store], None]
) -> None:
    take_away(store)
    with pytest.raises(StateUnwritableError, match="deleted or replaced"), store.transaction():
        change_everything(store)
    store.mend()
    with store.transaction():
        change_everything(store)
    assert on_disk(store) == remembered(store)


def test_nothing_is_made_anew_while_the_files_are_anothers(store: Store) -> None:
    def refuse() -> None:
        raise OSError(errno.EBUSY, "another's")

    store.on_replacing(refuse)
    store.path.unlink()
    store.look()
    assert cause(store) is Cause.DELETED or cause(store) is Cause.OTHER
    assert not store.path.exists()
    assert [event.reason for event in store.take_news()] == ["StateUnwritable"]
    store.on_replacing(lambda: None)
    store.mend()
    assert cause(store) is None
    assert store.path.exists()


def test_a_folder_that_cannot_be_made_is_waited_for(tmp_path: Path) -> None:
    store = Store(_made(tmp_path / "one" / "state"))
    with store.transaction():
        change_everything(store)
    for path in store.path.parent.iterdir():
        path.unlink()
    store.path.parent.rmdir()
    store.path.parent.parent.rmdir()
    store.path.parent.parent.write_text("in the way")
    for _ in range(3):
        store.look()
        store.mend()
        with store.transaction(anyway=True):
            store.save_server(ServerRecord("later"))
    assert cause(store) is Cause.DELETED
    store.path.parent.parent.unlink()
    store.mend()
    assert cause(store) is Cause.DELETED
    store.path.parent.parent.mkdir()
    store.mend()
    assert store.trouble is None
    assert set(on_disk(store)[1]) == {"server-1", "later"}  # type: ignore[call-overload]
    assert [event.reason for event in store.take_news()] == ["StateUnwritable", "StateRecovered"]
    store.close()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


# ---------------------------------------------------------------- causes and remedies


@pytest.mark.parametrize(
    ("number", "cause", "remedy"),
    [
        (errno.ENOSPC, Cause.DISK_FULL, "df -h /"),
        (errno.EDQUOT, Cause.DISK_FULL, "df -h /"),
        (errno.EROFS, Cause.READ_ONLY, "findmnt -T /"),
        (errno.EACCES, Cause.PERMISSION, "ls -la /"),
        (errno.ENOENT, Cause.DELETED, "ls -la /"),
        (errno.EMFILE, Cause.DESCRIPTORS, "ulimit -n"),
        (errno.EIO, Cause.OTHER, "ls -la /"),
    ],
)
def test_every_cause_has_a_remedy(tmp_path: Path, number: int, cause: Cause, remedy: str) -> None:
    trouble = trouble_of(OSError(number, os.strerror(number)), tmp_path / "state.db")
    assert trouble.cause is cause
    assert remedy in str(trouble)
    assert str(trouble).startswith("the state cannot be written: ")


def test_time_goes_on_while_nothing_can_be_written(store: Store, locker: sqlite3.Connection) -> None:
    later = at(7)
    with store.transaction(anyway=True):
        store.save_instance(replace(instance(), ended=Stamp.of(later)))
    locker.rollback()
    store.mend()
    assert query(store, "select ended_at from instances") == [(later.wall,)]
