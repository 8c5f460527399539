"""Edits of the manifests folder by a real controller: which paths there are, two writers, and nothing half-written."""
# ruff: noqa: ASYNC240 - files are looked at between the steps, while nobody waits

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller import manifest_files
from reconciler.controller.daemon import Daemon
from reconciler.controller.editing import Editing
from reconciler.controller.manifest_files import digest_of
from reconciler.core.refusals import EditRefusedError
from reconciler.installation import name_of
from reconciler.manifests.changing import REMOVED
from tests.controller.edited import controlled, profile, server

pytestmark = pytest.mark.anyio


def always(_digest: str | None) -> bool:
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "manifests"
    made.mkdir()
    (made / "chat.yaml").write_text(server("chat"))
    os.utime(made / "chat.yaml", (0, 0))  # long ago: a fresh file is waited for, as somebody may be writing
    return made


@pytest.fixture
async def daemon(tmp_path: Path, folder: Path) -> AsyncIterator[Daemon]:
    async with controlled(tmp_path) as made:
        yield made


@pytest.fixture
def editing(daemon: Daemon) -> Editing:
    return daemon.interface.editing


async def refused(answer: Any) -> EditRefusedError:
    with pytest.raises(EditRefusedError) as caught:
        await answer
    assert caught.value.do, "say what to do"
    return caught.value


# ---------------------------------------------------------------- which files there are


BAD = [
    "",
    "/etc/x.yaml",
    "../x.yaml",
    "a/../../x.yaml",
    "a//b.yaml",
    "./chat.yaml",
    ".hidden.yaml",
    ".git/x.yaml",
    "..data/x.yaml",
    "#chat.yaml",
    "chat.yaml~",
    "chat.txt",
    "chat.YAML",
    "chat",
    "chat.yaml/",
    "a\nb.yaml",
    "a\0b.yaml",
    "a\\b.yaml",
    "\u202egpj.yaml",
    "a" * 300 + ".yaml",
    "/".join("abcdefghij") + ".yaml",
]


async def test_what_names_no_manifest(editing: Editing, tmp_path: Path) -> None:
    before = sorted(map(str, tmp_path.rglob("*.yaml")))
    for name in BAD:
        for asked in (editing.manifest(name), editing.put(name, server("new"), always, dry_run=False)):
            error = await refused(asked)
            assert error.reason == "BadPath", name
            assert "\n" not in error.happened
            assert len(error.happened) < 400
        assert (await refused(editing.plan({name: None}))).reason == "BadPath"
    assert sorted(map(str, tmp_path.rglob("*.yaml"))) == before


