"""Manifests and settings in the documents are valid; so is the schema that they name."""

import re
import tomllib
from pathlib import Path

import pytest

from reconciler.cli.documents import check_spec
from reconciler.manifests.parse import parse
from reconciler.settings import load_settings
from tests.docs.pages import ROOT, Block, blocks


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_a_manifest_is_valid(block: Block) -> None:
    parsed = parse(block.text, str(block), check_spec)
    assert parsed.problems == ()
    assert parsed.documents or parsed.others


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_settings_are_valid(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "reconciler.toml"
    path.write_text(block.text)
    settings = load_settings({}, str(path))
    written = tomllib.loads(block.text)
    assert settings.model_fields_set >= written.keys()


def test_there_are_snippets() -> None:
    assert len(blocks("yaml")) >= 4
    assert len(blocks("toml")) >= 2


def test_nobody_is_sent_to_an_index_for_this_program() -> None:
    """It is installed from a checkout; by its name other people's code would come."""
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "reconciler").rglob("*.py")]
    assert len(files) > 100
    told = re.compile(r"pip install (?:-\S+ )*['\"]?reconciler\b")
    assert [str(file) for file in files if told.search(file.read_text())] == []
