import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.models import in_bytes
from reconciler.demo.models import write_model
from reconciler.runtimes.listed_models import used_by
from tests.cli.conftest import Call
from tests.cli.filling import Filling
from tests.cli.test_main import loaded
from tests.runtimes.gguf_files import write_gguf


@pytest.fixture
def models(root: Path) -> Path:
    """A models folder with one of each kind."""
    folder = root / "models"
    (folder / "sub").mkdir(parents=True)
    (root / "manifests").mkdir()
    write_model(folder / "tiny.gguf")
    write_model(folder / "sub" / "embed.gguf", embedding=True)
    write_gguf(folder / "sub" / "mmproj-tiny.gguf", "clip")
    for number in (1, 2):
        write_gguf(folder / f"big-{number:05d}-of-00002.gguf", "qwen3", tokenizer__chat_template="enable_thinking")
    (folder / "cut.gguf").write_bytes((folder / "tiny.gguf").read_bytes()[:-5000])
    return folder


def rows(call: Call, *arguments: str) -> dict[str, dict[str, Any]]:
    shown = call("models", "-o", "json", *arguments)
    assert (shown.code, shown.err) == (0, "")
    return {item["file"]: item for item in json.loads(shown.out)["items"]}


def test_the_table(models: Path, filling: Filling, call: Call) -> None:
    filling.ready("chat")
    filling.ready("coder", model="big-00001-of-00002.gguf", flags={"mmproj": "sub/mmproj-tiny.gguf"})
    shown = call("models")
    assert shown.code == 0
    header, *lines = shown.out.splitlines()
    assert header.split() == ["NAME", "KIND", "ARCH", "SIZE", "QUANT", "PARAMS", "CTX", "THINKING", "USED-BY"]
    assert [line.split() for line in lines[:5]] == [
        ["big-00001-of-00002.gguf", "text", "qwen3", "2.4", "kB", "F32", "512", "-", "optional", "coder"],
        ["cut.gguf", "broken", "-", "515", "kB", "-", "-", "-", "-", "-"],
        ["sub/embed.gguf", "embedding", "llama", "520", "kB", "F32", "128K", "512", "no", "-"],
        ["sub/mmproj-tiny.gguf", "projector", "clip", "1.2", "kB", "F32", "256", "-", "-", "coder"],
        ["tiny.gguf", "text", "llama", "520", "kB", "F32", "128K", "512", "no", "chat"],
    ]
    assert lines[5].startswith("broken: cut.gguf: it has ")
    assert lines[6] == f"5 models in {models}: 1.6 MB, 2 that no server uses"


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(
    models: Path, filling: Filling, call: Call, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    for name in ("chat", "a-server-with-a-long-name", "another-one"):
        filling.document(name, model="sub/embed.gguf")
    write_gguf(models / "a-folder-of-models" / "with-a-name-that-has-no-end-of-words-in-it-Q4_K_M.gguf")
    monkeypatch.setattr("reconciler.cli.models.width", lambda: columns)
    lines = call("models").out.splitlines()
    assert [line for line in lines if len(line) > columns and " " in line.strip()] == []
    assert max(map(len, lines[: len(list(models.rglob("*.gguf")))])) <= columns
    assert lines[0].startswith("NAME")


def test_as_data(models: Path, filling: Filling, call: Call) -> None:
    filling.document("chat", model="tiny.gguf")
    found = rows(call)
    assert found["tiny.gguf"] == {
        "file": "tiny.gguf",
        "path": str(models / "tiny.gguf"),
        "kind": "text",
        "title": None,
        "architecture": "llama",
        "size": (models / "tiny.gguf").stat().st_size,
        "quantization": "F32",
        "parameters": 127552,
        "ctxTrained": 512,
        "thinking": "no",
        "parts": ["tiny.gguf"],
        "usedBy": ["chat"],
        "problem": "",
    }
    assert found["cut.gguf"]["problem"].startswith("cut.gguf: it has ")
    assert found["big-00001-of-00002.gguf"]["parts"] == ["big-00001-of-00002.gguf", "big-00002-of-00002.gguf"]
    assert call("models", "-o", "name").out.splitlines() == list(found)
    assert "kind: ModelList" in call("models", "-o", "yaml").out
    assert "TITLE" in call("models", "-o", "wide").out


def test_without_an_installation_the_manifests_tell_who_uses_what(models: Path, root: Path, call: Call) -> None:
    (root / "manifests" / "chat.yaml").write_text(
        "apiVersion: llama.reconciler/v1alpha1\nkind: LlamaServer\nmetadata: {name: chat}\nspec: {model: tiny.gguf}\n"
        "---\nkind: broken\n"
    )
    del models
    assert {file: item["usedBy"] for file, item in rows(call).items() if item["usedBy"]} == {"tiny.gguf": ["chat"]}


@pytest.mark.parametrize("by", ["flag", "environment", "settings", "other folder"])
def test_the_folder_is_the_one_that_relative_models_start_from(
    models: Path, root: Path, call: Call, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    other = root / "other"
    other.mkdir()
    shutil.copy(models / "tiny.gguf", other / "only.gguf")
    arguments = []
    if by == "flag":
        arguments = ["--models", "other"]
    elif by == "environment":
        monkeypatch.setenv("RECONCILER_MODELS", str(other))
    elif by == "settings":
        (root / "reconciler.toml").write_text('models = "other"\n')
    else:
        (root / "elsewhere").mkdir()
        (root / "elsewhere" / "my.toml").write_text('models = "../other"\n')
        arguments = ["--config", "elsewhere/my.toml"]
    assert list(rows(call, *arguments)) == ["only.gguf"]


def test_no_folder_is_an_error_that_helps(root: Path, call: Call) -> None:
    refused = call("models")
    assert (refused.code, refused.out) == (1, "")
    assert f"{root}/models does not exist" in refused.err
    assert "mkdir -p" in refused.err


def test_no_models_are_no_error(root: Path, call: Call) -> None:
    (root / "models").mkdir()
    shown = call("models")
    assert (shown.code, shown.out) == (0, "")
    assert "no GGUF files" in shown.err
    assert call("-q", "models").err == ""


def test_settings_that_are_broken_are_told(models: Path, root: Path, call: Call) -> None:
    del models
    (root / "reconciler.toml").write_text("models = [\n")
    refused = call("models")
    assert refused.code == 2
    assert "reconciler.toml" in refused.err


def test_what_a_file_says_cannot_move_the_cursor(models: Path, call: Call) -> None:
    write_gguf(models / "evil.gguf", general__name="\x1b[2Jgone")
    (models / "x\x1b[31m.gguf").write_text("no")
    assert "\x1b" not in call("models", "-o", "wide").out
    assert "\x1b" not in call("models", "-o", "json").out
    assert "\x1b" not in call("models", "-o", "name").out


def test_users_are_known_by_all_that_they_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link.gguf").symlink_to(tmp_path / "a.gguf")
    specs: list[tuple[str, dict[str, Any]]] = [
        ("one", {"model": "~/a.gguf"}),
        ("two", {"model": "link.gguf", "flags": {"lora": "l.gguf,m.gguf", "ctx": 1, "mlock": True}}),
        ("three", {"model": {"hf": "x/y"}, "flags": {"lora-scaled": ["l.gguf:0.5,m.gguf:1"]}}),
        ("three", {"flags": {"spec-draft-model": "d.gguf"}}),
        ("four", {"fallback": "auto"}),
        ("five", {"fallback": {"steps": [{"ctx": 1}, {"model": "s.gguf", "flags": {"mmproj": "p.gguf"}}]}}),
    ]
    users = used_by(specs, tmp_path)
    assert {Path(path).name: names for path, names in users.items()} == {
        "a.gguf": ["one", "two"],
        "l.gguf": ["three", "two"],
        "m.gguf": ["three", "two"],
        "d.gguf": ["three"],
        "s.gguf": ["five"],
        "p.gguf": ["five"],
    }


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_951, "100 kB"),
        (999_960_000, "1.0 GB"),
        (18.6e9, "18.6 GB"),
    ],
)
def test_sizes_are_told_in_three_digits(size: float, text: str) -> None:
    assert in_bytes(size) == text


def test_nothing_slow_is_imported(models: Path, filling: Filling, root: Path) -> None:
    del models
    filling.ready("chat")
    assert loaded(root, "models") == ""
