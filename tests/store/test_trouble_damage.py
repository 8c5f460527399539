"""A damaged database is set aside and made anew; rows that cannot be understood are dropped one by one."""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.actions import Event
from reconciler.store import opening, past, read, renewal
from reconciler.store.changes import Row
from reconciler.store.trouble import Cause, DamagedError, StateUnwritableError
from reconciler.store.writer import Store
from tests.store.test_writer import NOW, STAMP, at, change_everything, instance, on_disk, query, remembered


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path)
    yield opened
    opened.close()


def fill(store: Store, history: int = 300) -> None:
    with store.transaction():
        change_everything(store)
        for number in range(history):
            store.save_instance(replace(instance(uid=f"old-{number}", log_tail="x" * 500), ended=STAMP))
            store.add_event(Event("chat", "Reason", f"message {number}"), at(number))


def cause(store: Store) -> Cause | None:
    return store.trouble.cause if store.trouble else None


def overwrite(path: Path, start: int, size: int) -> None:
    """As another program would: without SQLite."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(os.urandom(size))


def damage_header(path: Path) -> None:
    overwrite(path, 0, 200)


def damage_everything(path: Path) -> None:
    overwrite(path, 0, path.stat().st_size)


def damage_middle(path: Path) -> None:
    overwrite(path, 20 * 4096, 20 * 4096)


def cut(path: Path) -> None:
    os.truncate(path, 10 * 4096 + 100)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def other_text(path: Path) -> None:
    path.write_text("this is no database, whatever its name says" * 100)


ALL: list[Callable[[Path], None]] = [damage_header, damage_everything, damage_middle, cut, other_text]


@pytest.mark.parametrize("damage", [*ALL, empty])
def test_a_running_controller_finds_the_damage_and_makes_a_new_one(
    store: Store, damage: Callable[[Path], None]
) -> None:
    fill(store)
    store._db.conn.execute("pragma wal_checkpoint(truncate)")
    known = remembered(store)
    damage(store.path)
    try:
        store.check()
    except sqlite3.Error as error:
        store.suspect(error)
    store.mend()
    assert store.trouble is None
    assert remembered(store) == on_disk(store) == known
    assert [row[0] for row in query(store, "pragma integrity_check")] == ["ok"]
    (aside,) = store.path.parent.glob("state.db.broken-*Z")
    (recovered,) = [event for event in store.take_news() if event.reason == "StateRecovered"]
    assert str(aside) in recovered.message
    facts = dict(query(store, "select key, value from meta"))
    assert facts["installation"] == store.installation
    store.check()
    with store.transaction():
        change_everything(store, 2)
    assert remembered(store) == on_disk(store)


def test_damage_that_a_commit_meets_is_mended_too(tmp_path: Path) -> None:
    first = Store(tmp_path)
    fill(first)
    first.close()
    store = Store(tmp_path)
    overwrite(store.path, 10 * 4096, store.path.stat().st_size - 10 * 4096)
    with store.transaction(anyway=True):
        for number in range(300):
            store.save_instance(replace(instance(uid=f"old-{number}"), ended=STAMP))
    assert cause(store) is Cause.CORRUPT
    store.mend()
    assert cause(store) is None
    assert remembered(store) == on_disk(store)
    assert ("old-299",) in query(store, "select uid from instances")
    store.close()


def test_a_database_that_is_damaged_again_and_again_is_not_set_aside_each_second(store: Store) -> None:
    for number in range(5):
        store._db.conn.execute("pragma wal_checkpoint(truncate)")
        damage_header(store.path)
        try:
            store.check()
        except sqlite3.Error as error:
            store.suspect(error)
        store.mend()
        assert (store.trouble is None) == (number == 0)
    assert len(list(store.path.parent.glob("state.db.broken-*Z"))) == 1


@pytest.mark.parametrize("damage", ALL)
def test_at_the_start_what_can_be_read_is_kept(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    first = Store(tmp_path)
    fill(first)
    identity = first.installation
    first.close()
    content = (tmp_path / "state.db").read_bytes()
    damage(tmp_path / "state.db")
    damaged = (tmp_path / "state.db").read_bytes()
    assert damaged != content
    again = Store(tmp_path)
    assert again.installation == identity
    (aside,) = tmp_path.glob("state.db.broken-*Z")
    assert aside.read_bytes() == damaged
    (event,) = again.take_news()
    assert event.reason == "StateRebuilt"
    assert str(aside) in event.message
    assert remembered(again) == on_disk(again)
    with again.transaction():
        change_everything(again, 2)
    assert [row[0] for row in query(again, "pragma integrity_check")] == ["ok"]
    if damage is damage_middle:
        assert set(again.documents) == {"doc-1", "doc-2"}
        assert query(again, "select count(*) from instances")[0][0] > 100
    again.close()
    assert Store(tmp_path).take_news() == []


def index_of_meta(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        sql = "select rootpage from sqlite_master where name = 'sqlite_autoindex_meta_1'"
        page = connection.execute(sql).fetchone()[0]
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))


def name_of_a_migration(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("update _sqlite_migrations set name = cast(x'66ff' as text) where name = 'first_tables'")
    connection.close()


def words_of_the_schema(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"CREATE TABLE") + 2] = 0xE5
    path.write_bytes(content)


UNUSUAL = [index_of_meta, name_of_a_migration, words_of_the_schema]


@pytest.mark.parametrize("damage", UNUSUAL)
def test_whatever_the_damage_is_a_controller_can_begin(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    first = Store(tmp_path)
    fill(first, history=3)
    identity = first.installation
    first._db.conn.execute("vacuum")
    first.close()
    damage(tmp_path / "state.db")
    again = Store(tmp_path)
    assert again.trouble is None
    assert again.installation == identity
    assert [event.reason for event in again.take_news()] == ["StateRebuilt"]
    if damage is index_of_meta:
        assert set(again.documents) == {"doc-1"}
    again.close()
    assert Store(tmp_path).take_news() == []


def no_room(*_: object) -> Path:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_is_damaged_stays_so_while_there_is_no_room_for_a_new_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    known, before = remembered(store), store.path.stat().st_ino
    with monkeypatch.context() as patch:
        patch.setattr(renewal, "renew", no_room)
        store.suspect(DamagedError("Page 7:\n  broken"))
        assert "\n" not in str(store.trouble)
        for _ in range(3):
            store.mend()
            assert cause(store) is Cause.DISK_FULL
            with pytest.raises(StateUnwritableError), store.transaction():
                change_everything(store, 2)
    assert store.path.stat().st_ino == before
    store.mend()
    assert store.trouble is None
    assert store.path.stat().st_ino != before
    assert remembered(store) == on_disk(store) == known
    assert [event.reason for event in store.take_news()] == ["StateUnwritable", "StateRecovered"]


def test_a_damaged_one_stays_where_it_is_until_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Store(tmp_path)
    fill(first)
    known = remembered(first)
    first.close()
    index_of_meta(tmp_path / "state.db")
    damaged = (tmp_path / "state.db").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(renewal, "renew", no_room)
        store = Store(tmp_path)
    assert cause(store) is Cause.DISK_FULL
    assert remembered(store) == known
    assert (tmp_path / "state.db").read_bytes() == damaged
    store.mend()
    assert store.trouble is None
    assert remembered(store) == on_disk(store) == known
    (aside,) = tmp_path.glob("state.db.broken-*Z")
    assert aside.read_bytes() == damaged
    store.close()


@pytest.mark.parametrize("harm", [Path.unlink, empty])
def test_a_file_that_goes_while_only_a_copy_is_open_is_made_of_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None]
) -> None:
    first = Store(tmp_path)
    fill(first, history=3)
    known, rows = remembered(first), query(first, "select * from instances order by uid")
    first.close()
    with monkeypatch.context() as patch:
        patch.setattr(opening, "open_database", no_room)
        store = Store(tmp_path)
    assert cause(store) is Cause.DISK_FULL
    harm(store.path)
    store.look()
    store.mend()
    assert store.trouble is None
    assert remembered(store) == on_disk(store) == known
    assert query(store, "select * from instances order by uid") == rows
    store.close()


@pytest.mark.parametrize("harm", [Path.unlink, empty])
def test_a_database_that_went_while_no_controller_ran_is_told(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    first = Store(tmp_path)
    identity = first.installation
    first.close()
    harm(tmp_path / "state.db")
    store = Store(tmp_path)
    assert store.installation == identity
    (event,) = store.take_news()
    assert event.reason == "StateRebuilt"
    assert "requests to stop" in event.message
    store.close()
    assert Store(tmp_path).take_news() == []


def test_times_that_nobody_remembers_are_kept(store: Store) -> None:
    fill(store, history=0)
    sql = "select accepted_at from documents union all select created_at from requests"
    times = query(store, sql)
    store.suspect(DamagedError("x"))
    store.mend()
    assert query(store, sql) == times
    assert times == [(NOW.wall,)] * len(times)


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"")
    store = Store(tmp_path)
    assert store.take_news() == []
    store.close()


ROWS = [
    ("servers", "record", "server-1"),
    ("documents", "spec", "doc-1"),
    ("documents", "labels", "doc-1"),
    ("instances", "row", "server-1"),
    ("sources", "row", "git"),
]


@pytest.mark.parametrize("value", ["", "{", "null", "[]", '"\\ud800"', "{" * 5000])
@pytest.mark.parametrize(("table", "column", "name"), ROWS)
def test_a_row_that_cannot_be_understood_is_dropped_and_told(
    tmp_path: Path, table: str, column: str, name: str, value: str
) -> None:
    first = Store(tmp_path)
    fill(first, history=0)
    with first.transaction():
        change_everything(first, 2)
        first._changes.append(_source())
    first._db.conn.execute(f"update {table} set {column} = ? where rowid = 1", [value])
    first.close()
    store = Store(tmp_path)
    events = store.take_news()
    assert [event.reason for event in events] == ["RowUnreadable"]
    assert table in events[0].message
    assert name in events[0].message
    assert query(store, f"select rowid from {table} where rowid = 1") == []
    kept = {"documents": store.documents, "servers": store.history().servers, "instances": store.history().instances}
    assert all("2" in " ".join(found) for found in kept.values())
    store.close()
    assert Store(tmp_path).take_news() == []


def _source() -> Row:
    from reconciler.core.source import SourceRecord
    from reconciler.store.rows import source_row

    return source_row(SourceRecord("git", "https://example.com/x", "main"))


def test_only_the_newest_that_were_set_aside_are_kept(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / "state.db").write_bytes(f"no database {number}".encode() * 100)
        Store(tmp_path).close()
    kept = sorted(path.read_bytes() for path in tmp_path.glob("state.db.broken-*"))
    assert kept == [f"no database {number}".encode() * 100 for number in range(3, 8)]


def test_lists_leave_out_what_cannot_be_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.transaction():
        change_everything(store)
        change_everything(store, 2)
    store._db.conn.execute("update servers set record = '{' where name = 'server-1'")
    store._db.conn.execute("update instances set row = '[]' where server = 'server-1'")
    with read.opened(tmp_path) as db:
        shown = {
            item["metadata"]["name"]: item["status"]["instance"] for item in read.servers(db, now=0, controller=True)
        }
        restarts = past.restarts(db)
    assert shown["server-2"]["uid"] == "u2"
    assert shown.get("server-1") is None
    assert [item["uid"] for item in restarts] == ["u2"]
    store.close()


def test_a_byte_that_is_no_text_hides_one_row_only(tmp_path: Path) -> None:
    first = Store(tmp_path)
    fill(first, history=0)
    with first.transaction():
        change_everything(first, 2)
    first._db.conn.execute("update servers set record = cast(x'7bff00' as text) where name = 'server-1'")
    first.close()
    store = Store(tmp_path)
    assert set(store.history().servers) == {"server-2"}
    assert [event.reason for event in store.take_news()] == ["RowUnreadable"]
    store.close()
