"""What the controller gives to readers while the file cannot be written."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from reconciler.core.actions import Event
from reconciler.core.model import Now
from reconciler.store import past, read, snapshot
from reconciler.store.holders import who_holds
from reconciler.store.writer import Store
from tests.cli.filling import BOOT, START, Filling

NOW = Now(0, START, BOOT)


@contextmanager
def given(store: Store) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(store.snapshot())
        yield read.as_known(db, store.path)


@pytest.fixture
def filling(tmp_path: Path) -> Iterator[Filling]:
    with Filling(tmp_path) as made:
        yield made


@pytest.fixture
def locked(filling: Filling) -> Iterator[Filling]:
    """What is on disk; then the database is locked, and more happens."""
    filling.ready("chat")
    filling.event("chat", "Started", "before")
    with closing(sqlite3.connect(filling.state / "state.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        with filling.store.transaction(anyway=True):
            filling.store.add_event(Event("chat", "Crashed", "meanwhile", warning=True), NOW)
            filling.store.set_meta("manifests", '{"folder": "there"}')
        yield filling


def test_what_waits_is_in_it_with_what_is_on_disk(locked: Filling) -> None:
    with given(locked.store) as db:
        assert [event["message"] for event in past.events(db, ["chat"])] == ["before", "meanwhile"]
        assert read.meta(db)["manifests"] == {"folder": "there"}
        assert [item["status"]["phase"] for item in read.servers(db, now=START, controller=True)] == ["Ready"]
        assert len(past.restarts(db)) == 1
    with read.opened(locked.state) as db:
        assert [event["message"] for event in past.events(db, ["chat"])] == ["before"]


def test_a_large_one_is_given_without_its_history(locked: Filling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MOST", 10)
    with given(locked.store) as db:
        assert [event["message"] for event in past.events(db, ["chat"])] == ["meanwhile"]
        assert [item["status"]["phase"] for item in read.servers(db, now=START, controller=True)] == ["Ready"]
        assert past.launch(db, "uid1") is None


def test_one_that_is_gone_is_given_whole(filling: Filling) -> None:
    filling.ready("chat")
    for suffix in ("", "-wal", "-shm"):
        (filling.state / f"state.db{suffix}").unlink()
    with given(filling.store) as db:
        assert read.names(db) == ["chat"]


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the kernel tells nobody's locks")
@pytest.mark.parametrize("statement", ["begin immediate", "begin exclusive"])
@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_who_holds_it_is_named(tmp_path: Path, statement: str, mode: str) -> None:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"pragma journal_mode={mode}")
        db.execute("create table t (x)")
        code = (
            f"import sqlite3; c = sqlite3.connect({str(path)!r}, isolation_level=None); c.execute({statement!r});"
            "print(flush=True); input()"
        )
        command = [sys.executable, "-c", code]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            other.stdout.readline()
            assert f"locked: pid {other.pid} (python" in who_holds(path)
            assert f"kill {other.pid}" in who_holds(path)
            other.communicate(b"\n")
        assert "not the controller, pid" in who_holds(path)
