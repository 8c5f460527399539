"""Real files under a real watch."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time
from watchfiles import Change

from reconciler.controller import triggers
from reconciler.controller.triggers import _matters, start_ticking, watch_manifests
from tests.controller.answering import until

pytestmark = pytest.mark.anyio


class Watched:
    """A folder under watch, and how often it poked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pokes = 0
        self.lags: list[float] = []

    def poke(self) -> None:
        self.pokes += 1

    async def wakes(self) -> None:
        """Touch a manifest until that pokes: the watch is set; then wait until all is quiet."""
        before = self.pokes
        while self.pokes == before:
            with suppress(FileNotFoundError):
                (self.root / "wake.yaml").write_text("")
            await asyncio.sleep(0.03)
        while True:
            before = self.pokes
            await asyncio.sleep(0.25)
            if self.pokes == before:
                return

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """What is done within must poke."""
        before = self.pokes
        yield
        await until(lambda: self.pokes > before)


@asynccontextmanager
async def watching(root: Path) -> AsyncIterator[Watched]:
    watched = Watched(root)
    task = asyncio.create_task(watch_manifests(root, watched.poke, watched.lags.append))
    try:
        await watched.wakes()
        yield watched
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "manifests"
    folder.mkdir()
    return folder


@pytest.fixture
def rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """No poke but the watch's own."""
    monkeypatch.setattr(triggers, "REWATCH", 60.0)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "REWATCH", 0.1)


async def test_every_kind_of_change_pokes(root: Path, tmp_path: Path, rarely: None) -> None:
    draft = tmp_path / "draft"
    draft.write_text("kind: LlamaServer")
    team = tmp_path / "team.a"
    team.mkdir()
    (team / "b.yaml").write_text("")
    async with watching(root) as watched:
        async with watched.told():
            draft.rename(root / "a.yaml")
        async with watched.told():
            (root / "a.yaml").write_text("edited")
        async with watched.told():
            (root / "a.yaml").rename(root / "b.yml")
        async with watched.told():
            (root / "b.yml").unlink()
        async with watched.told():
            (root / "sub").mkdir()
        async with watched.told():
            (root / "sub" / "c.yaml").write_text("")
        async with watched.told():
            team.rename(root / "team.a")
        async with watched.told():
            (root / "team.a" / "b.yaml").write_text("edited")
        async with watched.told():
            (root / "team.a").rename(tmp_path / "away")
        async with watched.told():
            shutil.rmtree(root / "sub")


async def test_how_late_a_change_is_heard_of_is_told(root: Path, tmp_path: Path, rarely: None) -> None:
    """Of an old file that is renamed into place too; of what is gone nobody knows when it went."""
    old = tmp_path / "old.yaml"
    old.write_text("")
    os.utime(old, (0, 0))
    async with watching(root) as watched:
        watched.lags.clear()
        async with watched.told():
            old.replace(root / "new.yaml")
        await until(lambda: watched.lags)
        assert 0 <= max(watched.lags) < 20
        watched.lags.clear()
        async with watched.told():
            (root / "new.yaml").unlink()
        assert watched.lags == []


async def test_other_files_do_not_poke(root: Path, rarely: None) -> None:
    (root / ".git").mkdir()
    async with watching(root) as watched:
        before = watched.pokes
        for name in (".a.yaml.swp", "a.yaml~", "README.md", ".hidden.yaml", ".git/HEAD", ".git/x.yaml", "a.yaml.tmp"):
            (root / name).write_text("")
        await asyncio.sleep(0.3)
        assert watched.pokes == before
        async with watched.told():
            (root / "a.yaml").write_text("")


async def test_a_folder_made_anew_is_watched_again(root: Path, often: None) -> None:
    async with watching(root) as watched:
        for pause in (0.0, 0.3):
            async with watched.told():
                shutil.rmtree(root)
                await asyncio.sleep(pause)
                root.mkdir()  # noqa: ASYNC240 - at once, so that the name comes back before anybody looks
            await watched.wakes()
            async with watched.told():
                (root / "a.yaml").write_text("")


