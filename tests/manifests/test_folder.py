"""The real file system; the clock is a number that each look is told."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from reconciler.core.spec import ServerSpec
from reconciler.manifests import folder as module
from reconciler.manifests.folder import GLANCE, QUIET, Folder, Look, find
from reconciler.manifests.parse import LARGEST

TEXT = "apiVersion: llama.reconciler/v1alpha1\nkind: LlamaServer\nmetadata: {name: %s}\nspec: {model: x.gguf}\n"
linux = pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")


def accept(spec: ServerSpec) -> Sequence[tuple[tuple[str | int, ...], str]]:
    return ()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "manifests"
    path.mkdir()
    return path


@pytest.fixture
def folder(root: Path) -> Folder:
    return Folder(root, accept, shown_as="manifests")


def age(path: Path, seconds: float = 60) -> None:
    """Lets a file look as if it was changed so long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def write(path: Path, name: str) -> Path:
    """An old, settled file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEXT % name)
    age(path)
    return path


def rename_in(path: Path, text: str) -> None:
    temporary = path.with_name(".new")
    temporary.write_text(text)
    temporary.replace(path)


def names(look: Look) -> list[str]:
    return [document.name for document in look.documents]


# ---------------------------------------------------------------- which files


def test_find_is_recursive_sorted_and_leaves_out_backups(root: Path) -> None:
    for name in ("b.yaml", "a.yml", "sub/deep/c.yaml", "sub/a.yaml", "with.dot/d.yaml"):
        write(root / name, "x")
    for name in (".hidden.yaml", ".git/x.yaml", "a.yaml~", "a.yaml.swp", "#a.yaml#", ".#a.yaml", "4913", "a.json"):
        write(root / name, "x")
    found = [str(path.relative_to(root)) for path in find(root)]
    assert found == ["a.yml", "b.yaml", "sub/a.yaml", "sub/deep/c.yaml", "with.dot/d.yaml"]


def test_find_of_a_file_is_that_file(root: Path) -> None:
    path = write(root / "a.json", "x")
    assert find(path) == [path]


def test_find_tells_what_is_missing(root: Path) -> None:
    with pytest.raises(OSError, match="nowhere: the folder is missing: make it"):
        find(root / "nowhere")


def test_links_are_followed_and_loops_end(tmp_path: Path, root: Path) -> None:
    write(tmp_path / "elsewhere" / "e.yaml", "e")
    write(root / "sub" / "s.yaml", "s")
    (root / "away").symlink_to(tmp_path / "elsewhere")
    (root / "again").symlink_to(root / "sub")
    (root / "sub" / "up").symlink_to(root)
    (root / "self").symlink_to("self")
    (root / "file.yaml").symlink_to(tmp_path / "elsewhere" / "e.yaml")
    (tmp_path / "link").symlink_to(root)
    found = [str(path.relative_to(tmp_path)) for path in find(tmp_path / "link")]
    assert found == ["link/away/e.yaml", "link/file.yaml", "link/sub/s.yaml"]


def test_a_mounted_config_map_is_read_and_its_swap_seen(tmp_path: Path, folder: Folder, root: Path) -> None:
    write(root / "..1" / "a.yaml", "one")
    write(root / "..2" / "a.yaml", "two")
    (root / "..data").symlink_to("..1")
    (root / "a.yaml").symlink_to("..data/a.yaml")
    assert names(folder.look(0)) == ["one"]
    (root / "..tmp").symlink_to("..2")
    (root / "..tmp").replace(root / "..data")
    assert names(folder.look(1)) == ["two"]


# ---------------------------------------------------------------- names and order


def test_documents_come_in_the_order_of_files_with_the_name_people_type(folder: Folder, root: Path) -> None:
    write(root / "b.yaml", "b")
    write(root / "a" / "z.yaml", "z")
    write(root / "a.yaml", "a")
    look = folder.look(0)
    assert [(document.name, document.file) for document in look.documents] == [
        ("a", "manifests/a.yaml"),
        ("z", "manifests/a/z.yaml"),
        ("b", "manifests/b.yaml"),
    ]
    assert look.files_seen == {"manifests/a.yaml", "manifests/a/z.yaml", "manifests/b.yaml"}
    assert (look.failed, look.wake_at, look.problems) == ("", None, ())


def test_the_root_is_shown_as_given(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root / "a.yaml", "a")
    monkeypatch.chdir(root.parent)
    assert Folder(Path("manifests"), accept).look(0).documents[0].file == "manifests/a.yaml"


def test_an_odd_file_name_stays_on_one_line_and_encodes(folder: Folder, root: Path) -> None:
    for name in (b"a\nb.yaml", b"\xff.yaml"):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_text("- broken\n")
    for problem in folder.look(0).problems + folder.look(1).problems:
        assert str(problem).isprintable()
        str(problem).encode()
    assert len(folder.look(2).problems) == 2


def test_problems_of_all_files_come_together(folder: Folder, root: Path) -> None:
    write(root / "a.yaml", "BAD")
    write(root / "b.yaml", "b").write_text(TEXT % "b" + "---\n" + TEXT % "ALSO_BAD")
    age(root / "b.yaml")
    look = folder.look(0)
    assert names(look) == ["b"]
    assert [(problem.file, problem.line) for problem in look.problems] == [
        ("manifests/a.yaml", 3),
        ("manifests/b.yaml", 8),
    ]


# ---------------------------------------------------------------- nothing changed


def test_the_same_look_is_returned_and_nothing_read_while_nothing_changes(
    folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root / "a.yaml", "a")
    write(root / "b.yaml", "BAD")
    first = folder.look(0)

    def never(*_: object, **__: object) -> bytes:
        pytest.fail("an unchanged file was read")

    monkeypatch.setattr(module, "_content", never)
    assert folder.look(1) is first
    assert folder.look(2) is first


def test_only_what_changed_is_read(folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root / "a.yaml", "a")
    write(root / "b.yaml", "b")
    first = folder.look(0)
    read: list[str] = []
    content = module._content

    def count(path: Path, expected: os.stat_result, *, ask: bool) -> bytes | None:
        read.append(path.name)
        return content(path, expected, ask=ask)

    monkeypatch.setattr(module, "_content", count)
    write(root / "c.yaml", "c")
    second = folder.look(1)
    assert names(second) == ["a", "b", "c"]
    assert read == ["c.yaml"]
    assert second.documents[0] is first.documents[0]


def test_removed_and_renamed_files_are_seen_at_once(folder: Folder, root: Path) -> None:
    write(root / "a.yaml", "a")
    write(root / "b.yaml", "b")
    folder.look(0)
    (root / "a.yaml").rename(root / "c.yaml")
    (root / "b.yaml").unlink()
    look = folder.look(1)
    assert [(document.name, document.file) for document in look.documents] == [("a", "manifests/c.yaml")]
    assert look.files_seen == {"manifests/c.yaml"}


# ---------------------------------------------------------------- changed in place


def test_a_file_changed_in_place_is_used_when_it_has_been_quiet(folder: Folder, root: Path) -> None:
    path = write(root / "a.yaml", "old")
    folder.look(0)
    path.write_text(TEXT % "new")
    look = folder.look(10)
    assert names(look) == ["old"]
    assert look.wake_at == 10 + QUIET
    assert names(folder.look(10 + QUIET - 0.01)) == ["old"]
    look = folder.look(10 + QUIET)
    assert names(look) == ["new"]
    assert look.wake_at is None
    assert folder.look(20) is look


def test_each_further_change_in_place_begins_the_wait_anew(folder: Folder, root: Path) -> None:
    path = write(root / "a.yaml", "old")
    folder.look(0)
    for step in range(5):
        path.write_text(TEXT % f"new{'x' * step}")
        assert names(folder.look(10 + step * 0.4)) == ["old"]
    assert names(folder.look(11.6 + QUIET)) == ["newxxxx"]


def test_a_change_in_place_that_is_taken_back_is_forgotten(folder: Folder, root: Path) -> None:
    path = write(root / "a.yaml", "old")
    folder.look(0)
    path.write_text("half of a docum")
    folder.look(1)
    path.write_text(TEXT % "old")
    look = folder.look(1.2)
    assert (names(look), look.problems) == (["old"], ())
    assert names(folder.look(1.2 + QUIET)) == ["old"]


def test_a_truncated_file_is_not_an_empty_one_until_it_stays_so(folder: Folder, root: Path) -> None:
    path = write(root / "a.yaml", "old")
    folder.look(0)
    path.write_text("")
    assert names(folder.look(1)) == ["old"]
    look = folder.look(1 + QUIET)
    assert (names(look), look.problems) == ([], ())
    assert look.files_seen == {"manifests/a.yaml"}


def test_a_changed_mode_alone_changes_no_document(folder: Folder, root: Path) -> None:
    path = write(root / "a.yaml", "a")
    folder.look(0)
    path.chmod(0o640)
    assert folder.look(1).wake_at == 1 + QUIET
    look = folder.look(2)
    assert (names(look), look.wake_at) == (["a"], None)


# ---------------------------------------------------------------- a new file under a name


@linux
@pytest.mark.usefixtures("handled_sigio")
def test_a_file_renamed_into_place_is_used_at_once(folder: Folder, root: Path) -> None:
    write(root / "a.yaml", "old")
    folder.look(0)
    rename_in(root / "a.yaml", TEXT % "new")
    rename_in(root / "b.yaml", TEXT % "added")
    look = folder.look(1)
    assert names(look) == ["new", "added"]
    assert look.wake_at is None


@linux
@pytest.mark.usefixtures("handled_sigio")
def test_a_new_file_is_used_when_its_writer_is_done(folder: Folder, root: Path) -> None:
    folder.look(0)
    with (root / "a.yaml").open("w") as writer:
        writer.write(TEXT % "half" + "---\n")
        writer.flush()
        look = folder.look(1)
        assert (names(look), look.problems) == ([], ())
        assert look.files_seen == {"manifests/a.yaml"}
        assert look.wake_at == 1 + GLANCE
        writer.write(TEXT % "whole")
    assert names(folder.look(1 + GLANCE)) == ["half", "whole"]


@linux
@pytest.mark.usefixtures("handled_sigio")
def test_a_checkout_that_unlinks_and_creates_keeps_the_version_in_use(folder: Folder, root: Path) -> None:
    path = write(root / "a.yaml", "old")
    folder.look(0)
    keep = path.open("rb")  # so that the new file gets another inode
    path.unlink()
    with path.open("w") as writer:
        assert names(folder.look(1)) == ["old"]  # empty
        writer.write((TEXT % "new")[:60])
        writer.flush()
        look = folder.look(1.1)
        assert (names(look), look.problems) == (["old"], ())  # half-written
        writer.write((TEXT % "new")[60:])
    keep.close()
    assert names(folder.look(1.15)) == ["new"]


@linux
@pytest.mark.usefixtures("handled_sigio")
def test_a_writer_that_never_closes_is_waited_for_no_longer_than_the_quiet_time(folder: Folder, root: Path) -> None:
    folder.look(0)
    with (root / "a.yaml").open("w") as writer:
        writer.write(TEXT % "a")
        writer.flush()
        assert names(folder.look(1)) == []
        assert names(folder.look(1 + QUIET)) == ["a"]


def test_without_leases_a_new_file_has_to_be_quiet(folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "can_ask", lambda: False)
    folder.look(0)
    (root / "a.yaml").write_text(TEXT % "a")
    look = folder.look(1)
    assert (names(look), look.wake_at) == ([], 1 + QUIET)
    assert names(folder.look(1 + QUIET)) == ["a"]


def test_without_leases_an_old_file_moved_in_is_used_at_once(
    folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "can_ask", lambda: False)
    folder.look(0)
    write(root / "a.yaml", "a")
    assert names(folder.look(1)) == ["a"]


@linux
@pytest.mark.usefixtures("handled_sigio")
def test_after_the_first_look_an_old_file_is_asked_about_too(folder: Folder, root: Path) -> None:
    folder.look(0)
    with write(root / "a.yaml", "a").open("a"):
        assert names(folder.look(1)) == []
    assert names(folder.look(1.1)) == ["a"]


@pytest.mark.usefixtures("handled_sigio")
def test_a_new_empty_file_settles_like_one_changed_in_place(folder: Folder, root: Path) -> None:
    folder.look(0)
    (root / "a.yaml").touch()
    assert folder.look(1).wake_at == 1 + QUIET
    look = folder.look(1 + QUIET)
    assert (look.wake_at, look.documents, look.problems) == (None, (), ())


# ---------------------------------------------------------------- the first look


def test_the_first_look_takes_old_files_without_asking(
    folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root / "a.yaml", "a")
    write(root / "empty.yaml", "x").write_text("")
    age(root / "empty.yaml")
    monkeypatch.setattr(module, "writers_of", lambda _: pytest.fail("asked for a lease"))
    with (root / "a.yaml").open("a"):
        look = folder.look(0)
    assert (names(look), look.wake_at) == (["a"], None)


@linux
@pytest.mark.usefixtures("handled_sigio")
def test_the_first_look_waits_for_what_is_being_written(folder: Folder, root: Path) -> None:
    with (root / "a.yaml").open("w") as writer:
        writer.write(TEXT % "a")
        writer.flush()
        assert names(folder.look(0)) == []
    assert names(folder.look(GLANCE)) == ["a"]


@linux
@pytest.mark.usefixtures("handled_sigio")
def test_a_time_in_the_future_is_no_obstacle(folder: Folder, root: Path) -> None:
    age(write(root / "a.yaml", "a"), -3600)
    assert names(folder.look(0)) == ["a"]


# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize("kind", ["fifo", "folder", "dangling", "loop", "large"])
def test_what_is_no_readable_file_is_a_problem_of_its_own(folder: Folder, root: Path, kind: str) -> None:
    write(root / "good.yaml", "good")
    path = root / "x.yaml"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        path.write_bytes(b"#" * (LARGEST + 1))
    else:
        path.symlink_to("nowhere" if kind == "dangling" else "x.yaml")
    look = folder.look(0)
    assert names(look) == ["good"]
    expected = {
        "fifo": "not a regular file",
        "folder": "not a regular file",
        "dangling": "a link to something that is missing",
        "loop": "cannot be read (",
        "large": "larger than 1 MiB",
    }
    assert [str(problem).startswith(f"manifests/x.yaml: {expected[kind]}") for problem in look.problems] == [True]
    assert "manifests/x.yaml" in look.files_seen
    assert folder.look(1) is look
    path.rmdir() if kind == "folder" else path.unlink()
    assert folder.look(2).problems == ()


def test_a_fifo_that_takes_a_files_place_does_not_block(root: Path) -> None:
    path = write(root / "a.yaml", "a")
    expected = path.stat()
    path.unlink()
    os.mkfifo(path)
    assert module._content(path, expected, ask=False) is None


def test_a_file_that_vanishes_before_it_is_read_is_no_problem(
    folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(root / "a.yaml", "a")
    content = module._content

    def vanish(*arguments: object, **named: object) -> bytes | None:
        path.unlink()
        return content(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_content", vanish)
    assert folder.look(0).problems == ()
    assert folder.look(1).files_seen == frozenset()


def test_a_read_that_fails_is_told_and_tried_again(folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root / "a.yaml", "a")

    def fail(*_: object, **__: object) -> bytes:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_content", fail)
        look = folder.look(0)
        assert [problem.message for problem in look.problems] == ["cannot be read (Too many open files)"]
        assert look.wake_at is not None
    look = folder.look(look.wake_at)
    assert (names(look), look.problems) == (["a"], ())


@pytest.mark.usefixtures("bound_by_modes")
def test_a_file_without_permission_is_a_problem_until_it_is_given(folder: Folder, root: Path) -> None:
    path = write(root / "a.yaml", "a")
    path.chmod(0)
    look = folder.look(0)
    assert [problem.message for problem in look.problems] == [
        "cannot be read (permission denied): let this user read it (chmod u+r)"
    ]
    assert folder.look(1) is look
    path.chmod(0o600)
    folder.look(2)
    assert names(folder.look(2 + QUIET)) == ["a"]


@pytest.mark.usefixtures("bound_by_modes")
def test_a_folder_within_that_cannot_be_read_is_a_failure(folder: Folder, root: Path) -> None:
    write(root / "sub" / "a.yaml", "a")
    folder.look(0)
    (root / "sub").chmod(0)
    try:
        assert "sub: the folder cannot be read (Permission denied): let this user" in folder.look(1).failed
    finally:
        (root / "sub").chmod(0o700)
    assert folder.look(2).failed == ""


def test_a_missing_root_is_a_failure_and_its_return_needs_no_reading(
    folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root / "a.yaml", "a")
    first = folder.look(0)
    root.rename(root.with_name("away"))
    look = folder.look(1)
    assert look.failed == f"{root}: the folder is missing: make it, or name another one; until then what runs goes on"
    assert look.documents == ()
    monkeypatch.setattr(module, "_content", lambda *_, **__: pytest.fail("read again"))
    root.with_name("away").rename(root)
    assert folder.look(2) == first


def test_a_root_that_is_a_file_is_a_failure(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "a")
    assert "this is no folder" in Folder(path, accept).look(0).failed


def test_an_empty_folder_is_no_failure(folder: Folder, root: Path) -> None:
    assert folder.look(0) == Look(devices={"manifests": root.stat().st_dev})


# ---------------------------------------------------------------- overlay


def test_an_overlay_counts_in_place_of_the_files_and_leaves_no_trace(folder: Folder, root: Path) -> None:
    write(root / "a.yaml", "a")
    write(root / "b.yaml", "b")
    before = folder.look(0)
    look = folder.look(1, overlay={"manifests/b.yaml": TEXT % "BAD", "manifests/c.yaml": TEXT % "c"})
    assert names(look) == ["a", "c"]
    assert [problem.file for problem in look.problems] == ["manifests/b.yaml"]
    assert look.files_seen == {"manifests/a.yaml", "manifests/b.yaml", "manifests/c.yaml"}
    assert folder.look(2) is before
