import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.history import StopReason
from reconciler.core.model import Exit, Identity, Phase
from reconciler.core.spec import API_VERSION, Restart
from reconciler.store import items, liveness, past, read, rows
from reconciler.store.migrations import migrations
from reconciler.store.writer import Store
from tests.cli.filling import BOOT, START, Filling, eventually, identity_of, stamp, status
from tests.store.older import make_older

NOW = START + 100


@pytest.fixture
def filling(tmp_path: Path) -> Iterator[Filling]:
    with Filling(tmp_path) as filling:
        yield filling


def servers(filling: Filling, *names: str, controller: bool = True) -> list[items.Item]:
    with read.opened(filling.state) as db:
        return read.servers(db, names or None, now=NOW, controller=controller)


def one(filling: Filling, *, controller: bool = True) -> items.Item:
    (item,) = servers(filling, controller=controller)
    return item


# ---------------------------------------------------------------- constants that must agree with slow modules


def test_it_knows_all_migrations() -> None:
    assert {migration.name for migration in migrations._migrations} == read.MIGRATIONS


def test_its_defaults_are_those_of_the_spec() -> None:
    from reconciler.cli import output

    assert Restart().max_restarts == items.MAX_RESTARTS
    assert output.API_VERSION == API_VERSION


def test_it_imports_nothing_slow() -> None:
    slow = ("pydantic", "sqlite_utils", "httpx")
    code = f"import sys, reconciler.store.read; print(*[name for name in {slow} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""


# ---------------------------------------------------------------- servers


def test_a_ready_server_has_every_field(filling: Filling) -> None:
    filling.ready("coder", ctx=4096)
    item = one(filling)
    assert item["metadata"]["name"] == "coder"
    assert item["metadata"]["labels"] == {"tier": "demo"}
    assert item["spec"] == {"model": "tiny.gguf", "ctx": 4096}
    assert item["status"] == {
        "phase": "Ready",
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "reason": reason,
                "message": "",
                "lastTransitionTime": "2023-11-14T22:13:20.250Z",
            }
            for kind, reason in (("Ready", "Ready"), ("Reconciled", "AsDeclared"))
        ],
        "instance": {
            "uid": "uid1",
            "pid": os.getpid(),
            "port": 8001,
            "startedAt": "2023-11-14T22:13:20.250Z",
            "trigger": "Created",
            "readyAt": "2023-11-14T22:13:22.250Z",
            "spec": None,
        },
        "port": 8001,
        "restarts": 0,
        "backoffAttempt": 0,
        "maxRestarts": 3,
        "backoffUntil": None,
        "lastError": "",
        "uptimeSeconds": 100.0,
        "fingerprint": "1:abc",
        "generation": 1,
        "asked": {"ctx": 4096, "ctxPerSlot": 4096, "slots": None, "gpuLayers": None, "model": "tiny.gguf"},
        "effective": {
            "ctxPerSlot": 1024,
            "slots": 4,
            "gpuLayers": "12/12",
            "device": None,
            "model": None,
            "trainedContext": None,
            "capped": False,
        },
        "fallback": None,
        "models": [{"id": "tiny", "size": 10, "parameters": 5, "trainedContext": 512}],
        "message": "",
        "fromDefaults": {},
    }


def test_a_back_off_tells_until_when(filling: Filling) -> None:
    filling.document("coder", restart={"maxRestarts": 7})
    filling.record("coder", status(Phase.BACKOFF, "signal 9"), n=2, restarts=5, ended=stamp(98), delay=4.0)
    found = one(filling)["status"]
    told = {key: found[key] for key in ("restarts", "backoffAttempt", "maxRestarts", "backoffUntil", "instance")}
    assert told == {
        "restarts": 5,
        "backoffAttempt": 2,
        "maxRestarts": 7,
        "backoffUntil": "2023-11-14T22:15:02.250Z",
        "instance": None,
    }


def test_a_delay_that_is_over_is_not_told(filling: Filling) -> None:
    filling.document("coder")
    filling.record("coder", status(Phase.READY), n=1, ended=stamp(10), delay=4.0)
    assert one(filling)["status"]["backoffUntil"] is None


def test_a_name_that_was_never_accepted_is_listed(filling: Filling) -> None:
    filling.record("broken", status(Phase.INVALID, "manifests/a.yaml:1:1: junk"))
    item = one(filling)
    assert (item["spec"], item["status"]["phase"], "source" in item["metadata"]) == ({}, "Invalid", False)


def test_a_document_that_was_not_looked_at_is_pending(filling: Filling) -> None:
    filling.document("coder", generation=4)
    found = one(filling)["status"]
    assert (found["phase"], found["generation"], found["conditions"]) == ("Pending", 4, [])


def test_servers_are_in_the_order_of_names_and_can_be_chosen(filling: Filling) -> None:
    for name in ("b", "c", "a"):
        filling.ready(name)
    assert [item["metadata"]["name"] for item in servers(filling)] == ["a", "b", "c"]
    assert [item["metadata"]["name"] for item in servers(filling, "c", "a", "unknown")] == ["a", "c"]


