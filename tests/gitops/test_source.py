"""A source over a real repository, with a controller that only remembers."""

import asyncio
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.controller.preview import check_spec
from reconciler.core.accept import Beside, Seen
from reconciler.core.actions import Event
from reconciler.core.model import Document
from reconciler.core.source import SourceRecord
from reconciler.gitops.cache import Cache, Tree
from reconciler.gitops.git import GitError, Remote
from reconciler.gitops.source import Repository, Source
from tests.controller.answering import until
from tests.gitops.remotes import BareRemote
from tests.gitops.test_reading import local, manifest

pytestmark = pytest.mark.anyio


class House:
    """What a controller would remember."""

    def __init__(self) -> None:
        self.known: SourceRecord | None = None
        self.events: list[Event] = []
        self.documents: dict[str, Document] = {}
        self.judged = Beside()
        self.beside = Seen()
        self.suspended = False
        self.pokes = 0
        self.full = False

    def record(self) -> SourceRecord | None:
        return self.known

    def remember(self, record: SourceRecord, events: list[Event]) -> None:
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        self.known = record
        self.events += events

    def is_suspended(self) -> bool:
        return self.suspended

    def accepted(self) -> dict[str, Document]:
        return self.documents

    def judged_with(self) -> Beside:
        return self.judged

    def others(self) -> Seen:
        return self.beside

    def poke(self) -> None:
        self.pokes += 1

    def accept(self, source: Source) -> None:
        """As the next pass does."""
        self.documents = {one.name: one for one in source.look.documents}
        self.judged = Beside({one.key: one for one in source.look.others})

    def told(self) -> list[str]:
        return [event.reason for event in self.events]


@pytest.fixture
def remote(tmp_path: Path) -> BareRemote:
    made = BareRemote(tmp_path / "remote.git")
    made.commit({"a.yaml": manifest("a"), "b.yaml": manifest("b")}, subject="First")
    return made


@pytest.fixture
def house() -> House:
    return House()


def source_of(house: House, tmp_path: Path, url: str, path: str = "") -> Source:
    followed = Repository(Remote(url, "refs/heads/main", timeout=30.0), path, interval=0.05)
    return Source(tmp_path / "git", followed, house, check_spec)


@pytest.fixture
def source(house: House, tmp_path: Path, remote: BareRemote) -> Iterator[Source]:
    made = source_of(house, tmp_path, remote.url)
    yield made
    made.close()


async def test_the_first_look_puts_the_revision_in_force(source: Source, house: House, remote: BareRemote) -> None:
    assert (source.look.documents, source.look.failed) == ((), "")
    record = await source.sync()
    assert record.applied
    assert (record.applied.commit, record.applied.subject) == (remote.head(), "First")
    assert [one.name for one in source.look.documents] == ["a", "b"]
    assert (house.told(), house.pokes) == (["RevisionApplied"], 1)
    look = source.look
    await source.sync()
    assert source.look is look
    assert (house.told(), house.pokes) == (["RevisionApplied"], 1)


async def test_the_next_controller_stands_on_what_was_accepted(
    source: Source, house: House, tmp_path: Path, remote: BareRemote
) -> None:
    await source.sync()
    house.accept(source)
    remote.commit({"a.yaml": manifest("a", ctx=9)})
    remote.folder.rename(tmp_path / "away")
    shutil.rmtree(tmp_path / "git")
    again = source_of(house, tmp_path, remote.url)
    assert [one.spec.ctx for one in again.look.documents] == [None, None]
    assert (await again.sync()).reason == "RepositoryMissing"
    assert [one.spec.ctx for one in again.look.documents] == [None, None]
    again.close()


async def test_a_predecessor_killed_before_it_acted_is_caught_up_with(
    source: Source, house: House, tmp_path: Path, remote: BareRemote
) -> None:
    await source.sync()
    house.accept(source)
    remote.commit({"a.yaml": manifest("a", ctx=9)})
    await source.sync()  # remembered, but killed before its documents were accepted
    remote.folder.rename(tmp_path / "away")
    again = source_of(house, tmp_path, remote.url)
    assert [one.spec.ctx for one in again.look.documents] == [None, None]
    await again.sync()
    assert [one.spec.ctx for one in again.look.documents] == [9, None]
    again.close()


async def test_files_on_disk_decide_nothing(source: Source, house: House, tmp_path: Path, remote: BareRemote) -> None:
    await source.sync()
    house.accept(source)
    (tmp_path / "git" / "current" / "a.yaml").write_text(manifest("a", ctx=9))
    again = source_of(house, tmp_path, remote.url)
    await again.sync()
    assert [one.spec.ctx for one in again.look.documents] == [None, None]
    await again.restore()
    assert (tmp_path / "git" / "current" / "a.yaml").read_text() == manifest("a")
    assert house.told()[-1] == "SyncedFilesRestored"
    count = len(house.events)
    await again.restore()
    assert len(house.events) == count
    again.close()


