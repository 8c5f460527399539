"""What stands in a folder and is no manifest, but may have been one, or led to some."""

import os
from pathlib import Path

import pytest

from reconciler.controller.preview import check_spec
from reconciler.manifests.folder import Folder, find
from tests.e2e.installation import document


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a manifest, and a link to another folder with one."""
    root, volume = tmp_path / "manifests", tmp_path / "volume"
    root.mkdir()
    volume.mkdir()
    for folder, name in ((root, "a"), (volume, "b")):
        (folder / f"{name}.yaml").write_text(document(name))
        os.utime(folder / f"{name}.yaml", (1, 1))  # it has been quiet for long
    (root / "team").symlink_to(volume)
    return root


def look(root: Path) -> tuple[list[str], list[str]]:
    found = Folder(root, check_spec, "manifests").look(0)
    assert found.failed == ""
    return [one.name for one in found.documents], [str(problem) for problem in found.problems]


def test_a_link_to_a_folder_that_is_away_is_told(root: Path) -> None:
    assert look(root) == (["a", "b"], [])
    (root.parent / "volume").rename(root.parent / "away")
    assert look(root) == (
        ["a"],
        ["manifests/team: a link to something that is missing: make that, or remove the link"],
    )
    (root / "team").unlink()
    assert look(root) == (["a"], []), "who removes the link means it"


@pytest.mark.parametrize("target", ["loop", "../text", "../folder"])
def test_other_links_are_no_matter(root: Path, target: str) -> None:
    (root.parent / "text").write_text("no manifest")
    (root.parent / "folder").mkdir()
    (root / "loop").symlink_to(target)
    assert look(root) == (["a", "b"], [])


@pytest.mark.parametrize("name", ["a.YAML", "a.Yml"])
def test_a_suffix_in_capitals_is_told(root: Path, name: str) -> None:
    (root / "a.yaml").rename(root / name)
    told = f"manifests/{name}: its name ends in {name[1:]}: let it end in .yaml, or in something else"
    assert look(root) == (["b"], [told])
    with pytest.raises(OSError, match=f"{name}: its name ends in {name[1:]}: let it end"):
        find(root)