async def test_what_links_out_of_the_folder_is_neither_shown_nor_written(
    editing: Editing, folder: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.yaml").write_text("password: hunter2\n")
    (folder / "file.yaml").symlink_to(outside / "secret.yaml")
    (folder / "team").symlink_to(outside)
    (folder / "loop.yaml").symlink_to(folder / "loop.yaml")
    for name in ("file.yaml", "team/secret.yaml", "team/new.yaml"):
        for asked in (editing.manifest(name), editing.put(name, server("new"), always, dry_run=False)):
            error = await refused(asked)
            assert error.reason == "LinkedOut"
            assert "hunter2" not in error.happened
    assert (await refused(editing.manifest("loop.yaml"))).reason in ("BadPath", "ManifestUnwritable")
    assert [path.name for path in outside.iterdir()] == ["secret.yaml"]
    assert (outside / "secret.yaml").read_text() == "password: hunter2\n"


async def test_a_folder_that_becomes_a_link_meanwhile(
    editing: Editing, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside").mkdir()
    (folder / "team").symlink_to(tmp_path / "outside")
    # The look at it was before the link.
    monkeypatch.setattr(manifest_files.ManifestFiles, "_place", lambda _self, name: folder / name)
    assert (await refused(editing.manifest("team/chat.yaml"))).reason == "LinkedOut"


async def test_what_an_older_spec_named_stays_hidden(daemon: Daemon, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("a-key-of-before\n")
    spec = {"model": "tiny.gguf", "apiKeyFile": str(key)}
    assert daemon.interface.told("chat", "key a-key-of-before", spec) == "key (hidden)"
    assert daemon.interface.told("chat", "no key", {"of": "another version"}) == "no key"


async def test_a_folder_of_another_user_is_told_with_whom_the_controller_is(
    editing: Editing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_arguments: object, **_more: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(manifest_files, "put_in_place", denied)
    error = await refused(editing.put("new.yaml", server("new"), always, dry_run=False))
    assert error.reason == "ManifestUnwritable"
    assert error.happened.endswith("new.yaml cannot be written: Permission denied")
    assert f"(the controller runs as {name_of(os.geteuid())})" in error.do


async def test_a_link_within_the_folder_stays_one(editing: Editing, folder: Path) -> None:
    (folder / "team").mkdir()
    (folder / "team" / "real.yaml").write_text(server("linked"))
    (folder / "alias").symlink_to(folder / "team")
    found = await editing.manifest("alias/real.yaml")
    assert found["text"] == server("linked")
    answer = await editing.put("alias/real.yaml", server("linked", ctx=512), always, dry_run=False)
    assert answer["path"] == "team/real.yaml"
    assert (folder / "alias").is_symlink()
    assert "ctx: 512" in (folder / "team" / "real.yaml").read_text()


async def test_what_another_program_publishes_is_shown_and_not_written(editing: Editing, folder: Path) -> None:
    (folder / "..2026_11").mkdir()
    (folder / "..2026_11" / "mounted.yaml").write_text(server("mounted"))
    (folder / "..data").symlink_to("..2026_11")
    (folder / "mounted.yaml").symlink_to("..data/mounted.yaml")
    assert (await editing.manifest("mounted.yaml"))["text"] == server("mounted")
    error = await refused(editing.put("mounted.yaml", server("mounted", ctx=512), always, dry_run=False))
    assert error.reason == "ManifestPublished"
    assert (folder / "..2026_11" / "mounted.yaml").read_text() == server("mounted")


async def test_files_that_cannot_be_named_are_in_nobodys_way(
    editing: Editing, daemon: Daemon, folder: Path, tmp_path: Path
) -> None:
    """The folder reads them: they were put there on the machine itself."""
    (tmp_path / "dotfiles.yaml").write_text(server("linked"))
    (folder / "linked.yaml").symlink_to(tmp_path / "dotfiles.yaml")
    (folder / "tab\t.yaml").write_text(server("tabbed"))
    (folder / os.fsdecode(b"\xff.yaml")).write_text(profile("day", "chat", active=False))
    os.mkfifo(folder / "pipe.yaml")
    await daemon.interface.reconcile()
    listed = await editing.manifests()
    assert [one["path"] for one in listed] == ["chat.yaml", "linked.yaml", "pipe.yaml", "tab\\t.yaml", "\\udcff.yaml"]
    json.dumps(listed).encode()
    assert (await editing.respec("chat", [(("spec", "ctx"), 512)], dry_run=False))["written"]
    for name, reason in (("linked", "LinkedOut"), ("tabbed", "BadPath")):
        assert (await refused(editing.respec(name, [(("spec", "ctx"), 512)], dry_run=False))).reason == reason
    assert (tmp_path / "dotfiles.yaml").read_text() == server("linked")
    assert (await refused(editing.use("day", dry_run=False))).reason == "BadPath"


async def test_what_is_no_ordinary_file_holds_nobody_up(editing: Editing, folder: Path) -> None:
    os.mkfifo(folder / "pipe.yaml")
    (folder / "folder.yaml").mkdir()
    for name in ("pipe.yaml", "folder.yaml"):
        assert (await asyncio.wait_for(refused(editing.manifest(name)), 5)).reason == "BadPath"
    (folder / "large.yaml").write_text("# " + "x" * 1024 * 1024)
    assert (await refused(editing.manifest("large.yaml"))).reason == "TooLarge"


async def test_all_manifests_and_what_is_wrong_with_them(editing: Editing, daemon: Daemon, folder: Path) -> None:
    (folder / "team").mkdir()
    (folder / "team" / "two.yml").write_text(f"{profile('day', 'chat')}---\n{server('bad', ctxx=1)}")
    await daemon.interface.reconcile()
    chat, two = await editing.manifests()
    assert (chat["path"], chat["origin"], chat["problems"]) == ("chat.yaml", "local", [])
    assert chat["documents"] == [{"kind": "LlamaServer", "name": "chat", "line": 2}]
    assert two["path"] == "team/two.yml"
    assert [(one["kind"], one["name"]) for one in two["documents"]] == [("Profile", "day"), ("LlamaServer", "bad")]
    assert [(one["field"], one["line"]) for one in two["problems"]] == [("spec.ctxx", 17)]


# ---------------------------------------------------------------- two writers


async def test_of_two_writers_one_is_told(editing: Editing, folder: Path) -> None:
    seen = (await editing.manifest("chat.yaml"))["digest"]
    edits = [editing.put("chat.yaml", server("chat", ctx=n), lambda one: one == seen, dry_run=False) for n in (1, 2, 3)]
    done = await asyncio.gather(*edits, return_exceptions=True)
    assert [getattr(one, "reason", "written") for one in done] == ["written", "ManifestChanged", "ManifestChanged"]
    assert (folder / "chat.yaml").read_text() == server("chat", ctx=1)


@pytest.mark.parametrize("after", [server("chat", ctx=2), None])
async def test_an_editor_that_was_faster_is_not_written_over(
    editing: Editing, folder: Path, monkeypatch: pytest.MonkeyPatch, after: str | None
) -> None:
    """Between the judgement and the write."""
    judge = editing._refuse_worse

    async def meanwhile(*judged: Any) -> None:
        await judge(*judged)
        (folder / "chat.yaml").write_text(server("chat", ctx=99))

    monkeypatch.setattr(editing, "_refuse_worse", meanwhile)
    assert (await refused(editing.put("chat.yaml", after, always, dry_run=False))).reason == "ManifestChanged"
    assert (folder / "chat.yaml").read_text() == server("chat", ctx=99)


async def test_a_field_is_set_in_what_another_editor_wrote_meanwhile(
    editing: Editing, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, written = editing._refuse_worse, iter([server("chat", ctx=99)])

    async def meanwhile(*judged: Any) -> None:
        await judge(*judged)
        for text in written:
            (folder / "chat.yaml").write_text(text)

    monkeypatch.setattr(editing, "_refuse_worse", meanwhile)
    await editing.respec("chat", [(("spec", "parallel"), 2)], dry_run=False)
    assert (folder / "chat.yaml").read_text() == server("chat", ctx=99, parallel=2)


async def test_a_file_is_told_as_it_is_now(editing: Editing, daemon: Daemon, folder: Path) -> None:
    await daemon.interface.reconcile()
    (folder / "chat.yaml").write_text(server("other", ctxx=1))
    found = await editing.manifest("chat.yaml")
    assert [one["name"] for one in found["documents"]] == ["other"]
    assert [one["field"] for one in found["problems"]] == ["spec.ctxx"]


async def test_a_new_file_takes_no_others_place(
    editing: Editing, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = editing._refuse_worse

    async def meanwhile(*judged: Any) -> None:
        await judge(*judged)
        (folder / "new.yaml").write_text("# mine\n")

    monkeypatch.setattr(editing, "_refuse_worse", meanwhile)
    assert (await refused(editing.put("new.yaml", server("new"), always, dry_run=False))).reason == "ManifestChanged"
    assert sorted(path.name for path in folder.iterdir()) == ["chat.yaml", "new.yaml"]


async def test_of_two_files_both_are_written_or_none(
    editing: Editing, daemon: Daemon, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a-night", "day"):
        (folder / f"{name}.yaml").write_text(profile(name, "chat", active=name == "day"))
    await daemon.interface.reconcile()
    judge = editing._refuse_worse

    async def meanwhile(*judged: Any) -> None:
        await judge(*judged)
        (folder / "day.yaml").write_text("# other\n" + profile("day", "chat", active=True))

    monkeypatch.setattr(editing, "_refuse_worse", meanwhile)
    assert (await refused(editing.use("a-night", dry_run=False))).reason == "ManifestChanged"
    assert (folder / "a-night.yaml").read_text() == profile("a-night", "chat"), "it was written first, and put back"
    assert daemon._store.asked_profile() is None, "the next edit is guarded again"


# ---------------------------------------------------------------- what holds


async def test_a_folder_that_is_away_is_not_made_anew(editing: Editing, daemon: Daemon, folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    error = await refused(editing.put("new.yaml", server("new"), always, dry_run=False))
    assert error.reason == "ManifestUnreadable"
    assert "is missing" in error.happened
    assert not folder.exists()
    assert list(daemon._store.documents) == ["chat"]


async def test_the_first_manifest_makes_the_folder(tmp_path: Path) -> None:
    async with controlled(tmp_path) as daemon:
        answer = await daemon.interface.editing.put("team/new.yml", server("new"), always, dry_run=False)
        assert (answer["path"], answer["written"]) == ("team/new.yml", True)
        await daemon.interface.reconcile()
        assert list(daemon._store.documents) == ["new"]
    assert (tmp_path / "manifests" / "team" / "new.yml").read_text() == server("new")


async def test_the_prune_guard_is_not_gone_round(editing: Editing, daemon: Daemon, folder: Path) -> None:
    """Two thirds of what is to run are gone at once, by one edit of one file."""
    many = "---\n".join(server(f"s{number}", suspend="false") for number in range(9))
    await editing.put("many.yaml", many, always, dry_run=False)
    answer = await editing.put("many.yaml", server("s0", suspend="false"), always, dry_run=False)
    actions = {one["server"]: one["action"] for one in answer["plan"]["changes"]}
    assert actions["s5"] == "hold"
    found = await daemon.interface.reconcile()
    assert "s5" in found["prunable"]
    assert "s5" in daemon._store.documents


async def test_old_errors_elsewhere_are_in_nobodys_way(editing: Editing, daemon: Daemon, folder: Path) -> None:
    (folder / "bad.yaml").write_text(f"\n{server('bad', ctxx=1)}---\n: no: yaml: [\n---\n{server('fine')}")
    await daemon.interface.reconcile()
    await editing.respec("chat", [(("spec", "ctx"), 512)], dry_run=False)
    await editing.respec("fine", [(("spec", "ctx"), 512)], dry_run=False)
    error = await refused(editing.respec("bad", [(("spec", "ctx"), 512)], dry_run=False))
    assert (error.reason, [one["field"] for one in error.problems]) == ("InvalidManifest", ["spec.ctxx"])
    await editing.respec("bad", [(("spec", "ctxx"), REMOVED)], dry_run=False)
    await daemon.interface.reconcile()
    assert "bad" in daemon._store.documents


@pytest.mark.parametrize("text", ["c: [\n", f"{server('chat')}---\n: no: yaml: [\n"])
async def test_an_old_error_is_no_excuse_for_a_file_that_is_written_whole(
    editing: Editing, daemon: Daemon, folder: Path, text: str
) -> None:
    (folder / "chat.yaml").write_text("a: [\n")
    await daemon.interface.reconcile()
    assert (await refused(editing.put("chat.yaml", text, always, dry_run=False))).reason == "InvalidManifest"
    assert (folder / "chat.yaml").read_text() == "a: [\n"
    await editing.put("chat.yaml", server("chat"), always, dry_run=False)


async def test_what_is_declared_elsewhere_is_not_declared_again(editing: Editing, folder: Path) -> None:
    error = await refused(editing.put("more.yaml", server("chat"), always, dry_run=False))
    assert error.reason == "InvalidManifest"
    assert "chat.yaml" in error.happened
    assert not (folder / "more.yaml").exists()


async def test_declared_twice_nobody_knows_which_is_meant(editing: Editing, daemon: Daemon, folder: Path) -> None:
    (folder / "more.yaml").write_text(server("chat"))
    error = await refused(editing.respec("chat", [(("spec", "ctx"), 512)], dry_run=False))
    assert (error.reason, "more.yaml" in error.happened) == ("DeclaredTwice", True)


async def test_a_file_in_another_encoding_is_not_edited_in_part(editing: Editing, daemon: Daemon, folder: Path) -> None:
    content = (server("latin") + "# fran\xe7ais\n").encode("latin-1")
    (folder / "latin.yaml").write_bytes(content)
    assert "fran\N{REPLACEMENT CHARACTER}ais" in (await editing.manifest("latin.yaml"))["text"]
    assert (await refused(editing.respec("latin", [(("spec", "ctx"), 512)], dry_run=False))).reason == "EditRefused"
    assert (folder / "latin.yaml").read_bytes() == content
    await editing.put("latin.yaml", server("latin"), lambda one: one == digest_of(content), dry_run=False)
    assert (folder / "latin.yaml").read_text() == server("latin")


async def test_a_large_edit_holds_up_no_restart(editing: Editing) -> None:
    text = "---\n".join(server(f"s{number}", ctx=512) for number in range(150))
    longest = 0.0

    async def look() -> None:
        nonlocal longest
        clock = asyncio.get_running_loop().time
        while True:
            before = clock()
            await asyncio.sleep(0.001)
            longest = max(longest, clock() - before)

    looking = asyncio.create_task(look())
    began = asyncio.get_running_loop().time()
    await editing.put("many.yaml", text, always, dry_run=True)
    took = asyncio.get_running_loop().time() - began
    looking.cancel()
    with suppress(asyncio.CancelledError):
        await looking
    assert longest < took / 2, f"{longest:.3f} s of {took:.3f} s in one piece"
