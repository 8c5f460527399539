"""The executor over a real store, and a runtime that records what it is told and what is on disk at that moment."""

import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from reconciler.controller.executor import Executor
from reconciler.controller.launching import Launcher
from reconciler.core.actions import (
    Action,
    Event,
    FinishRequest,
    Kill,
    Plan,
    SaveInstance,
    SaveServer,
    Start,
    Terminate,
    Withdraw,
)
from reconciler.core.ends import STARVED
from reconciler.core.history import Instance, ServerRecord, Stamp, StopReason, Trigger
from reconciler.core.ladder import Step
from reconciler.core.model import Desired, Document, Identity, Now, Wanted
from reconciler.core.spec import ServerSpec
from reconciler.runtimes.host import ResourceError
from reconciler.runtimes.local import Launch, LocalRuntime
from reconciler.settings import Settings
from reconciler.store.rows import open_snapshot, read_history
from reconciler.store.writer import Store

NOW = Now(monotonic=100.0, wall=1_700_000_000.0, boot="boot-a")
STAMP = Stamp.of(NOW)
SECRET = "correct-horse-battery-staple"
START = Start("chat", Trigger.CRASHED, attempt=2, delay=1.0, port=8001)
Deed = tuple[str, Any, dict[str, Instance]]
"""What was done, to what, and the open instances that were on disk then."""


def on_disk(folder: Path) -> dict[str, Instance]:
    """The open instances that survive a power cut now."""
    connection = open_snapshot(folder)
    assert connection is not None
    instances = dict(read_history(connection).instances)
    connection.close()
    return instances


@dataclass
class Recording:
    """Stands in for the runtime."""

    folder: Path
    deeds: list[Deed] = field(default_factory=list)
    refuses: Exception | None = None
    after_spawn: Callable[[], None] = lambda: None

    def start(self, instance: Instance, launch: Launch) -> Identity:
        self._note("start", (instance.uid, launch))
        if self.refuses:
            raise self.refuses
        self.after_spawn()
        return Identity("boot-a", 1000 + len(self.deeds), 7)

    def terminate(self, identity: Identity) -> None:
        self._note("terminate", identity)

    def kill(self, identity: Identity) -> None:
        self._note("kill", identity)

    def _note(self, deed: str, what: object) -> None:
        self.deeds.append((deed, what, on_disk(self.folder)))


@dataclass
class House:
    """An executor and all that it works on."""

    folder: Path
    reported: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "a.gguf").write_bytes(b"GGUF")
        self.store = Store(self.folder)
        self.runtime = Recording(self.folder)
        settings = Settings(models=str(self.folder), llama_server=sys.executable)
        launcher = Launcher(settings, {"PATH": "/bin", "TOKEN": SECRET})
        self.executor = Executor(self.store, cast("LocalRuntime", self.runtime), launcher, self._report)

    def _report(self, event: Event) -> None:
        assert self.store.trouble or self.events(event.reason), f"{event.reason} was reported before it was committed"
        self.reported.append((event.server, event.reason))

    def execute(self, *actions: Action, events: tuple[Event, ...] = (), **spec: Any) -> None:
        one = ServerSpec.model_validate({"model": "a.gguf", **spec})
        documents = {name: Document("LlamaServer", name, "a.yaml", one, generation=3) for name in ("chat", "embed")}
        desired = Desired({name: Wanted(document, "1:abc") for name, document in documents.items()})
        self.executor.execute(Plan(actions, events), desired, NOW)

    def deny_commits(self) -> None:
        """From now on no transaction can be committed."""

        def judge(action: int, what: str | None, *_: object) -> int:
            refused = action == sqlite3.SQLITE_TRANSACTION and what == "COMMIT"
            return sqlite3.SQLITE_DENY if refused else sqlite3.SQLITE_OK

        self.store._db.conn.set_authorizer(judge)

    def events(self, reason: str) -> list[tuple[str, str]]:
        connection = open_snapshot(self.folder)
        assert connection is not None
        found = connection.execute("select server, message from events where reason = ?", [reason]).fetchall()
        connection.close()
        return [(server, text) for server, text in found]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.store.close()


def running(uid: str = "u1", pid: int = 500) -> Instance:
    return Instance(uid, "chat", "1:abc", 1, 8001, STAMP, identity=Identity("boot-a", pid, 7))


