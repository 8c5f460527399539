import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from reconciler.core.actions import Event, FinishRequest, Forget, SaveInstance, SaveServer
from reconciler.core.history import (
    Condition,
    History,
    Instance,
    Requests,
    ServerRecord,
    Stamp,
    Status,
    StopReason,
    Trigger,
)
from reconciler.core.model import Document, Effective, Exit, Identity, Now, Phase
from reconciler.core.spec import ServerSpec
from reconciler.store.rows import open_snapshot, read_documents, read_history, read_requests
from reconciler.store.writer import Store

NOW = Now(monotonic=100.0, wall=1_700_000_000.0, boot="boot-a")
STAMP = Stamp.of(NOW)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path)
    yield opened
    opened.close()


def at(seconds: float) -> Now:
    return replace(NOW, wall=NOW.wall + seconds, monotonic=NOW.monotonic + seconds)


def instance(server: str = "chat", uid: str = "u1", **fields: Any) -> Instance:
    return Instance(uid, server, fingerprint="1:abc", generation=1, port=8001, intent=STAMP, **fields)


def document(name: str = "chat", **spec: Any) -> Document:
    spec_ = ServerSpec.model_validate({"model": "a.gguf", **spec})
    return Document("LlamaServer", name, "manifests/a.yaml", spec_, {"team": "x"}, {"note": "two\nlines"}, 3, 7)


def deny_commit(store: Store) -> None:
    """From now on no transaction can be committed."""

    def judge(action: int, what: str | None, *_: object) -> int:
        refused = action == sqlite3.SQLITE_TRANSACTION and what == "COMMIT"
        return sqlite3.SQLITE_DENY if refused else sqlite3.SQLITE_OK

    store._db.conn.set_authorizer(judge)


def remembered(store: Store) -> tuple[object, ...]:
    history, requests = store.history(), store.requests()
    return (
        dict(store.documents),
        dict(history.servers),
        dict(history.instances),
        dict(history.ports),
        dict(requests.stop),
        dict(requests.restart),
        store.confirmed_prunes(),
    )


def on_disk(store: Store) -> tuple[object, ...]:
    """What a store opened now would remember."""
    connection = open_snapshot(store.path.parent)
    assert connection is not None
    history, requests = read_history(connection), read_requests(connection)
    documents = read_documents(connection)
    connection.close()
    return (
        documents,
        history.servers,
        history.instances,
        history.ports,
        requests["stop"],
        requests["restart"],
        frozenset(requests["prune"]),
    )


def query(store: Store, sql: str) -> list[tuple[Any, ...]]:
    return list(store._db.conn.execute(sql).fetchall())


def change_everything(store: Store, number: int = 1) -> None:
    store.save_document(document(f"doc-{number}", ctx=number), NOW)
    store.save_server(ServerRecord(f"server-{number}", n=number))
    store.save_instance(instance(f"server-{number}", f"u{number}"), {"argv": ["x"]})
    store.assign_port(f"server-{number}", 8000 + number)
    for kind in ("stop", "restart", "prune"):
        store.add_request(kind, f"server-{number}", NOW)
    store.add_event(Event(f"server-{number}", "Reason", "message"), NOW)
    store.set_meta("fact", str(number))


# ---------------------------------------------------------------- durability


def test_every_commit_is_flushed_to_disk(store: Store) -> None:
    assert query(store, "pragma journal_mode") == [("wal",)]
    assert query(store, "pragma synchronous") == [(2,)]


def test_a_transaction_is_on_disk_and_in_the_mirror_when_it_returns(store: Store) -> None:
    with store.transaction():
        change_everything(store)
    assert remembered(store) == on_disk(store)
    assert store.history().servers == {"server-1": ServerRecord("server-1", n=1)}
    assert store.history().ports == {"server-1": 8001}
    assert store.requests() == Requests(stop={"server-1": 1}, restart={"server-1": 2})
    assert store.confirmed_prunes() == {"server-1"}


def test_the_mirror_follows_the_commit_only(store: Store) -> None:
    with store.transaction():
        change_everything(store)
        assert store.history() == History()
        assert store.requests() == Requests()
        assert store.documents == {}


def test_a_transaction_that_fails_changes_nothing_on_disk_or_in_memory(store: Store) -> None:
    with store.transaction():
        change_everything(store)
    before, events = remembered(store), query(store, "select * from events")

    def fail() -> None:
        with store.transaction():
            change_everything(store, 2)
            store.forget("server-1")
            store.remove_document("doc-1")
            store.finish_request(1, NOW)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert remembered(store) == before == on_disk(store)
    assert query(store, "select * from events") == events
    with store.transaction():
        store.set_meta("fact", "after")
    assert remembered(store) == before == on_disk(store)


