"""Profiles and defaults over a controller's life: what is kept, asked for and told."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller import asking
from reconciler.controller.daemon import Daemon
from reconciler.core.refusals import UnknownServersError
from reconciler.settings import load_settings
from reconciler.store import past, read
from tests.controller.answering import until

pytestmark = pytest.mark.anyio
HEAD = "apiVersion: llama.reconciler/v1alpha1\n"
Begin = Callable[[], AbstractAsyncContextManager[Daemon]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "manifests"
    made.mkdir()
    (tmp_path / "state").mkdir()
    for name, tier in (("a", "day"), ("b", "night")):
        # Suspended: what is wanted is looked at, and nothing has to run for that.
        declare(made, "LlamaServer", name, "{model: m.gguf, suspend: true}", f"labels: {{tier: {tier}}}")
    return made


def declare(folder: Path, kind: str, name: str, spec: str, labels: str = "") -> Path:
    path = folder / f"{kind}-{name}.yaml"
    draft = path.with_suffix(".draft")
    draft.write_text(f"{HEAD}kind: {kind}\nmetadata: {{name: {name}, {labels}}}\nspec: {spec}\n")
    return draft.replace(path)


def empty(folder: Path) -> None:
    for path in list(folder.iterdir()):
        path.unlink()


@pytest.fixture
def begin(tmp_path: Path, folder: Path) -> Begin:
    """Begins a controller on one state."""

    @asynccontextmanager
    async def make() -> AsyncIterator[Daemon]:
        folders = {f"RECONCILER_{name.upper()}": str(tmp_path / name) for name in ("state", "manifests", "models")}
        (tmp_path / "reconciler.toml").touch()
        daemon = Daemon(load_settings(folders, str(tmp_path / "reconciler.toml")), {}, 0o022)
        looping = asyncio.create_task(daemon.loop.run())
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


def wanted(daemon: Daemon) -> list[str]:
    return sorted(name for name, one in daemon.loop._desired.servers.items() if not one.parked)


def open_requests(daemon: Daemon) -> list[tuple[str, str]]:
    rows = daemon._store._db.conn.execute("select kind, server from requests where done_at is null order by id")
    return [(kind, name) for kind, name in rows.fetchall()]


def items(tmp_path: Path, what: Callable[[Any], list[Any]]) -> list[Any]:
    db = read.open_readonly(tmp_path / "state")
    try:
        return what(db)
    finally:
        db.close()


async def test_what_was_accepted_stands_over_a_restart_with_broken_files(begin: Begin, folder: Path) -> None:
    declare(folder, "Profile", "day", "{servers: [a], active: true}")
    declare(folder, "LlamaServerDefaults", "d", "{template: {ctx: 9, flags: {x: 1}}}")
    async with begin() as daemon:
        await until(lambda: wanted(daemon) == ["a"])
    declare(folder, "Profile", "day", "{servers: a, active: false}")
    declare(folder, "LlamaServerDefaults", "d", "{template: {ctx: many}}")
    async with begin() as daemon:
        await daemon.interface.reconcile()
        assert wanted(daemon) == ["a"]
        document = daemon._store.documents["a"]
        assert (document.spec.ctx, document.written.ctx, document.came_from["spec.ctx"]) == (9, None, "d")
        assert (daemon.loop._desired.profile, document.generation) == ("day", 1)
        told = json.loads(daemon._store.meta["manifests"])
        assert sorted(told["others"]) == ["LlamaServerDefaults/d", "Profile/day"]
        declare(folder, "LlamaServer", "a", "{model: m.gguf, ctx: many}")
        await daemon.interface.reconcile()
        assert "spec.ctx" in str(json.loads(daemon._store.meta["invalid"])["a"])
        answer = await daemon.interface.reconcile()
        wrong = ["spec.ctx", "spec.servers", "spec.template.ctx"]
        assert sorted(problem["field"] for problem in answer["problems"]) == wrong


async def test_a_request_for_a_profile_is_open_until_it_is_in_force(begin: Begin, folder: Path) -> None:
    declare(folder, "Profile", "day", "{servers: [a]}")
    async with begin() as daemon:
        await daemon.interface.reconcile()
        await daemon.interface.request("profile", ["day"])
        assert open_requests(daemon) == [("profile", "day")]
        declare(folder, "Profile", "day", "{servers: [a], active: true}")
        await daemon.interface.reconcile()
        assert (open_requests(daemon), wanted(daemon)) == ([], ["a"])
        await daemon.interface.request("profile", [""])
        assert open_requests(daemon) == [("profile", "")]
        declare(folder, "Profile", "day", "{servers: [a]}")
        await daemon.interface.reconcile()
        assert (open_requests(daemon), wanted(daemon)) == ([], ["a", "b"])


async def test_the_last_one_that_is_asked_for_counts_and_another_one_in_force_ends_it(
    begin: Begin, folder: Path
) -> None:
    for name in ("day", "night"):
        declare(folder, "Profile", name, "{servers: [a]}")
    async with begin() as daemon:
        await daemon.interface.reconcile()
        await daemon.interface.request("profile", ["day"])
        await daemon.interface.request("profile", ["night"])
        assert open_requests(daemon) == [("profile", "night")]
        declare(folder, "Profile", "day", "{servers: [a], active: true}")
        await daemon.interface.reconcile()
        assert open_requests(daemon) == []
        with pytest.raises(UnknownServersError, match="no such profile: dya"):
            await daemon.interface.request("profile", ["dya"])


async def test_without_a_name_it_is_taken_back(begin: Begin, folder: Path) -> None:
    declare(folder, "Profile", "day", "{servers: [a]}")
    async with begin() as daemon:
        await daemon.interface.reconcile()
        for names in (["day"], []):
            await daemon.interface.request("profile", names)
        assert open_requests(daemon) == []


async def test_what_was_asked_for_and_never_written_confirms_no_later_edit(
    begin: Begin, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LAPSE", 0.3)
    declare(folder, "Profile", "day", "{servers: [a], active: true}")
    declare(folder, "Profile", "night", "{selector: {matchLabels: {tier: night}}}")
    async with begin() as daemon:
        await daemon.interface.reconcile()
        await daemon.interface.request("profile", ["night"])
        passes = daemon.loop.passes
        await until(lambda: not open_requests(daemon))
        assert daemon.loop.passes > passes  # it wakes for that by itself
        declare(folder, "Profile", "night", "{selector: {matchLabels: {tier: nihgt}}, active: true}")
        declare(folder, "Profile", "day", "{servers: [a]}")
        await daemon.interface.reconcile()
        assert (wanted(daemon), bool(daemon.loop.acceptance.selection.held)) == (["a"], True)


@pytest.mark.parametrize(("seconds", "left"), [(10, [("profile", "day")]), (3600, [])])
async def test_what_another_controller_was_asked_counts_as_long(
    begin: Begin, folder: Path, tmp_path: Path, seconds: int, left: list[tuple[str, str]]
) -> None:
    declare(folder, "Profile", "day", "{servers: [a]}")
    async with begin() as daemon:
        await daemon.interface.reconcile()
        await daemon.interface.request("profile", ["day"])
    with closing(sqlite3.connect(tmp_path / "state" / "state.db")) as db, db:
        db.execute("update requests set created_at = created_at - ?", [seconds])
    async with begin() as daemon:
        await daemon.interface.reconcile()
        assert open_requests(daemon) == left


async def test_asked_again_it_counts_from_then_on(begin: Begin, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(folder, "Profile", "day", "{servers: [a]}")
    async with begin() as daemon:
        await daemon.interface.reconcile()
        (first,) = await daemon.interface.request("profile", ["day"])
        monkeypatch.setattr(asking, "LAPSE", 600.0)
        (second,) = await daemon.interface.request("profile", ["day"])
        assert second != first
        assert daemon._store.profile_request() == second
        lapses_at = daemon.loop._lapse.look(daemon.loop.now())
        assert lapses_at is not None
        assert lapses_at > daemon.loop.now().monotonic + 500


async def test_an_empty_selection_is_held_over_a_restart_until_it_is_asked_for(
    begin: Begin, folder: Path, tmp_path: Path
) -> None:
    declare(folder, "Profile", "day", "{selector: {matchLabels: {tier: day}}, active: true}")
    async with begin() as daemon:
        await until(lambda: wanted(daemon) == ["a"])
        declare(folder, "Profile", "day", "{selector: {matchLabels: {tier: dya}}, active: true}")
        await daemon.interface.reconcile()
        assert daemon.loop.acceptance.selection.held
    async with begin() as daemon:
        answer = await daemon.interface.reconcile()
        assert "confirm it with: reconciler profile use day" in answer["folderProblem"]
        assert wanted(daemon) == ["a"]
        (day,) = items(tmp_path, read.profiles)
        assert (day["status"]["active"], day["status"]["selected"]) == (True, ["a"])
        assert "selects no server" in day["status"]["held"]
        assert [event["reason"] for event in items(tmp_path, past.events)].count("ManifestsHeld") == 1
        await daemon.interface.request("profile", ["day"])
        assert (wanted(daemon), open_requests(daemon)) == ([], [])
        assert (await daemon.interface.reconcile())["folderProblem"] == ""


async def test_what_an_emptied_folder_declared_of_other_kinds_is_held_and_can_be_confirmed(
    begin: Begin, folder: Path
) -> None:
    declare(folder, "Profile", "day", "{servers: [a], active: true}")
    async with begin() as daemon:
        await until(lambda: wanted(daemon) == ["a"])
        empty(folder)
        answer = await daemon.interface.reconcile()
        assert sorted(answer["prunable"]) == ["Profile/day", "a", "b"]
        assert daemon._store.others.keys() == {"Profile/day"}
        await daemon.interface.request("prune", answer["prunable"])
        assert (daemon._store.others, daemon._store.documents, open_requests(daemon)) == ({}, {}, [])


async def test_what_is_gone_is_gone_after_the_delay(begin: Begin, folder: Path) -> None:
    path = declare(folder, "Profile", "day", "{servers: [a], active: true}")
    async with begin() as daemon:
        await until(lambda: wanted(daemon) == ["a"])
        path.unlink()
        await daemon.loop.run_pass()
        assert wanted(daemon) == ["a"]
        await daemon.interface.reconcile()
        assert (wanted(daemon), daemon._store.others) == (["a", "b"], {})


async def test_a_server_and_a_profile_of_one_name_have_nothing_to_do_with_each_other(
    begin: Begin, folder: Path
) -> None:
    declare(folder, "Profile", "b", "{servers: [a]}")
    async with begin() as daemon:
        await daemon.interface.reconcile()
        await daemon.interface.request("profile", ["b"])
        (folder / "LlamaServer-b.yaml").unlink()
        await daemon.interface.reconcile()
        assert daemon._store.documents.keys() == {"a"}
        assert daemon._store.others.keys() == {"Profile/b"}
        assert open_requests(daemon) == [("profile", "b")]


async def test_a_preview_counts_profiles_and_defaults(begin: Begin, folder: Path) -> None:
    declare(folder, "LlamaServer", "c", "{model: m.gguf}")
    async with begin() as daemon:
        await until(lambda: wanted(daemon) == ["a", "b", "c"])
        text = f"{HEAD}kind: Profile\nmetadata: {{name: day}}\nspec: {{servers: [a], active: true}}\n"
        answer = await daemon.interface.preview([{"file": "day.yaml", "text": text}])
        changes = {change["server"]: change for change in answer["changes"]}
        assert changes["c"]["reason"].startswith("the active profile 'day' leaves it out")
        broken = await daemon.interface.preview([{"file": "day.yaml", "text": text.replace("[a]", "[x]")}])
        assert [problem["kind"] for problem in broken["problems"]] == ["Profile"]
        assert daemon._store.others == {}


async def test_a_preview_of_a_removal(begin: Begin, folder: Path) -> None:
    declare(folder, "LlamaServer", "c", "{model: m.gguf, suspend: false}")
    declare(folder, "LlamaServerDefaults", "all", "{template: {ctx: 9}}")
    declare(folder, "Profile", "day", "{servers: [a], active: true}")
    async with begin() as daemon:
        await until(lambda: wanted(daemon) == ["a"])

        async def without(*keys: str) -> dict[str, Any]:
            answer = await daemon.interface.preview([{"file": "", "text": "", "without": key} for key in keys])
            assert answer["problems"] == []
            changes = {one["server"]: one for one in answer["changes"] if one["action"] != "unchanged"}
            return {name: (one["action"], [field["path"] for field in one["fields"]]) for name, one in changes.items()}

        assert await without("Profile/day") == {"c": ("start", [])}
        assert await without("LlamaServerDefaults/all") == {name: ("update", ["spec.ctx"]) for name in "abc"}
        assert await without("Profile/day", "a", "b", "c") == dict.fromkeys("abc", ("stop", []))
        assert len(daemon._store.others) == 2


async def test_a_removal_that_is_meant_is_done_as_soon_as_nothing_holds_it(begin: Begin, folder: Path) -> None:
    broken = folder / "broken.yaml"
    async with begin() as daemon:
        await until(lambda: wanted(daemon) == ["a", "b"])
        broken.write_text("a: [\n")
        (folder / "LlamaServer-b.yaml").unlink()
        await daemon.interface.reconcile()
        await daemon.interface.request("prune", ["b"])
        assert (wanted(daemon), open_requests(daemon)) == (["a", "b"], [("prune", "b")])
        (folder / "LlamaServer-a.yaml").unlink()
        broken.unlink()
        await daemon.interface.reconcile()
        assert (wanted(daemon), open_requests(daemon)) == (["a"], [])


async def test_one_with_an_error_that_the_edit_mends_can_be_asked_for(begin: Begin, folder: Path) -> None:
    declare(folder, "Profile", "day", "{servers: [a], active: null}")
    async with begin() as daemon:
        await daemon.interface.reconcile()
        await daemon.interface.request("profile", ["day"])
        declare(folder, "Profile", "day", "{servers: [a], active: true}")
        await daemon.interface.reconcile()
        assert (wanted(daemon), open_requests(daemon)) == (["a"], [])


async def test_one_that_comes_back_goes_on_counting(begin: Begin, folder: Path, tmp_path: Path) -> None:
    path = folder / "LlamaServer-b.yaml"
    text = path.read_text()
    async with begin() as daemon:
        await until(lambda: wanted(daemon) == ["a", "b"])
        path.unlink()
        await daemon.interface.request("prune", ["b"])
        await daemon.interface.reconcile()
        assert wanted(daemon) == ["a"]
    path.write_text(text)
    async with begin() as daemon:
        await until(lambda: wanted(daemon) == ["a", "b"])
        assert daemon._store.documents["b"].generation == 2


async def test_profiles_and_defaults_are_listed(begin: Begin, folder: Path, tmp_path: Path) -> None:
    declare(folder, "Profile", "day", "{servers: [b], selector: {matchLabels: {tier: day}}, active: true}")
    declare(folder, "Profile", "night", "{servers: [b]}")
    declare(folder, "LlamaServerDefaults", "d", "{selector: {matchLabels: {tier: day}}, template: {ctx: 9}}")
    async with begin() as daemon:
        await until(lambda: wanted(daemon) == ["a", "b"])
        day, night = items(tmp_path, read.profiles)
        assert day["kind"] == "Profile"
        assert day["metadata"]["source"] == {"file": day["metadata"]["source"]["file"], "line": 1, "origin": "local"}
        assert day["status"] == {
            "active": True,
            "selected": ["a", "b"],
            "ready": 0,
            "total": 2,
            "switch": "StopFirst",
            "held": "",
            "problems": [],
        }
        assert (night["status"]["active"], night["status"]["selected"]) == (False, ["b"])
        (defaults,) = items(tmp_path, read.defaults)
        assert defaults["status"] == {"selected": ["a"], "total": 1, "held": "", "problems": []}
        assert defaults["spec"]["template"] == {"ctx": 9}
        (a, _) = items(tmp_path, lambda db: read.servers(db, now=0.0, controller=True))
        assert (a["spec"]["ctx"], a["status"]["fromDefaults"]) == (9, {"spec.ctx": "d"})


async def test_passes_are_counted_and_measured_those_that_fail_too(
    begin: Begin, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("a fault")

    async with begin() as daemon:
        counts = daemon.interface.counts
        assert (counts.failed_passes, counts.passes.count > 0) == (0, True)
        monkeypatch.setattr(daemon.loop, "_pass", breaks)
        before = counts.passes.count
        await daemon.loop.run_pass()
        assert (counts.failed_passes, counts.passes.count) == (1, before + 1)