def test_a_start_is_on_disk_before_the_spawn_and_its_identity_after(house: House) -> None:
    house.execute(START)
    ((deed, (uid, launch), then),) = house.runtime.deeds
    assert deed == "start"
    intent = Instance(
        uid,
        "chat",
        "1:abc",
        generation=3,
        port=8001,
        intent=STAMP,
        trigger=Trigger.CRASHED,
        attempt=2,
        delay=1.0,
        spec={"model": "a.gguf"},
    )
    assert then == {"chat": intent}
    assert launch.argv[0] == sys.executable
    assert on_disk(house.folder) == {"chat": replace(intent, identity=Identity("boot-a", 1001, 7))}
    assert house.store.history().ports == {"chat": 8001}
    assert house.events("Started") == [("chat", f"pid 1001 on port 8001, instance {uid} (Crashed)")]


def test_a_start_on_a_step_is_written_down_with_it(house: House) -> None:
    step = Step(3, "CPU only, ctx 2048", {"ctx": 2048, "gpuLayers": 0}, hides_gpus=True, on=frozenset({"OomKilled"}))
    house.execute(replace(START, trigger=Trigger.FALLBACK, step=step), ctx=8192, gpuLayers=99)
    ((_, (uid, launch), then),) = house.runtime.deeds
    row = then["chat"]
    assert (row.step, row.step_told, row.changes, row.hides_gpus) == (3, step.told, step.changes, True)
    assert (row.spec, row.fingerprint) == ({"model": "a.gguf", "ctx": 8192, "gpuLayers": 99}, "1:abc")
    told = " ".join(launch.argv)
    assert "--ctx-size 2048 --n-gpu-layers 0 --device none" in told
    assert launch.environment["CUDA_VISIBLE_DEVICES"] == ""
    assert house.events("Started")[0][1].endswith("(Fallback: CPU only, ctx 2048)")
    (written,) = house.store._db.conn.execute("select launch from instances where uid = ?", [uid]).fetchone()
    assert json.loads(written)["env"]["CUDA_VISIBLE_DEVICES"] == ""


def test_every_instance_gets_a_uid_of_its_own(house: House) -> None:
    house.execute(START, replace(START, server="embed", port=8002))
    uids = {uid for _, (uid, _), _ in house.runtime.deeds}
    assert len(uids) == 2
    assert all(set(then) == {"chat", "embed"} for _, _, then in house.runtime.deeds)


def test_a_termination_is_on_disk_before_the_signal(house: House) -> None:
    stopping = replace(running(), stopping=STAMP, stop_reason=StopReason.SUSPENDED, terminated=STAMP)
    identity = Identity("boot-a", 500, 7)
    house.execute(Terminate("u1", identity), SaveInstance(stopping))
    assert house.runtime.deeds == [("terminate", identity, {"chat": stopping})]


def test_a_kill_is_on_disk_before_the_signal(house: House) -> None:
    killed = replace(running(), killed=STAMP)
    identity = Identity("boot-a", 500, 7)
    house.execute(Kill("u1", identity), SaveInstance(killed))
    assert house.runtime.deeds == [("kill", identity, {"chat": killed})]


def test_signals_go_out_before_spawns(house: House) -> None:
    house.execute(replace(START, server="embed"), Kill("u1", Identity("boot-a", 500, 7)))
    assert [deed for deed, _, _ in house.runtime.deeds] == ["kill", "start"]


def test_an_end_and_the_next_start_are_one_commit(house: House) -> None:
    house.execute(SaveInstance(running()))
    house.execute(SaveInstance(replace(running(), ended=STAMP)), SaveServer(ServerRecord("chat", n=1)), START)
    assert house.store.history().servers["chat"].n == 1
    assert house.store.history().instances["chat"].uid != "u1"
    assert house.store.history().instances == on_disk(house.folder)


def test_without_its_commit_nothing_is_done(house: House) -> None:
    house.execute(SaveInstance(running()))
    before = on_disk(house.folder)
    house.deny_commits()
    identity = Identity("boot-a", 500, 7)
    event = Event("chat", "Stopping", "x")
    with pytest.raises(sqlite3.Error):
        house.execute(START, Terminate("u1", identity), Kill("u1", identity), FinishRequest(1), events=(event,))
    house.store._db.conn.set_authorizer(None)
    assert house.runtime.deeds == []
    assert house.reported == []
    assert dict(house.store.history().instances) == before == on_disk(house.folder)


def test_a_spawn_whose_identity_cannot_be_committed_is_known_in_memory_and_its_intent_on_disk(house: House) -> None:
    house.runtime.after_spawn = house.deny_commits
    house.execute(START)
    ((_, (uid, _), _),) = house.runtime.deeds
    known = house.store.history().instances["chat"]
    assert (known.uid, known.identity) == (uid, Identity("boot-a", 1001, 7))
    assert on_disk(house.folder) == {"chat": replace(known, identity=None)}
    house.store._db.conn.set_authorizer(None)
    house.store.mend()
    assert on_disk(house.folder) == {"chat": known}