# ---------------------------------------------------------------- without a controller


def test_a_process_that_lives_on_is_not_called_ready(filling: Filling) -> None:
    filling.ready("coder")
    found = one(filling, controller=False)["status"]
    told = f"no controller is running; pid {os.getpid()} is alive, last seen Ready"
    assert (found["phase"], found["message"]) == ("Unknown", told)
    assert found["instance"]["pid"] == os.getpid()
    ready = found["conditions"][0]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "False", "NoController")


@pytest.mark.parametrize(("phase", "last"), [(Phase.INVALID, "Invalid: junk"), (Phase.STOPPING, "Stopping: junk")])
def test_a_process_that_lives_on_is_unknown_whatever_it_was(filling: Filling, phase: Phase, last: str) -> None:
    filling.document("coder")
    filling.instance("coder")
    filling.record("coder", status(phase, "junk"))
    found = one(filling, controller=False)["status"]
    assert (found["phase"], found["message"].partition("last seen ")[2]) == ("Unknown", last)


def test_what_a_command_without_a_controller_left_is_not_told_twice(filling: Filling) -> None:
    message = "no controller is running; start one with: reconciler run"
    filling.document("coder")
    filling.record("coder", status(Phase.PENDING, message, "NoController"))
    found = one(filling, controller=False)["status"]
    assert (found["phase"], found["message"]) == ("Pending", message)


def test_the_spec_of_the_instance_is_what_it_was_started_with(filling: Filling) -> None:
    filling.document("coder", ctx=4096)
    filling.instance("coder", spec={"model": "old.gguf"})
    item = one(filling)
    assert (item["spec"]["ctx"], item["status"]["instance"]["spec"]) == (4096, {"model": "old.gguf"})


@pytest.mark.parametrize(
    "identity",
    [
        pytest.param(replace(identity_of(os.getpid()), start_ticks=1), id="another process has its pid"),
        pytest.param(replace(identity_of(os.getpid()), boot="another"), id="another boot"),
        pytest.param(Identity(BOOT, 2**22 + 1, 5), id="no such process"),
        pytest.param(Identity("boot-123", 2**22 + 1, 5), id="no such process, recorded without /proc"),
    ],
)
def test_a_process_that_is_gone_is_stopped(filling: Filling, identity: Identity) -> None:
    filling.document("coder")
    filling.record("coder", status(Phase.READY))
    filling.instance("coder", identity=identity)
    found = one(filling, controller=False)["status"]
    assert (found["phase"], found["instance"], found["uptimeSeconds"]) == ("Stopped", None, None)
    assert found["message"] == "ended while no controller was running; start one with: reconciler run"


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen(["true"])
    recorded = {"boot": BOOT, "pid": child.pid, "start_ticks": identity_of(child.pid).start_ticks}
    eventually(lambda: Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    assert not liveness.is_alive(recorded)
    child.wait()


def test_a_pid_must_do_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "BOOT_ID", Path("/nowhere"))
    recorded = {"boot": "boot-1", "pid": os.getpid(), "start_ticks": 5}
    assert liveness.is_alive(recorded)
    assert not liveness.is_alive({**recorded, "pid": 2**22 + 1})


def test_an_identity_recorded_without_proc_is_asked_by_pid() -> None:
    assert liveness.is_alive({"boot": "boot-1", "pid": os.getpid(), "start_ticks": 5})


@pytest.mark.parametrize(
    ("phase", "message", "shown"),
    [
        (Phase.BACKOFF, "signal 9", "no controller is running; last seen BackOff: signal 9"),
        (Phase.BLOCKED, "", "no controller is running; last seen Blocked"),
        (Phase.FAILED, "gave up", "gave up"),
        (Phase.STOPPED, "stopped by request", "stopped by request"),
        (Phase.INVALID, "a.yaml:1:1: junk", "a.yaml:1:1: junk"),
    ],
)
def test_what_does_not_run_says_what_was_last_seen(filling: Filling, phase: Phase, message: str, shown: str) -> None:
    filling.document("coder")
    filling.record("coder", status(phase, message))
    found = one(filling, controller=False)["status"]
    assert (found["phase"], found["message"]) == (phase, shown)


# ---------------------------------------------------------------- events, restarts, meta


def test_the_newest_events_come_last(filling: Filling) -> None:
    filling.event("a", "Started", "one", at=1)
    filling.event("b", "Crashed", "two", at=2, warning=True)
    filling.event("a", "Started", "one", at=3)
    filling.event("a", "Ready", "three", at=2.5)
    with read.opened(filling.state) as db:
        found = past.events(db)
        assert [(event["message"], event["count"]) for event in found] == [("two", 1), ("three", 1), ("one", 2)]
        assert [event["reason"] for event in past.events(db, ["a"], limit=1)] == ["Started"]
    assert found[0] == {
        "server": "b",
        "type": "Warning",
        "reason": "Crashed",
        "message": "two",
        "count": 1,
        "firstAt": "2023-11-14T22:13:22.250Z",
        "lastAt": "2023-11-14T22:13:22.250Z",
    }


