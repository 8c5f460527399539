"""Every field that `set` and `unset` take: a wrong value is refused with its place and with what to write instead."""

import json
from pathlib import Path

import pytest

from reconciler.manifests.fields import every, kinds
from tests.cli.conftest import Call
from tests.cli.filling import Filling
from tests.manifests.test_every_error import INSTEAD

FIELDS = [".".join(field.path) for field in every(kinds()["LlamaServer"]) if field.path[0] in ("spec", "metadata")]
DOCUMENT = {
    "apiVersion": "llama.reconciler/v1alpha1",
    "kind": "LlamaServer",
    "metadata": {"name": "coder"},
    "spec": {"model": "tiny.gguf"},
}


@pytest.fixture
def manifest(root: Path, filling: Filling) -> Path:
    path = root / "manifests" / "coder.yaml"
    path.parent.mkdir()
    path.write_text(json.dumps(DOCUMENT, indent=1))
    return path


@pytest.mark.parametrize("field", FIELDS)
def test_a_wrong_value_is_refused(manifest: Path, call: Call, field: str) -> None:
    before = manifest.read_text()
    called = call("set", "coder", f"{field}=[[1]]")
    assert called.code == 2, called
    lines = called.err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors
    told = "\n".join(lines)
    assert field.rpartition(".")[2] in told, "the place is told"
    assert INSTEAD.search(told) or any(line.startswith("hint: ") for line in lines), told
    assert manifest.read_text() == before


@pytest.mark.parametrize("field", ["metadata.name", "spec", "spec.model", "nonsense", "spec.nonsense"])
def test_what_cannot_be_taken_out_is_refused(manifest: Path, call: Call, field: str) -> None:
    before = manifest.read_text()
    called = call("unset", "coder", field)
    assert called.code == 2, called
    assert INSTEAD.search(called.err) or "hint: " in called.err, called.err
    assert manifest.read_text() == before
