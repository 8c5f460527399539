import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.kinds import PROFILE, other_document
from reconciler.core.model import Document, Now
from reconciler.core.source import Revision, SourceRecord
from reconciler.core.spec import ServerSpec
from reconciler.store import past, read
from reconciler.store.changes import Statement
from reconciler.store.generations import KEPT
from reconciler.store.mirror import read_mirror
from reconciler.store.salvage import salvaged
from reconciler.store.writer import KEPT_OF_GONE, Store
from tests.store.older import make_older
from tests.store.specimen import lay_out

NOW = Now(monotonic=100.0, wall=1_700_000_000.0, boot="boot-a")
COMMIT = "1a2b3c4d" * 5


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path)
    yield opened
    opened.close()


def document(generation: int = 1, name: str = "chat", **spec: Any) -> Document:
    written = ServerSpec.model_validate({"model": "a.gguf", **spec})
    return Document("LlamaServer", name, "manifests/a.yaml", written, {"team": "x"}, {}, generation, 7)


def accept(store: Store, *documents: Document, at: float = 0.0) -> None:
    for one in documents:
        with store.transaction():
            store.save_document(one, replace(NOW, wall=NOW.wall + at))


def known(store: Store, name: str = "chat") -> list[dict[str, Any]]:
    with read.opened(store.path.parent) as db:
        return past.generations(db, name)


def numbers(store: Store, name: str = "chat") -> list[int]:
    return [item["generation"] for item in known(store, name)]


def test_each_accepted_change_is_kept(store: Store) -> None:
    accept(store, document(ctx=1024))
    accept(store, document(2, ctx=2048), at=60)
    first, second = known(store)
    assert first == {
        "kind": "LlamaServer",
        "metadata": {"name": "chat", "labels": {"team": "x"}, "annotations": {}},
        "generation": 1,
        "inForce": False,
        "acceptedAt": "2023-11-14T22:13:20.000Z",
        "source": {"file": "manifests/a.yaml", "line": 7, "origin": "local", "revision": ""},
        "own": {"model": "a.gguf", "ctx": 1024},
        "spec": {"model": "a.gguf", "ctx": 1024},
        "fromDefaults": {},
    }
    assert (second["spec"]["ctx"], second["acceptedAt"]) == (2048, "2023-11-14T22:14:20.000Z")
    assert second["inForce"]


def test_a_file_that_moved_is_no_generation(store: Store) -> None:
    accept(store, document(ctx=1024), replace(document(ctx=1024), file="manifests/b.yaml"))
    assert [(item["generation"], item["source"]["file"]) for item in known(store)] == [(1, "manifests/a.yaml")]


def test_one_that_is_back_after_it_was_gone_has_its_history_before_it(store: Store) -> None:
    accept(store, document(ctx=1024), document(2, ctx=2048))
    with store.transaction():
        store.remove_document("chat")
    accept(store, document(ctx=4096))
    assert [(item["generation"], item["own"]["ctx"]) for item in known(store)] == [(1, 1024), (2, 2048), (1, 4096)]
    with store.transaction():
        store.remove_document("chat")
    accept(store, document(ctx=1024))
    assert [item["own"]["ctx"] for item in known(store)] == [1024, 2048, 4096, 1024]


def test_the_highest_number_of_what_is_gone_is_known_until_its_history_is_trimmed(store: Store) -> None:
    day = other_document(PROFILE, "{}", name="chat", file="a.yaml", generation=7)
    accept(store, document(), document(3, ctx=2), document(2, name="kept"))
    with store.transaction():
        store.save_other(day, NOW)
    with store.transaction():
        store.remove_document("chat")
        store.remove_other(day)
    expected = {"chat": 3, "Profile/chat": 7}
    assert store.counted == expected
    store.close()
    again = Store(store.path.parent)
    assert again.counted == {**expected, "kept": 2}
    with again.transaction():
        again._changes.append(Statement("delete from generations", [], ("none",)))
    again.close()
    last = Store(store.path.parent)
    assert last.counted == {}
    last.close()


def test_without_a_history_all_else_is_read(store: Store) -> None:
    accept(store, document(4))
    store.close()
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("drop table generations")
        found = read_mirror(db, lambda _: None)
    assert (list(found.documents), found.counted) == (["chat"], {})