def test_restarts_are_starts_with_their_ends(filling: Filling) -> None:
    filling.failed("coder")
    filling.ready("other")
    with read.opened(filling.state) as db:
        assert len(past.restarts(db)) == 5
        found = past.restarts(db, ["coder"], limit=2)
    assert found[-1] == {
        "server": "coder",
        "uid": "uid4",
        "generation": 1,
        "attempt": 3,
        "trigger": "Crashed",
        "step": 0,
        "told": "",
        "adopted": False,
        "delay": 2.0,
        "startedAt": "2023-11-14T22:13:50.250Z",
        "readyAt": None,
        "endedAt": "2023-11-14T22:13:55.250Z",
        "exitCode": None,
        "signal": 9,
        "stopReason": None,
        "diagnosis": "Killed",
        "evidence": "SIGKILL, not sent from here",
        "logTail": "bye",
        "port": 8001,
        "pid": os.getpid(),
    }
    assert [start["attempt"] for start in found] == [2, 3]


def test_an_end_that_was_asked_for_has_its_reason(filling: Filling) -> None:
    begun = filling.instance("coder")
    filling.end(begun, exit=Exit(code=0), stop_reason=StopReason.SPEC_CHANGED)
    with read.opened(filling.state) as db:
        (start,) = past.restarts(db)
    assert (start["exitCode"], start["stopReason"]) == (0, "SpecChanged")


def test_the_launch_is_kept(filling: Filling) -> None:
    begun = filling.instance("coder")
    with read.opened(filling.state) as db:
        launch = past.launch(db, begun.uid)
        assert launch is not None
        assert launch["argv"][0] == "/opt/llama server"
        assert past.launch(db, "unknown") is None


@pytest.mark.parametrize("installation", ["12e4567890123456", "0000000000000017"])
def test_meta_reads_objects_and_leaves_text(filling: Filling, installation: str) -> None:
    filling.meta("installation", installation)
    filling.meta("manifests", '{"folder": "/m", "problems": []}')
    with read.opened(filling.state) as db:
        facts = read.meta(db)
    assert facts["installationFolder"] == str(filling.state)
    del facts["installationFolder"]
    assert facts == {"installation": installation, "manifests": {"folder": "/m", "problems": []}}


def test_a_commit_of_another_connection_is_noticed(filling: Filling) -> None:
    with read.opened(filling.state) as db:
        before = read.version_of(db)
        assert read.version_of(db) == before
        filling.event("a", "Started", "one")
        assert read.version_of(db) != before


# ---------------------------------------------------------------- databases that cannot be read


def test_it_cannot_write(filling: Filling) -> None:
    with pytest.raises(read.ReadError, match="cannot be opened"), read.opened(filling.state) as db:
        db.execute("delete from servers")


def test_a_missing_database_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(read.ReadError, match=r"state\.db is missing; begin an installation with: reconciler run"):
        read.open_readonly(tmp_path)


def test_a_newer_database_is_refused(filling: Filling) -> None:
    with sqlite3.connect(filling.state / read.DATABASE) as writer:
        row = ("reconciler", "fallback_steps", "2030-01-01")
        writer.execute("insert into _sqlite_migrations (migration_set, name, applied_at) values (?, ?, ?)", row)
    writer.close()
    with pytest.raises(read.ReadError, match=r"written by a newer reconciler \(it has 'fallback_steps'\)"):
        read.open_readonly(filling.state)
    with pytest.raises(read.ReadError, match="written by a newer reconciler"):
        rows.open_snapshot(filling.state)


def test_a_database_of_an_older_version_answers_all_the_same(filling: Filling) -> None:
    filling.ready("coder", ctx=4096)
    filling.source()
    with read.opened(filling.state) as db:
        before = read.servers(db, now=NOW, controller=True)
        assert len(read.sources(db)) == 1
    make_older(filling.state)
    with read.opened(filling.state) as db:
        assert read.servers(db, now=NOW, controller=True) == before
        assert read.sources(db) == []
        assert rows.read_documents(db)["coder"].origin == "local"


def test_a_database_that_is_brought_up_to_date_meanwhile_is_read_on(filling: Filling) -> None:
    filling.ready("coder")
    make_older(filling.state)
    with read.opened(filling.state) as db:
        before = read.servers(db, now=NOW, controller=True)
        Store(filling.state).close()
        assert read.servers(db, now=NOW, controller=True) == before
        assert read.sources(db) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "only being made; try again"), (b"junk " * 500, r"is damaged \(file is not a database")],
)
def test_a_file_that_is_no_database_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / read.DATABASE).write_bytes(content)
    with pytest.raises(read.ReadError, match=words):
        read.open_readonly(tmp_path)


def test_a_locked_database_is_told(filling: Filling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "BUSY_TIMEOUT", 0.02)
    filling.store.close()
    other = sqlite3.connect(filling.state / read.DATABASE, isolation_level=None)
    other.execute("pragma locking_mode=exclusive")
    other.execute("create table t (x)")
    with pytest.raises(read.ReadError, match="is locked by another program; try again"):
        read.open_readonly(filling.state)
    other.close()