async def test_a_switch_that_was_not_finished_is_no_tampering(
    source: Source, house: House, tmp_path: Path, remote: BareRemote
) -> None:
    await source.sync()
    before = (tmp_path / "git" / "current").readlink()
    remote.commit({"a.yaml": manifest("a", ctx=9)})
    await source.sync()
    (tmp_path / "git" / "current").unlink()
    (tmp_path / "git" / "current").symlink_to(before)
    again = source_of(house, tmp_path, remote.url)
    await again.sync()
    await again.restore()
    assert (tmp_path / "git" / "current").readlink().name == remote.head()
    assert "SyncedFilesRestored" not in house.told()
    again.close()


async def test_a_lost_cache_is_made_anew(source: Source, house: House, tmp_path: Path, remote: BareRemote) -> None:
    await source.sync()
    house.accept(source)
    shutil.rmtree(tmp_path / "git" / "cache.git")
    house.suspended = True
    source.suspend()
    remote.commit({"a.yaml": manifest("a", ctx=9)})
    again = source_of(house, tmp_path, remote.url)
    record = await again.sync()
    assert record.pending
    assert [one.spec.ctx for one in again.look.documents] == [None, None]
    house.suspended = False
    await again.resume()
    assert [one.spec.ctx for one in again.look.documents] == [9, None]
    again.close()


async def test_hours_without_the_remote_are_one_event(
    source: Source, house: House, tmp_path: Path, remote: BareRemote
) -> None:
    await source.sync()
    look = source.look
    remote.folder.rename(tmp_path / "away")
    for _ in range(20):
        record = await source.sync()
    assert record.error_since is not None
    assert house.told() == ["RevisionApplied", "RepositoryMissing"]
    assert source.look is look


async def test_a_bad_revision_is_judged_anew_when_its_reason_is_gone(
    source: Source, house: House, remote: BareRemote
) -> None:
    await source.sync()
    house.accept(source)
    house.beside = Seen((local("c"),))
    remote.commit({"c.yaml": manifest("c")})
    record = await source.sync()
    assert record.pending
    assert "manifests/c.yaml" in record.problems[0]
    assert len(source.look.documents) == 2
    house.beside = Seen()
    record = await source.sync()
    assert (record.pending, record.problems) == (None, ())
    assert len(source.look.documents) == 3


async def test_a_refused_revision_is_judged_anew_without_the_remote(
    source: Source, house: House, tmp_path: Path, remote: BareRemote
) -> None:
    await source.sync()
    house.accept(source)
    house.beside = Seen((local("c"),))
    remote.commit({"c.yaml": manifest("c")})
    await source.sync()
    remote.folder.rename(tmp_path / "away")
    await source.reconsider()
    assert [one.name for one in source.look.documents] == ["a", "b"]
    house.beside = Seen()
    await source.reconsider()
    assert [one.name for one in source.look.documents] == ["a", "b", "c"]
    record = house.record()
    assert record
    assert (record.pending, record.reason) == (None, "")


async def test_a_state_that_cannot_be_written_puts_nothing_in_force_and_does_not_end_the_following(
    source: Source, house: House, remote: BareRemote, caplog: pytest.LogCaptureFixture
) -> None:
    house.full = True
    following = asyncio.create_task(source.run())
    await until(lambda: "the state cannot be written" in caplog.text)
    assert source.look.documents == ()
    remote.commit({"a.yaml": manifest("a", ctx=9)})
    house.full = False
    await until(lambda: house.known and house.known.applied and house.known.applied.commit == remote.head())
    await until(lambda: [one.spec.ctx for one in source.look.documents] == [9, None])
    following.cancel()