def test_a_commit_that_fails_changes_nothing_on_disk_or_in_memory(store: Store) -> None:
    before = remembered(store)
    deny_commit(store)
    with pytest.raises(sqlite3.DatabaseError), store.transaction():
        change_everything(store)
    store._db.conn.set_authorizer(None)
    assert remembered(store) == before == on_disk(store)
    with store.transaction():
        change_everything(store, 2)
    assert set(store.history().servers) == {"server-2"}


def test_a_database_that_another_writer_has_locked_is_an_error_and_then_works_again(store: Store) -> None:
    store._db.conn.execute("pragma busy_timeout = 10")
    other = sqlite3.connect(store.path)
    other.execute("begin immediate")
    with pytest.raises(sqlite3.OperationalError, match="locked"), store.transaction():
        change_everything(store, 2)
    assert remembered(store) == ({}, {}, {}, {}, {}, {}, frozenset())
    other.rollback()
    other.close()
    with store.transaction():
        change_everything(store)
    assert remembered(store) == on_disk(store)


# ---------------------------------------------------------------- values come back as they were

finite = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(st.characters(codec="utf-8"), max_size=20)
count = st.integers(0, 2**53)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | finite | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
stamps = st.builds(Stamp, text, finite, finite)
maybe_stamp = st.none() | stamps
exits = st.builds(Exit, st.none() | st.integers(0, 255), st.none() | st.integers(1, 64))
effectives = st.builds(
    Effective,
    st.none() | count,
    st.none() | count,
    st.none() | text,
    text,
    text,
    st.none() | count,
    st.booleans(),
    text,
)
instances = st.builds(
    Instance,
    uid=text,
    server=text,
    fingerprint=text,
    generation=count,
    port=st.integers(1, 65535),
    intent=stamps,
    trigger=st.sampled_from(Trigger),
    attempt=count,
    delay=finite,
    identity=st.none() | st.builds(Identity, text, count, count),
    ready=maybe_stamp,
    first_ready=maybe_stamp,
    stopping=maybe_stamp,
    stop_reason=st.none() | st.sampled_from(StopReason),
    terminated=maybe_stamp,
    killed=maybe_stamp,
    ended=maybe_stamp,
    exit=st.none() | exits,
    diagnosis=text,
    evidence=text,
    log_tail=text,
    spec=st.dictionaries(text, json_value, max_size=3),
    effective=st.none() | effectives,
    models=st.lists(st.dictionaries(text, count | text, max_size=3), max_size=2).map(tuple),
)
conditions = st.builds(Condition, text, st.booleans(), text, text, finite)
records = st.builds(
    ServerRecord,
    name=text,
    generation=count,
    n=count,
    restarts=count,
    ended=maybe_stamp,
    delay=finite,
    next_trigger=st.none() | st.sampled_from(Trigger),
    failed=maybe_stamp,
    failed_files=text,
    completed=st.booleans(),
    was_ready=st.booleans(),
    last_error=text,
    status=st.none() | st.builds(Status, st.sampled_from(Phase), text, st.lists(conditions, max_size=2).map(tuple)),
)


@hypothesis_settings(max_examples=60)
@given(instances, records)
def test_instances_and_records_come_back_equal(one: Instance, record: ServerRecord) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        with store.transaction():
            store.save_instance(one)
            store.save_server(record)
        before = remembered(store)
        store.close()
        again = Store(Path(folder))
        assert remembered(again) == before
        assert again.history().servers == {record.name: record}
        assert again.history().instances == ({} if one.ended else {one.server: one})
        again.close()


def test_a_document_comes_back_with_only_what_was_written(store: Store, tmp_path: Path) -> None:
    written = document(
        ctx=128, probes={"liveness": {"period": "1m"}}, env={"KEY": {"fromFile": "k"}}, flags={"x": [1, "a"]}
    )
    with store.transaction():
        store.save_document(written, NOW)
    again = Store(tmp_path)
    read = again.documents["chat"]
    again.close()
    assert read == written
    assert read.spec.model_fields_set == written.spec.model_fields_set
    assert read.spec.probes.liveness.model_fields_set == {"period"}