def test_what_was_never_on_disk_is_not_kept_either(store: Store) -> None:
    def fails() -> None:
        with store.transaction():
            store.save_document(document(), NOW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert numbers(store) == []


def test_the_newest_are_kept_of_each_document(store: Store) -> None:
    accept(store, *(document(number + 1, ctx=number + 1) for number in range(KEPT + 5)), document(name="coder"))
    assert numbers(store) == list(range(6, KEPT + 6))
    assert numbers(store, "coder") == [1]


def test_of_what_is_gone_a_part_is_kept(store: Store) -> None:
    most = KEPT_OF_GONE * KEPT
    with store.transaction():
        for number in range(most + 3):
            store.save_document(document(name=f"gone-{number}"), NOW)
            store.remove_document(f"gone-{number}")
        store.save_document(document(), NOW)
    store.trim(instances=1, events=1)
    assert [len(numbers(store, name)) for name in ("gone-2", "gone-3", "chat")] == [0, 1, 1]


def test_a_revision_of_git_is_told(store: Store) -> None:
    with store.transaction():
        store.save_source(SourceRecord("git", url="u", ref="branch main", applied=Revision(COMMIT)))
    accept(store, replace(document(), origin="git"), document(name="local"))
    assert known(store)[0]["source"] == {"file": "manifests/a.yaml", "line": 7, "origin": "git", "revision": COMMIT}
    assert known(store, "local")[0]["source"]["revision"] == ""


def test_what_is_a_servers_own_is_kept_beside_what_runs(store: Store) -> None:
    own = ServerSpec.model_validate({"model": "a.gguf"})
    accept(store, replace(document(ctx=1024), own=own))
    (found,) = known(store)
    assert (found["own"], found["spec"]) == ({"model": "a.gguf"}, {"model": "a.gguf", "ctx": 1024})


def test_documents_of_all_kinds_have_generations(store: Store) -> None:
    accept(store, document(name="day"))
    for number, active in enumerate((True, False), 1):
        with store.transaction():
            spec = json.dumps({"servers": ["chat"], "active": active})
            profile = other_document(PROFILE, spec, name="day", file="p.yaml", generation=number, line=1)
            store.save_other(profile, NOW)
    with read.opened(store.path.parent) as db:
        found = [(item["kind"], item["own"]["active"]) for item in past.generations(db, "day", PROFILE)]
        assert found == [(PROFILE, True), (PROFILE, False)]
        assert past.named_in_generations(db, PROFILE) == ["day"]
    assert numbers(store, "day") == [1]


def test_what_an_older_version_accepted_is_the_first_that_is_known(tmp_path: Path) -> None:
    store = Store(tmp_path)
    accept(store, document(3, ctx=1024))
    store.close()
    make_older(tmp_path)
    with read.opened(tmp_path) as db:
        assert [item["generation"] for item in past.generations(db, "chat")] == [3]
        assert past.named_in_generations(db) == ["chat"]
    store = Store(tmp_path)
    accept(store, document(4, ctx=2048))
    assert [(item["generation"], item["own"].get("ctx")) for item in known(store)] == [(3, 1024), (4, 2048)]
    store.close()


def test_a_specimen_has_the_generation_in_force(tmp_path: Path) -> None:
    state = lay_out("5-adoption", tmp_path)
    Store(state).close()
    with read.opened(state) as db:
        (chat,) = past.generations(db, "chat")
        assert (chat["generation"], chat["own"]["ctx"], chat["metadata"]["labels"]) == (2, 512, {"tier": "front"})
        assert "fetched" in past.named_in_generations(db)


def test_a_database_made_anew_from_memory_has_what_is_in_force(tmp_path: Path) -> None:
    store = Store(tmp_path)
    accept(store, document(ctx=1024), document(2, ctx=2048))
    path = tmp_path / "state.db"
    path.unlink()
    store.look()
    accept(store, document(3, ctx=4096))
    assert numbers(store)[-2:] == [2, 3]
    store.close()


def test_what_can_be_read_of_a_damaged_database_is_salvaged(store: Store) -> None:
    accept(store, document(ctx=1024), document(2, ctx=2048))
    with closing(sqlite3.connect(store.path)) as source:
        found = salvaged(source, store._all_known(), store.path)
    rows = found.conn.execute("select generation from generations order by id").fetchall()
    found.close()
    assert rows == [(1,), (2,)]


def test_the_order_of_flags_says_nothing(store: Store) -> None:
    accept(store, document(flags={"a": 1, "b": True}))
    accept(store, replace(document(flags={"b": True, "a": 1}), file="manifests/b.yaml"))
    assert numbers(store) == [1]
    accept(store, document(2, flags={"b": 1, "a": 1}))
    assert numbers(store) == [1, 2]
    assert list(known(store)[0]["own"]) == ["model", "flags"]