async def test_a_suspension_during_a_look_holds_what_it_finds(
    source: Source, house: House, remote: BareRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    await source.sync()
    remote.commit({"a.yaml": manifest("a", ctx=9)})
    look = Cache.look

    def suspended_meanwhile(cache: Cache) -> str:
        house.suspended = True
        return look(cache)

    monkeypatch.setattr(Cache, "look", suspended_meanwhile)
    record = await source.sync()
    assert (record.suspended, record.pending and record.pending.commit) == (True, remote.head())
    assert source.look.documents[0].spec.ctx is None


async def test_files_that_cannot_be_written_hold_nothing_up(
    source: Source, house: House, tmp_path: Path, remote: BareRemote
) -> None:
    await source.sync()
    (tmp_path / "git" / "revisions").rename(tmp_path / "git" / "was")
    (tmp_path / "git" / "revisions").write_text("in the way")
    remote.commit({"a.yaml": manifest("a", ctx=9)})
    await source.sync()
    assert source.look.documents[0].spec.ctx == 9


async def test_suspended_it_only_looks(source: Source, house: House, remote: BareRemote) -> None:
    await source.sync()
    house.suspended = True
    source.suspend()
    remote.commit({"a.yaml": manifest("a", ctx=9)})
    record = await source.sync()
    assert (record.suspended, record.pending and record.pending.commit) == (True, remote.head())
    assert source.look.documents[0].spec.ctx is None
    house.suspended = False
    record = await source.resume()
    assert house.told()[-2:] == ["SourceResumed", "RevisionApplied"]
    assert (record.suspended, record.pending) == (False, None)
    assert source.look.documents[0].spec.ctx == 9


async def test_another_address_in_the_settings_keeps_what_was_accepted_until_it_is_read(
    source: Source, house: House, tmp_path: Path
) -> None:
    await source.sync()
    house.accept(source)
    other = BareRemote(tmp_path / "other.git")
    again = source_of(house, tmp_path, other.url)
    assert (await again.sync()).reason == "RefMissing"
    assert house.known
    assert house.known.url == other.url
    assert [one.name for one in again.look.documents] == ["a", "b"]
    other.commit({"z.yaml": manifest("z")})
    await again.sync()
    assert [one.name for one in again.look.documents] == ["z"]
    assert "HistoryRewritten" not in house.told()
    again.close()


async def test_another_folder_in_the_settings_is_judged_as_something_new(
    source: Source, house: House, tmp_path: Path, remote: BareRemote
) -> None:
    remote.commit({"sub/c.yaml": manifest("c"), "sub/d.yaml": "a: ["})
    source.close()
    first = source_of(house, tmp_path, remote.url, path="sub")
    assert (await first.sync()).problems
    remote.commit({"sub/d.yaml": None, "e.yaml": "a: ["})
    await first.sync()
    house.accept(first)
    assert [one.name for one in first.look.documents] == ["c"]
    first.close()
    again = source_of(house, tmp_path, remote.url)
    record = await again.sync()
    assert "git:e.yaml" in record.problems[0]
    assert [one.name for one in again.look.documents] == ["c"]
    await again.restore()
    assert "SyncedFilesRestored" not in house.told()
    again.close()


async def test_another_folder_of_the_same_commit_has_other_files_and_nobody_changed_them(
    source: Source, house: House, tmp_path: Path, remote: BareRemote
) -> None:
    remote.commit({"sub/c.yaml": manifest("c")})
    await source.sync()
    house.accept(source)
    source.close()
    again = source_of(house, tmp_path, remote.url, path="sub")
    await again.sync()
    assert sorted(path.name for path in (tmp_path / "git" / "current").glob("*.yaml")) == ["c.yaml"]
    await again.restore()
    assert "SyncedFilesRestored" not in house.told()
    again.close()


async def test_what_is_too_large_is_not_fetched_over_and_over(
    house: House, tmp_path: Path, remote: BareRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    fetch = Cache.fetch

    def counted(cache: Cache, commit: str) -> None:
        fetched.append(commit)
        fetch(cache, commit)

    monkeypatch.setattr(Cache, "fetch", counted)
    remote.commit({"big.bin": random.Random(1).randbytes(12_000_000)})
    followed = Repository(Remote(remote.url, "refs/heads/main", most_bytes=1_000_000), "", 1.0)
    source = Source(tmp_path / "git", followed, house, check_spec)
    for _ in range(3):
        assert (await source.sync()).reason == "TooLarge"
    assert (len(fetched), house.told()) == (1, ["TooLarge"])
    smaller = remote.commit({"a.yaml": manifest("a")}, parent="")
    assert (await source.sync()).reason == ""
    assert fetched[1:] == [smaller]
    source.close()


async def test_what_takes_too_long_to_read_is_not_read_over_and_over(
    house: House, source: Source, remote: BareRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def slow(_: Cache, commit: str, __: str) -> Tree:
        read.append(commit)
        raise GitError("TimedOut", "too slow")

    monkeypatch.setattr(Cache, "tree", slow)
    for content in ("a", "b"):
        remote.commit({"a.yaml": manifest(content)})
        for _ in range(3):
            assert (await source.sync()).reason == "TimedOut"
    assert len(read) == 2
    assert len(set(read)) == 2


async def test_a_close_amid_a_look_that_hangs_waits_for_nothing(house: House, tmp_path: Path) -> None:
    """A fifo in place of a packed-refs file: git waits for ever to open it."""
    remote = BareRemote(tmp_path / "remote.git")
    remote.commit({"a.yaml": manifest("a")})
    (remote.folder / "packed-refs").unlink(missing_ok=True)
    os.mkfifo(remote.folder / "packed-refs")
    source = source_of(house, tmp_path, remote.url)
    looking = asyncio.create_task(source.sync())
    await asyncio.sleep(0.3)
    assert not looking.done()
    house.suspended = True
    assert source.suspend().suspended  # a person who holds it need not wait for the look
    begun = time.monotonic()
    source.close()
    record = await asyncio.wait_for(looking, 5)
    assert (record.reason, house.told()) == ("", ["SourceSuspended"])  # that says nothing about the remote
    assert time.monotonic() - begun < 5