def test_a_changed_document_replaces_the_one_before(store: Store) -> None:
    for ctx in (128, 256):
        with store.transaction():
            store.save_document(document(ctx=ctx), NOW)
    assert remembered(store) == on_disk(store)
    assert [one.spec.ctx for one in store.documents.values()] == [256]


def test_a_removed_document_takes_the_confirmation_of_its_removal_along(store: Store) -> None:
    with store.transaction():
        store.save_document(document(), NOW)
        store.add_request("prune", "chat", NOW)
    with store.transaction():
        store.remove_document("chat")
    assert remembered(store) == on_disk(store) == ({}, {}, {}, {}, {}, {}, frozenset())


# ---------------------------------------------------------------- instances


def test_the_launch_stays_when_the_row_is_written_again(store: Store) -> None:
    with store.transaction():
        store.save_instance(instance(), {"argv": ["llama-server"], "env": {}})
    with store.transaction():
        store.save_instance(instance(identity=Identity("boot-a", 42, 7), first_ready=STAMP))
    columns = query(store, "select pid, ready_at, ended_at, launch from instances")
    assert columns == [(42, NOW.wall, None, '{"argv": ["llama-server"], "env": {}}')]


def test_an_instance_that_ended_is_history_and_its_successor_is_open(store: Store) -> None:
    with store.transaction():
        store.save_instance(instance(uid="u1"))
    with store.transaction():
        store.save_instance(instance(uid="u1", ended=STAMP))
        store.save_instance(instance(uid="u2"))
    assert store.history().instances == {"chat": instance(uid="u2")}
    with store.transaction():
        store.save_instance(instance(uid="u1", ended=STAMP, diagnosis="found later"))
    assert store.history().instances == {"chat": instance(uid="u2")}
    assert remembered(store) == on_disk(store)


def test_a_forgotten_server_leaves_only_its_history(store: Store) -> None:
    with store.transaction():
        change_everything(store)
        store.save_instance(instance("server-1", "u1", ended=STAMP))
    with store.transaction():
        store.forget("server-1")
    assert remembered(store)[1:] == on_disk(store)[1:] == ({}, {}, {}, {}, {}, frozenset())
    assert query(store, "select uid from instances") == [("u1",)]


def test_the_planners_records_are_written_by_kind(store: Store) -> None:
    with store.transaction():
        store.add_request("restart", "chat", NOW)
    with store.transaction():
        for action in (SaveInstance(instance()), SaveServer(ServerRecord("chat")), FinishRequest(1)):
            store.record(action, NOW)
    assert store.history() == History({"chat": ServerRecord("chat")}, {"chat": instance()})
    assert store.requests() == Requests()
    with store.transaction():
        store.record(Forget("chat"), NOW)
    assert store.history().servers == {}


# ---------------------------------------------------------------- requests and ports


def test_what_is_asked_twice_is_one_request(store: Store, tmp_path: Path) -> None:
    with store.transaction():
        first = store.add_request("stop", "chat", NOW)
        assert store.add_request("stop", "chat", NOW) == first
    with store.transaction():
        assert store.add_request("stop", "chat", at(5)) == first
        assert store.add_request("restart", "chat", NOW) != first
        assert store.add_request("stop", "embed", NOW) != first
        store.add_request("adopt", "embed", NOW)
    with store.transaction():
        store.withdraw("stop", "chat", at(10))
    again = Store(tmp_path)
    assert again.requests() == store.requests() == Requests({"embed": 3}, {"chat": 2}, {"embed": 4})
    again.close()


def test_a_request_that_is_done_can_be_made_anew(store: Store) -> None:
    with store.transaction():
        first = store.add_request("restart", "chat", NOW)
    with store.transaction():
        store.finish_request(first, at(1))
    with store.transaction():
        second = store.add_request("restart", "chat", at(2))
    assert second > first
    assert query(store, "select id, done_at from requests order by id") == [(first, NOW.wall + 1), (second, None)]


def test_taking_back_what_nobody_asked_is_nothing(store: Store) -> None:
    with store.transaction():
        store.withdraw("stop", "chat", NOW)
    assert query(store, "select * from requests") == []


def test_a_port_is_kept_until_another_is_assigned(store: Store) -> None:
    for port in (8001, 8001, 8002):
        with store.transaction():
            store.assign_port("chat", port)
        assert store.history().ports == {"chat": port}
    assert remembered(store) == on_disk(store)


# ---------------------------------------------------------------- events