def test_what_is_no_intent_goes_on_without_a_commit(house: House) -> None:
    terminated = replace(running(), stopping=STAMP, stop_reason=StopReason.REMOVED, terminated=STAMP)
    house.execute(SaveInstance(terminated))
    other = sqlite3.connect(house.store.path)
    other.execute("begin immediate")
    killed = replace(terminated, killed=STAMP)
    house.execute(Kill("u1", Identity("boot-a", 500, 7)), SaveInstance(killed))
    assert [deed for deed, _, _ in house.runtime.deeds] == ["kill"]
    assert house.store.history().instances == {"chat": killed}
    with pytest.raises(sqlite3.Error):
        house.execute(SaveInstance(replace(terminated, terminated=None)))
    other.close()


def test_a_start_that_the_machine_has_no_room_for_is_no_failure(house: House) -> None:
    house.runtime.refuses = ResourceError(24, "too many open files: ulimit -n 65536")
    house.execute(START)
    left = on_disk(house.folder)["chat"]
    assert (left.identity, left.diagnosis, left.evidence) == (None, STARVED, "too many open files: ulimit -n 65536")
    assert house.reported == []
    house.execute(Withdraw(left))
    assert house.store.history().instances == on_disk(house.folder) == {}
    assert house.store._db.conn.execute("select count(*) from instances").fetchone() == (0,)


@pytest.mark.parametrize(
    ("error", "why", "named"),
    [
        (
            OSError(2, "No such file or directory"),
            "the interpreter or loader that it names is missing",
            "BinaryMissing",
        ),
        (OSError(8, "Exec format error"), "Exec format error: it is a program for another", "WrongArchitecture"),
        (OSError(13, "Permission denied"), "Permission denied", "PermissionDenied"),
        (OSError(26, "Text file busy"), "Text file busy", "SpawnFailed"),
        (ValueError("embedded null byte"), "embedded null byte", "SpawnFailed"),
    ],
)
def test_a_spawn_that_fails_is_recorded_with_its_cause(house: House, error: Exception, why: str, named: str) -> None:
    house.runtime.refuses = error
    house.execute(START, replace(START, server="embed"))
    assert len(house.runtime.deeds) == 2
    failed = on_disk(house.folder)["chat"]
    assert (failed.identity, failed.diagnosis) == (None, named)
    assert failed.evidence.startswith(f"{sys.executable} could not be executed: ")
    assert why in failed.evidence
    assert house.events("SpawnFailed") == [("chat", failed.evidence), ("embed", failed.evidence)]
    assert house.events("Started") == []


def test_an_intent_that_is_taken_back_is_not_another_ones(house: House) -> None:
    house.execute(SaveInstance(running()))
    house.execute(Withdraw(replace(running(), uid="u2")))
    assert on_disk(house.folder)["chat"].uid == "u1"
    assert dict(house.store.history().instances) == on_disk(house.folder)


def test_a_secret_that_vanished_since_the_gate_was_open_fails_the_start_only(house: House) -> None:
    house.execute(START, env={"KEY": {"fromFile": "gone"}})
    assert house.runtime.deeds == []
    failed = on_disk(house.folder)["chat"]
    assert failed.diagnosis == "SpawnFailed"
    assert failed.evidence == f"spec.env.KEY: {house.folder}/gone cannot be read: No such file or directory"


def test_secrets_reach_the_process_and_no_file(house: House) -> None:
    house.execute(START, env={"KEY": {"fromEnv": "TOKEN"}})
    ((_, (uid, launch), _),) = house.runtime.deeds
    assert launch.environment["KEY"] == SECRET
    rows = house.store._db.conn.execute("select launch from instances where uid = ?", [uid]).fetchone()
    assert json.loads(rows[0])["env"] == {"KEY": {"from_env": "TOKEN"}}
    house.store._db.conn.execute("pragma wal_checkpoint(truncate)")
    for file in house.folder.iterdir():
        assert SECRET.encode() not in file.read_bytes()


def test_events_are_reported_once_they_are_committed(house: House) -> None:
    house.execute(START, events=(Event("chat", "Crashed", "exit code 1", warning=True),))
    assert house.reported == [("chat", "Crashed"), ("chat", "Started")]


def test_a_plan_of_nothing_writes_nothing(house: House) -> None:
    house.deny_commits()
    house.execute()
