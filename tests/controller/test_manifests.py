"""The manifests folder and a Git source seen as one."""

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.controller.manifests import Manifests, in_force_of_git
from reconciler.core.model import Document, Problem
from reconciler.core.source import GIT, LOCAL
from reconciler.core.spec import ServerSpec
from reconciler.manifests.folder import Folder, Look


class Stub:
    """A source that says what it is told to."""

    def __init__(self, look: Look) -> None:
        self.look = look


def document(name: str, origin: str) -> Document:
    return Document("LlamaServer", name, f"{name}.yaml", ServerSpec(model="m.gguf"), origin=origin)


@pytest.fixture
def accepted() -> dict[str, Document]:
    return {}


@pytest.fixture
def manifests(tmp_path: Path, accepted: dict[str, Document]) -> Manifests:
    root = tmp_path / "manifests"
    return Manifests(root, Folder(root, lambda _: (), "manifests"), accepted.values)


def test_without_a_source_the_folder_speaks(manifests: Manifests) -> None:
    assert "the folder is missing" in manifests.look(0.0).failed


def test_with_a_source_the_folder_may_be_missing(manifests: Manifests) -> None:
    manifests.follow(Stub(Look(documents=(document("a", GIT),))), lambda: None)
    look = manifests.look(0.0)
    assert (look.failed, [one.name for one in look.documents]) == ("", ["a"])
    assert manifests.look(1.0) is look


def test_a_folder_that_declared_something_may_not_be_missing(
    manifests: Manifests, accepted: dict[str, Document]
) -> None:
    accepted["a"] = document("a", GIT)
    manifests.follow(Stub(Look()), lambda: None)
    assert manifests.look(0.0).failed == ""
    accepted["b"] = document("b", LOCAL)
    assert "the folder is missing" in manifests.look(1.0).failed


def test_both_are_one_look_until_one_of_them_changes(manifests: Manifests, tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    stub = Stub(Look(documents=(document("a", GIT),), problems=(Problem("git:b.yaml", "bad"),), failed="lost"))
    manifests.follow(stub, lambda: None)
    first = manifests.look(0.0)
    assert (len(first.documents), len(first.problems), first.failed) == (1, 1, "lost")
    assert manifests.look(1.0) is first
    stub.look = Look()
    assert manifests.look(2.0) != first


def test_a_change_of_the_folder_is_told_and_nothing_else(manifests: Manifests, tmp_path: Path) -> None:
    folder, told = tmp_path / "manifests", list[int]()
    folder.mkdir()
    stub = Stub(Look())
    manifests.follow(stub, lambda: told.append(1))
    manifests.look(0.0)
    stub.look = Look(documents=(document("a", GIT),))
    manifests.look(1.0)
    assert told == []
    (folder / "b.yaml").write_text("a: [")
    for now in (2.0, 3.0, 4.0):
        manifests.look(now)
    count = len(told)  # seen, and then settled
    assert count > 0
    manifests.look(5.0)
    assert len(told) == count
    (folder / "b.yaml").unlink()
    manifests.look(6.0)
    assert len(told) == count + 1


def test_another_revision_takes_the_place_of_what_git_says() -> None:
    look = Look(documents=(document("a", GIT), document("b", LOCAL)))
    seen = in_force_of_git(look, Look(documents=(replace(document("c", GIT)),)))
    assert [one.name for one in seen.documents] == ["b", "c"]