def test_the_same_event_within_the_hour_is_counted(store: Store) -> None:
    event = Event("chat", "Crashed", "exit code 1", warning=True)
    for seconds in (0, 10, 3600):
        with store.transaction():
            store.add_event(event, at(seconds))
    rows = query(store, "select server, reason, message, warning, count, first_at, last_at from events")
    assert rows == [("chat", "Crashed", "exit code 1", 1, 3, NOW.wall, NOW.wall + 3600)]


@pytest.mark.parametrize(
    "other",
    [Event("embed", "Crashed", "x"), Event("chat", "Ready", "x"), Event("chat", "Crashed", "y")],
)
def test_another_event_is_another_line(store: Store, other: Event) -> None:
    with store.transaction():
        store.add_event(Event("chat", "Crashed", "x"), NOW)
        store.add_event(other, NOW)
        store.add_event(Event("chat", "Crashed", "x"), NOW)
    assert query(store, "select count from events order by id") == [(2,), (1,)]


def test_the_same_event_an_hour_later_is_a_new_line(store: Store) -> None:
    for seconds in (0, 3600, 3601):
        with store.transaction():
            store.add_event(Event("chat", "Crashed", "x"), at(seconds))
    assert query(store, "select count, first_at from events order by id") == [(1, NOW.wall), (2, NOW.wall + 3600)]


# ---------------------------------------------------------------- bounds


def test_history_is_trimmed_to_its_bounds(store: Store) -> None:
    with store.transaction():
        for number in range(10):
            when = Stamp("boot-a", float(number), NOW.wall + number)
            for server in ("chat", "embed"):
                uid = f"{server}-{number}"
                ended = None if number == 0 else when
                store.save_instance(replace(instance(server, uid), intent=when, ended=ended))
            store.add_event(Event("chat", "Reason", f"message {number}"), at(number))
    store.trim(instances=3, events=4)
    kept = {uid for (uid,) in query(store, "select uid from instances")}
    assert kept == {f"{server}-{number}" for server in ("chat", "embed") for number in (0, 7, 8, 9)}
    assert query(store, "select message from events order by id") == [(f"message {n}",) for n in (6, 7, 8, 9)]
    assert remembered(store) == on_disk(store)


def test_names_that_are_gone_are_bounded_together(store: Store) -> None:
    with store.transaction():
        store.save_document(document("declared"), NOW)
        store.save_server(ServerRecord("ending"))
        for number in range(40):
            when = Stamp("boot-a", float(number), NOW.wall + number)
            names = {"declared": number < 3, "ending": number < 3, "runs": number == 0, f"gone-{number}": True}
            for server in (name for name, is_there in names.items() if is_there):
                ended = None if server == "runs" else when
                store.save_instance(replace(instance(server, f"{server}/{number}"), intent=when, ended=ended))
    store.trim(instances=3, events=10)
    kept = {uid for (uid,) in query(store, "select uid from instances")}
    assert {uid for uid in kept if not uid.startswith("gone")} == {
        "runs/0",
        *(f"{name}/{number}" for name in ("declared", "ending") for number in range(3)),
    }
    assert {uid for uid in kept if uid.startswith("gone")} == {f"gone-{n}/{n}" for n in range(10, 40)}
    assert remembered(store) == on_disk(store)


def test_an_old_event_that_came_again_is_not_old(store: Store) -> None:
    with store.transaction():
        for seconds, message in ((0, "again"), (1, "once"), (2, "again")):
            store.add_event(Event("chat", "Reason", message), at(seconds))
    store.trim(instances=1, events=1)
    assert query(store, "select message, count from events") == [("again", 2)]


def test_open_requests_are_never_trimmed(store: Store) -> None:
    with store.transaction():
        store.add_request("stop", "patient", NOW)
        for _ in range(1100):
            store.finish_request(store.add_request("restart", "chat", NOW), NOW)
    store.trim(instances=1, events=1)
    assert query(store, "select count(*), min(id) from requests") == [(1002, 1)]
    assert store.requests().stop == {"patient": 1}


# ---------------------------------------------------------------- reading beside the writer


def test_a_snapshot_reads_what_is_committed_and_cannot_write(store: Store) -> None:
    snapshot = open_snapshot(store.path.parent)
    assert snapshot is not None
    with store.transaction():
        change_everything(store)
        assert read_history(snapshot) == History()
    assert read_history(snapshot) == store.history()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        snapshot.execute("delete from servers")
    snapshot.close()


def test_there_is_no_snapshot_of_nothing(tmp_path: Path) -> None:
    assert open_snapshot(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
