"""Documents of other kinds, and what is a server's own, in the database."""

from dataclasses import replace
from pathlib import Path

from reconciler.core.actions import Forget
from reconciler.core.defaults import merged
from reconciler.core.model import Document
from reconciler.store import read
from reconciler.store.rows import open_snapshot, read_documents, read_others
from reconciler.store.writer import Store
from tests.core.declaring import defaults, profile
from tests.store.older import make_older
from tests.store.test_writer import NOW, document

DAY = replace(profile("day", servers=["chat"], active=True), generation=2, labels={"x": "y"}, origin="git")
GPU = replace(defaults("gpu", {"ctx": 9, "flags": {"x": True}, "restart": {"maxBackoff": "3s"}}), generation=1)


def taken_over() -> Document:
    made = merged(document(), [GPU], lambda _: ())
    assert isinstance(made, Document)
    return made


def filled(state: Path) -> Store:
    store = Store(state)
    with store.transaction():
        store.save_document(taken_over(), NOW)
        for other in (DAY, GPU, profile("chat")):
            store.save_other(other, NOW)
    return store


def test_all_of_it_comes_back_as_it_was(tmp_path: Path) -> None:
    filled(tmp_path).close()
    store = Store(tmp_path)
    again = store.documents["chat"]
    assert (again, again.says_the_same(taken_over())) == (taken_over(), True)
    assert again.own == document().spec
    assert dict(store.others) == {one.key: one for one in (DAY, GPU, profile("chat"))}
    store.close()


def test_a_server_does_not_take_what_bears_its_name_with_it(tmp_path: Path) -> None:
    store = filled(tmp_path)
    with store.transaction():
        store.add_request("profile", "chat", NOW)
        store.add_request("stop", "chat", NOW)
        store.remove_document("chat")
        store.record(Forget("chat"), NOW)
    assert (store.documents, store.asked_profile(), dict(store.requests().stop)) == ({}, "chat", {})
    store.close()
    store = Store(tmp_path)
    assert (store.documents, store.asked_profile(), dict(store.requests().stop)) == ({}, "chat", {})
    assert "Profile/chat" in store.others
    with store.transaction():
        store.add_request("prune", "Profile/chat", NOW)
        store.save_document(document(), NOW)
        store.remove_other(store.others["Profile/chat"])
    assert store.confirmed_prunes() == frozenset()
    store.close()
    store = Store(tmp_path)
    assert (sorted(store.documents), sorted(store.others)) == (["chat"], [GPU.key, DAY.key])
    assert store.confirmed_prunes() == frozenset()
    store.close()


def test_a_database_made_anew_has_them_too(tmp_path: Path) -> None:
    store = filled(tmp_path)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "state.db").write_bytes(store.snapshot())
    store.close()
    copy = open_snapshot(tmp_path / "copy")
    assert copy is not None
    assert sorted(read_others(copy)) == sorted([DAY.key, GPU.key, "Profile/chat"])
    assert read_documents(copy) == {"chat": taken_over()}
    copy.close()


def test_what_an_older_version_left_has_none_of_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.transaction():
        store.save_document(document(), NOW)
    store.close()
    make_older(tmp_path)
    db = read.open_readonly(tmp_path)
    assert (read.profiles(db), read.defaults(db)) == ([], [])
    (item,) = read.servers(db, now=0.0, controller=True)
    assert item["status"]["fromDefaults"] == {}
    db.close()
    old = open_snapshot(tmp_path)
    assert old is not None
    assert (read_documents(old)["chat"].own, read_others(old)) == (None, {})
    old.close()
    store = Store(tmp_path)
    assert store.documents["chat"].own is None
    store.close()


def test_a_row_that_cannot_be_read_is_dropped_and_told(tmp_path: Path) -> None:
    store = filled(tmp_path)
    with store.transaction():
        pass
    store._db.conn.execute("update documents set spec = '{\"template\": {\"ctx\": 0}}' where name = 'gpu'")
    store.close()
    store = Store(tmp_path)
    assert GPU.key not in store.others
    assert [event.reason for event in store.take_news()] == ["RowUnreadable"]
    store.close()