async def test_a_folder_that_comes_later_is_watched_once_it_is_there(tmp_path: Path, often: None) -> None:
    late = tmp_path / "late"
    asyncio.get_running_loop().call_later(0.3, late.mkdir)
    async with watching(late) as watched, watched.told():
        (late / "a.yaml").write_text("")


async def test_a_link_to_another_folder_is_followed(tmp_path: Path, often: None) -> None:
    for revision in ("rev1", "rev2"):
        (tmp_path / revision).mkdir()
    link = tmp_path / "manifests"
    link.symlink_to("rev1")
    async with watching(link) as watched:
        async with watched.told():
            (tmp_path / "next").symlink_to("rev2")
            (tmp_path / "next").rename(link)
        await watched.wakes()
        async with watched.told():
            (tmp_path / "rev2" / "a.yaml").write_text("")


async def test_a_swap_of_data_as_a_config_map_does_it(root: Path, rarely: None) -> None:
    for revision in ("..rev1", "..rev2"):
        (root / revision).mkdir()
        (root / revision / "a.yaml").write_text(revision)
    (root / "..data").symlink_to("..rev1")
    (root / "a.yaml").symlink_to("..data/a.yaml")
    async with watching(root) as watched:
        async with watched.told():
            (root / "..data_tmp").symlink_to("..rev2")
            (root / "..data_tmp").rename(root / "..data")
        assert (root / "a.yaml").read_text() == "..rev2"


async def test_what_changed_before_the_watch_was_set_is_looked_for(root: Path, often: None) -> None:
    watched = Watched(root)
    task = asyncio.create_task(watch_manifests(root, watched.poke, watched.lags.append))
    await until(lambda: watched.pokes)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("change", "path", "expected"),
    [
        (Change.added, "/home/.config/manifests/a.yaml", True),
        (Change.deleted, "/home/.config/manifests", True),
        (Change.deleted, "/home/.config/manifests/team.a", True),
        (Change.modified, "/home/.config/manifests/notes.txt", False),
        (Change.added, "/home/.config/manifests/4913", True),
        (Change.added, "/home/.config/manifests/.a.yaml", False),
        (Change.deleted, "/home/.config/manifests/a.yaml~", False),
        (Change.added, "/home/.config/manifests/..data", True),
        (Change.added, "/home/.config/manifests/.git/refs/a.yaml", False),
    ],
)
async def test_which_names_matter(change: Change, path: str, expected: bool) -> None:
    assert _matters(Path("/home/.config/manifests"))(change, path) is expected


async def test_ticks_come_at_once_and_again() -> None:
    ticks: list[float] = []
    loop = asyncio.get_running_loop()
    scheduler = start_ticking(0.05, lambda: ticks.append(loop.time()))
    await until(lambda: len(ticks) >= 3)
    scheduler.shutdown(wait=False)
    count = len(ticks)
    await asyncio.sleep(0.2)
    assert len(ticks) == count


async def test_a_tick_that_fails_is_not_the_last() -> None:
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        raise RuntimeError("once more")

    scheduler = start_ticking(0.05, tick)
    await until(lambda: len(ticks) >= 3)
    scheduler.shutdown(wait=False)


@pytest.mark.parametrize("step", [timedelta(days=1), timedelta(hours=1), timedelta(hours=-1), timedelta(days=-1)])
async def test_a_step_of_the_wall_clock_silences_no_tick_and_makes_none_up(step: timedelta) -> None:
    ticks: list[float] = []
    loop = asyncio.get_running_loop()
    with freeze_time(datetime(2026, 1, 1, tzinfo=UTC), real_asyncio=True, tick=True) as clock:
        scheduler = start_ticking(0.1, lambda: ticks.append(loop.time()))
        try:
            await until(lambda: len(ticks) >= 2)
            clock.tick(step)
            before, began = len(ticks), loop.time()
            await until(lambda: len(ticks) >= before + 3, patience=2.0)
            assert loop.time() - began >= 0.15, "each tick that lies in the step was made up for"
        finally:
            scheduler.shutdown(wait=False)
