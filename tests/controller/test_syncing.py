"""A source, the manifests folder, what is accepted and the state together, over ends and new beginnings."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from reconciler.controller.daemon import Daemon
from reconciler.settings import load_settings
from tests.controller.answering import until
from tests.gitops.remotes import BareRemote
from tests.gitops.test_reading import manifest

pytestmark = pytest.mark.anyio
Begin = Callable[..., AbstractAsyncContextManager[Daemon]]


def idle(name: str, **spec: object) -> str:
    """A manifest that starts nothing."""
    return manifest(name, suspend="true", **spec)


def names(daemon: Daemon) -> dict[str, str]:
    """Origins of what is in force, by name."""
    return {name: document.origin for name, document in sorted(daemon._store.documents.items())}


@pytest.fixture
def remote(tmp_path: Path) -> BareRemote:
    made = BareRemote(tmp_path / "remote.git")
    made.commit({"a.yaml": idle("a"), "b.yaml": idle("b"), "sub/c.yaml": idle("c")})
    return made


@pytest.fixture
def begin(tmp_path: Path, remote: BareRemote) -> Begin:
    """Begins a controller on one state, with the settings of the moment."""
    (tmp_path / "state").mkdir()

    @asynccontextmanager
    async def make(source: str | None = f'url = "{remote.url}"', *, follows: bool = True) -> AsyncIterator[Daemon]:
        text = f'[source.git]\ninterval = "1h"\n{source}\n' if source is not None else ""
        (tmp_path / "reconciler.toml").write_text(text)
        folders = {f"RECONCILER_{name.upper()}": str(tmp_path / name) for name in ("state", "manifests", "models")}
        settings = load_settings(folders, str(tmp_path / "reconciler.toml"))
        daemon = Daemon(settings, {}, 0o022)
        looping = asyncio.create_task(daemon.loop.run())
        if follows:
            daemon._syncing.start()
            await daemon._syncing.first()
        daemon.poke()
        await until(lambda: daemon.loop.passes)
        try:
            yield daemon
        finally:
            looping.cancel()
            daemon._syncing.close()
            daemon.loop.close()
            daemon._store.close()

    return make


async def in_force(daemon: Daemon, *wanted: str) -> None:
    await until(lambda: sorted(names(daemon)) == sorted(wanted))


async def test_another_folder_with_an_error_moves_nothing(begin: Begin, remote: BareRemote) -> None:
    remote.commit({"sub/d.yaml": "a: ["})
    async with begin(f'url = "{remote.url}"\nbranch = "main"\npath = ""') as daemon:
        assert (await daemon.interface.sync())["status"]["problems"]
        remote.commit({"sub/d.yaml": None})
        await daemon.interface.sync()
        await in_force(daemon, "a", "b", "c")
    remote.commit({"sub/d.yaml": "a: ["}, parent=remote.head())
    async with begin(f'url = "{remote.url}"\npath = "sub"') as daemon:
        assert "git:sub/d.yaml" in (await daemon.interface.sync())["status"]["problems"][0]
        assert sorted(names(daemon)) == ["a", "b", "c"]


async def test_another_address_that_is_away_moves_nothing(begin: Begin, tmp_path: Path) -> None:
    async with begin() as daemon:
        await in_force(daemon, "a", "b", "c")
    async with begin(f'url = "file://{tmp_path}/nowhere"') as daemon:
        assert (await daemon.interface.sync())["status"]["lastError"]
        await asyncio.sleep(2.5)  # longer than a document needs to count as gone
        assert sorted(names(daemon)) == ["a", "b", "c"]


async def test_a_source_that_was_taken_out_does_not_come_back_to_life(begin: Begin, tmp_path: Path) -> None:
    async with begin() as daemon:
        await in_force(daemon, "a", "b", "c")
    async with begin(None) as daemon:
        assert daemon._store.sources == {}
        await daemon.interface.reconcile()
        await daemon.interface.request("prune", sorted(names(daemon)))
        await in_force(daemon)
    assert not (tmp_path / "state" / "git").exists()
    async with begin(f'url = "file://{tmp_path}/nowhere"') as daemon:
        await daemon.interface.sync()
        assert names(daemon) == {}


async def test_who_only_passes_by_forgets_nothing(begin: Begin) -> None:
    """`stop NAME` from a folder whose settings know of no source."""
    async with begin() as daemon:
        await in_force(daemon, "a", "b", "c")
        await daemon.interface.suspend_source("git", True)
    async with begin(None, follows=False) as daemon:
        assert daemon._store.suspended_sources() == {"git"}
        assert daemon._store.sources["git"].applied


async def test_a_server_moves_from_the_folder_to_git_without_a_gap(
    begin: Begin, remote: BareRemote, tmp_path: Path
) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "m.yaml").write_text(idle("m"))
    async with begin() as daemon:
        await daemon.interface.reconcile()
        await in_force(daemon, "a", "b", "c", "m")
        generation = daemon._store.documents["m"].generation
        remote.commit({"m.yaml": idle("m")})
        assert (await daemon.interface.sync())["status"]["problems"]
        assert names(daemon)["m"] == "local"
        (tmp_path / "manifests" / "m.yaml").unlink()
        daemon.poke()
        await until(lambda: names(daemon).get("m") == "git", patience=1.5)  # before it would count as gone
        assert daemon._store.documents["m"].generation == generation
        await asyncio.sleep(2.5)
        assert names(daemon)["m"] == "git"


async def test_a_broken_file_of_the_folder_holds_up_no_commit(begin: Begin, remote: BareRemote, tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "broken.yaml").write_text("a: [")
    async with begin() as daemon:
        await in_force(daemon, "a", "b", "c")
        remote.commit({"a.yaml": None})
        await daemon.interface.sync()
        await in_force(daemon, "b", "c")


async def test_what_is_refused_is_no_preview(begin: Begin, remote: BareRemote) -> None:
    async with begin() as daemon:
        await in_force(daemon, "a", "b", "c")
        bad = remote.commit({"a.yaml": idle("a", ctx=9), "d.yaml": "a: ["}, branch="feature", parent=remote.head())
        shown = await daemon.interface.preview([], bad)
        assert shown["changes"] == []
        assert "git:d.yaml" in shown["problems"][0]["text"]
