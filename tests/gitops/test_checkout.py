"""Revisions as files: whole, current by one switch, and put right when somebody changes them."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.gitops.cache import Blob
from reconciler.gitops.checkout import Checkout

ONE, TWO = "1" * 40, "2" * 40
BLOBS = (Blob("a.yaml", b"a\n"), Blob("below/b.yaml", b"b\n"))


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path)
    made.make()
    return made


def test_a_revision_is_put_and_made_current(checkout: Checkout, tmp_path: Path) -> None:
    assert checkout.current() == ""
    assert checkout.put(ONE, BLOBS) == ["a.yaml", "below/b.yaml"]
    assert checkout.switch(ONE)
    assert not checkout.switch(ONE)
    assert checkout.current() == ONE
    assert files(tmp_path / "current") == {"a.yaml": b"a\n", "below/b.yaml": b"b\n"}


def test_the_switch_is_one_rename(checkout: Checkout, tmp_path: Path) -> None:
    checkout.put(ONE, BLOBS)
    checkout.switch(ONE)
    checkout.put(TWO, BLOBS[:1])
    assert files(tmp_path / "current") == {"a.yaml": b"a\n", "below/b.yaml": b"b\n"}
    checkout.switch(TWO)
    assert files(tmp_path / "current") == {"a.yaml": b"a\n"}
    checkout.keep_only(TWO)
    assert [path.name for path in (tmp_path / "revisions").iterdir()] == [TWO]


def test_what_a_killed_predecessor_left_half_made_is_made_anew(checkout: Checkout, tmp_path: Path) -> None:
    draft = tmp_path / "revisions" / f".{ONE}"
    draft.mkdir()
    (draft / "half.yaml").write_text("half")
    (tmp_path / ".current").symlink_to("nowhere")
    checkout.put(ONE, BLOBS)
    assert checkout.switch(ONE)
    assert set(files(tmp_path / "current")) == {"a.yaml", "below/b.yaml"}


def touch(folder: Path) -> None:
    (folder / "a.yaml").write_text("mine\n")


def add(folder: Path) -> None:
    (folder / "new.yaml").write_text("mine\n")


def remove(folder: Path) -> None:
    (folder / "below" / "b.yaml").unlink()


def link(folder: Path) -> None:
    (folder / "a.yaml").unlink()
    (folder / "a.yaml").symlink_to("/etc/passwd")


def folder_for_file(folder: Path) -> None:
    (folder / "a.yaml").unlink()
    (folder / "a.yaml").mkdir()


def file_for_folder(folder: Path) -> None:
    (folder / "below" / "b.yaml").unlink()
    (folder / "below").rmdir()
    (folder / "below").write_text("mine\n")


def link_folder(folder: Path) -> None:
    (folder / "more").symlink_to("/etc")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (touch, ["a.yaml"]),
        (add, ["new.yaml"]),
        (remove, ["below/b.yaml"]),
        (link, ["a.yaml"]),
        (folder_for_file, ["a.yaml"]),
        (file_for_folder, ["below", "below/b.yaml"]),
        (link_folder, ["more"]),
    ],
)
def test_a_change_is_put_right_and_told(
    checkout: Checkout, tmp_path: Path, change: Callable[[Path], None], told: list[str]
) -> None:
    checkout.put(ONE, BLOBS)
    checkout.switch(ONE)
    change(tmp_path / "current")
    assert checkout.put(ONE, BLOBS) == told
    assert files(tmp_path / "current") == {"a.yaml": b"a\n", "below/b.yaml": b"b\n"}
    assert not (tmp_path / "current" / "a.yaml").is_symlink()
    assert not os.path.lexists(tmp_path / "current" / "more")
    assert checkout.put(ONE, BLOBS) == []


def test_what_stood_there_is_kept(checkout: Checkout, tmp_path: Path) -> None:
    checkout.put(ONE, BLOBS)
    file = tmp_path / "revisions" / ONE / "a.yaml"
    file.write_text("first\n")
    checkout.put(ONE, BLOBS)
    file.unlink()
    file.mkdir()
    (file / "inner").write_text("second\n")
    checkout.put(ONE, BLOBS)
    assert files(tmp_path / "replaced") == {"1/a.yaml": b"first\n", "2/a.yaml/inner": b"second\n"}
    for number in range(20):
        file.write_text(f"{number}\n")
        assert checkout.put(ONE, BLOBS) == ["a.yaml"]
    assert set(files(tmp_path / "replaced")) == {f"{number}/a.yaml" for number in range(13, 23)}


def test_a_folder_that_somebody_removed_is_told(checkout: Checkout, tmp_path: Path) -> None:
    checkout.put(ONE, BLOBS)
    shutil.rmtree(tmp_path / "revisions" / ONE)
    assert checkout.put(ONE, BLOBS) == ["a.yaml", "below/b.yaml"]
    assert checkout.put(ONE, BLOBS) == []


def test_what_is_no_revision_is_kept_too(checkout: Checkout, tmp_path: Path) -> None:
    for commit in (ONE, TWO):
        checkout.put(commit, BLOBS)
    (tmp_path / "revisions" / f".{TWO}").mkdir()
    (tmp_path / "revisions" / "mine").mkdir()
    (tmp_path / "revisions" / "mine" / "x").write_text("mine\n")
    (tmp_path / "revisions" / "note").write_text("mine\n")
    checkout.keep_only(ONE)
    assert [path.name for path in (tmp_path / "revisions").iterdir()] == [ONE]
    assert files(tmp_path / "replaced") == {"1/mine/x": b"mine\n", "1/note": b"mine\n"}


def test_a_current_that_is_a_folder_gives_way(checkout: Checkout, tmp_path: Path) -> None:
    checkout.put(ONE, BLOBS)
    (tmp_path / "current").mkdir()
    (tmp_path / "current" / "mine.yaml").write_text("mine\n")
    assert checkout.switch(ONE)
    assert checkout.current() == ONE
    assert (tmp_path / "replaced" / "1" / "current" / "mine.yaml").read_text() == "mine\n"


def test_names_that_are_no_text(checkout: Checkout, tmp_path: Path) -> None:
    odd = (Blob("caf\udce9\n.yaml", b"x\n"),)
    checkout.put(ONE, odd)
    assert [os.fsencode(path.name) for path in (tmp_path / "revisions" / ONE).iterdir()] == [b"caf\xe9\n.yaml"]
    assert checkout.put(ONE, odd) == []


def test_nobody_ever_finds_no_revision(checkout: Checkout, tmp_path: Path) -> None:
    """Somebody looks all the time while revisions take turns."""
    for commit in (ONE, TWO):
        checkout.put(commit, BLOBS)
    checkout.switch(ONE)
    seen: set[object] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                seen.add(frozenset(files(tmp_path / "current")))
            except FileNotFoundError as error:
                seen.add(str(error))

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(500):
        checkout.switch((TWO, ONE)[number % 2])
    done.set()
    looking.join()
    assert seen == {frozenset({"a.yaml", "below/b.yaml"})}


@pytest.mark.parametrize("name", ["", "revisions", "replaced"])
def test_a_link_in_place_of_a_folder_leads_nowhere(tmp_path: Path, name: str) -> None:
    """What is written and removed must not be somebody else's."""
    theirs, folder = tmp_path / "theirs", tmp_path / "git"
    for place in (theirs, theirs / TWO, theirs / "revisions"):
        place.mkdir()
    (theirs / "file").write_text("theirs\n")
    if name:
        folder.mkdir()
    (folder / name if name else folder).symlink_to(theirs)
    checkout = Checkout(folder)
    checkout.make()
    checkout.put(ONE, BLOBS)
    checkout.switch(ONE)
    checkout.keep_only(ONE)
    assert sorted(path.name for path in theirs.iterdir()) == sorted([TWO, "file", "revisions"])
    assert set(files(folder / "current")) == {"a.yaml", "below/b.yaml"}


@pytest.mark.parametrize(
    ("name", "kept"),
    [("", "../git.was"), ("revisions", "replaced/1/revisions"), ("replaced", "replaced.was")],
)
def test_a_file_in_place_of_a_folder_is_kept(tmp_path: Path, name: str, kept: str) -> None:
    folder = tmp_path / "git"
    if name:
        folder.mkdir()
    (folder / name if name else folder).write_text("mine\n")
    checkout = Checkout(folder)
    checkout.make()
    checkout.put(ONE, BLOBS)
    assert (folder / kept).read_text() == "mine\n"
