import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from reconciler.demo.models import write_model
from reconciler.runtimes.gguf_header import Header, read_header
from reconciler.runtimes.header_cache import HeaderCache, cache_file
from reconciler.runtimes.models import Model, find_models, first_files, model_files, model_of, thinking
from tests.runtimes.gguf_files import write_gguf


def found(folder: Path) -> dict[str, Model]:
    return {model.file: model for model in find_models(folder, HeaderCache())}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", ""),
        ("{% for message in messages %}{{ message.content }}{% endfor %}", "no"),
        (
            "{%- if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>{%- endif %}",
            "optional",
        ),
        ("{% if not thinking is defined %}{% set thinking = false %}{% endif %}</think>", "optional"),
        ("{%- if thinking %}You may think.{%- endif %}", "optional"),
        ("{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}", "yes"),
        ("<|start|>assistant<|channel|>analysis<|message|>", "yes"),
        ("[SYSTEM_PROMPT]…[THINK]…[/THINK]", "yes"),
        ("{{ 'What are you thinking?' }}", "no"),
    ],
)
def test_thinking_is_told_by_the_chat_template(template: str, expected: str) -> None:
    assert thinking(template) == expected


@pytest.mark.parametrize(
    ("architecture", "facts", "kind"),
    [
        ("qwen3", {"general__type": "model"}, "text"),
        ("llama", {}, "text"),
        ("llama", {"ARCH__pooling_type": 1}, "embedding"),
        ("qwen3", {"ARCH__pooling_type": 3}, "embedding"),
        ("qwen3", {"ARCH__pooling_type": 4}, "reranking"),
        ("bert", {}, "embedding"),
        ("nomic-bert-moe", {}, "embedding"),
        ("bert", {"ARCH__pooling_type": 4}, "reranking"),
        ("llama", {"ARCH__pooling_type": 0}, "text"),
        ("clip", {}, "projector"),
        ("clip", {"general__type": "mmproj"}, "projector"),
        ("llama", {"general__type": "adapter"}, "adapter"),
        ("llama", {"general__type": "imatrix"}, "other"),
        ("llama", {"tensors": 0}, "other"),
    ],
)
def test_the_kind_is_told_by_the_header(tmp_path: Path, architecture: str, facts: dict[str, int], kind: str) -> None:
    write_gguf(tmp_path / "m.gguf", architecture, **facts)
    assert found(tmp_path)["m.gguf"].kind == kind


def test_a_model_tells_of_itself(tmp_path: Path) -> None:
    write_gguf(
        tmp_path / "m.gguf",
        "qwen3",
        tensors=3,
        general__name="Qwen3 Tiny",
        general__file_type=15,
        ARCH__context_length=40960,
        tokenizer__chat_template="{% if enable_thinking %}",
    )
    model = found(tmp_path)["m.gguf"]
    assert (model.architecture, model.context, model.thinking) == ("qwen3", 40960, "optional")
    assert (model.quantization, model.parameters, model.text("general.name")) == ("Q4_K_M", 768, "Qwen3 Tiny")
    assert (model.size, model.problem) == ((tmp_path / "m.gguf").stat().st_size, "")


def test_without_a_file_type_most_weights_tell(tmp_path: Path) -> None:
    write_model(tmp_path / "tiny.gguf")
    assert found(tmp_path)["tiny.gguf"].quantization == "F32"


# ---------------------------------------------------------------- files


def test_models_are_found_below_and_behind_links(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "models"
    write_gguf(elsewhere / "far.gguf")
    write_gguf(folder / "a" / "b" / "deep.GGUF")
    write_gguf(folder / "near.gguf")
    (folder / "linked.gguf").symlink_to(elsewhere / "far.gguf")
    (folder / "folder").symlink_to(elsewhere)
    (folder / "loop").symlink_to(folder)
    (folder / "gone.gguf").symlink_to(folder / "nowhere")
    write_gguf(folder / ".cache" / "hidden.gguf")
    (folder / ".part.gguf").touch()
    (folder / "notes.txt").touch()
    models = found(folder)
    assert list(models) == ["a/b/deep.GGUF", "folder/far.gguf", "gone.gguf", "linked.gguf", "near.gguf"]
    assert [file for file, model in models.items() if model.problem] == ["gone.gguf"]
    assert "No such file" in models["gone.gguf"].problem


def test_folders_that_are_too_deep_are_left(tmp_path: Path) -> None:
    write_gguf(tmp_path / "/".join("123456789") / "x.gguf")
    write_gguf(tmp_path / "/".join("abcdefgh") / "y.gguf")
    assert model_files(tmp_path) == ["a/b/c/d/e/f/g/h/y.gguf"]


def test_parts_are_one_model(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        facts: dict[str, Any] = {"general__name": "Big", "ARCH__context_length": 8192} if number == 1 else {}
        write_gguf(tmp_path / "sub" / f"big-{number:05d}-of-00003.gguf", tensors=number, **facts)
    model = found(tmp_path)["sub/big-00001-of-00003.gguf"]
    assert (model.kind, model.context, model.parameters, len(model.parts)) == ("text", 8192, 6 * 256, 3)
    assert model.size == sum(path.stat().st_size for path in (tmp_path / "sub").iterdir())
    assert first_files(tmp_path) == ["sub/big-00001-of-00003.gguf"]
    assert model_of(tmp_path, "sub/big-00002-of-00003.gguf") == model


def test_missing_parts_are_told(tmp_path: Path) -> None:
    write_gguf(tmp_path / "big-00003-of-00004.gguf")
    model = found(tmp_path)["big-00001-of-00004.gguf"]
    assert (model.kind, model.parts) == ("broken", ["big-00003-of-00004.gguf"])
    assert model.problem == (
        "big-00001-of-00004.gguf: 3 of its 4 parts are missing (1, 2, 4); fetch them into the same folder"
    )


def test_a_model_of_a_thousand_missing_parts_is_told_briefly(tmp_path: Path) -> None:
    write_gguf(tmp_path / "big-00001-of-99999.gguf")
    assert len(found(tmp_path)["big-00001-of-99999.gguf"].problem) < 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: os.truncate(path, path.stat().st_size - 1000), "its weights take"),
        (lambda path: os.truncate(path, 100), "within its header"),
        (lambda path: path.write_text("<html>404</html>"), "no GGUF file"),
    ],
)
def test_broken_files_are_told_with_the_reason(tmp_path: Path, change: object, message: str) -> None:
    path = write_model(tmp_path / "m.gguf")
    change(path)  # type: ignore[operator]
    model = found(tmp_path)["m.gguf"]
    assert (model.kind, model.size) == ("broken", path.stat().st_size)
    assert model.problem.startswith("m.gguf: ")
    assert message in model.problem


def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    write_gguf(tmp_path / "m.gguf").chmod(0)
    assert "Permission denied" in found(tmp_path)["m.gguf"].problem


# ---------------------------------------------------------------- the cache


def test_a_header_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cache = tmp_path / "models", cache_file({"XDG_CACHE_HOME": str(tmp_path / "cache")})
    write_gguf(folder / "m.gguf", "qwen3", ARCH__attention__head_count_kv=[8, 0], tokenizer__chat_template="<think>")
    first = find_models(folder, HeaderCache(cache))
    monkeypatch.setattr("reconciler.runtimes.header_cache.read_header", None)
    assert find_models(folder, HeaderCache(cache)) == first
    monkeypatch.undo()
    write_gguf(folder / "m.gguf", "llama")
    assert find_models(folder, HeaderCache(cache))[0].architecture == "llama"
    assert [path.name for path in cache.parent.iterdir()] == ["headers.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1}', '{"version": 1, "headers": []}', "[" * 99999])
def test_a_cache_that_is_broken_is_none(tmp_path: Path, content: str) -> None:
    write_gguf(tmp_path / "models" / "m.gguf")
    cache = tmp_path / "headers.json"
    cache.write_text(content)
    assert find_models(tmp_path / "models", HeaderCache(cache))[0].kind == "text"
    assert json.loads(cache.read_text())["version"] == 1


@pytest.mark.parametrize(
    "entry", [{}, {"facts": 1}, {"facts": {}, "weights": [1], "size": 1, "least": 1}, {"least": ""}]
)
def test_an_entry_that_is_broken_is_none(tmp_path: Path, entry: dict[str, object]) -> None:
    write_gguf(tmp_path / "models" / "m.gguf")
    cache = tmp_path / "headers.json"
    find_models(tmp_path / "models", HeaderCache(cache))
    kept = json.loads(cache.read_text())
    (key,) = kept["headers"]
    kept["headers"][key] = {"file": kept["headers"][key]["file"], **entry}
    cache.write_text(json.dumps(kept))
    assert find_models(tmp_path / "models", HeaderCache(cache))[0].parameters == 256


def test_a_cache_that_cannot_be_written_is_no_trouble(tmp_path: Path) -> None:
    write_gguf(tmp_path / "models" / "m.gguf")
    (tmp_path / "file").touch()
    assert find_models(tmp_path / "models", HeaderCache(tmp_path / "file" / "headers.json"))[0].kind == "text"


def test_one_that_is_too_large_does_not_cost_the_others_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cache = tmp_path / "models", tmp_path / "headers.json"
    for name in ("a", "c"):
        write_gguf(folder / f"{name}.gguf")
    write_gguf(folder / "b.gguf", tokenizer__chat_template="x" * 4000)
    monkeypatch.setattr("reconciler.runtimes.header_cache.LARGEST", 3000)
    find_models(folder, HeaderCache(cache))
    assert [Path(key).name for key in json.loads(cache.read_text())["headers"]] == ["a.gguf", "c.gguf"]
    read = []

    def reading(path: Path) -> Header:
        read.append(path.name)
        return read_header(path)

    monkeypatch.setattr("reconciler.runtimes.header_cache.read_header", reading)
    find_models(folder, HeaderCache(cache))
    assert read == ["b.gguf"]


def test_a_hundred_large_models_are_told_at_once(tmp_path: Path) -> None:
    """Files of 20 GB with holes: nothing but headers is read."""
    folder, cache = tmp_path / "models", tmp_path / "headers.json"
    whole = write_gguf(folder / "0.gguf", tokenizer__ggml__tokens=[f"token-{number}" for number in range(20_000)])
    os.truncate(whole, 20 * 10**9)
    for number in range(1, 100):
        os.link(whole, folder / f"{number}.gguf")
    begun = time.process_time()
    assert len(find_models(folder, HeaderCache(cache))) == 100
    assert time.process_time() - begun < 5
    begun = time.process_time()
    assert len(find_models(folder, HeaderCache(cache))) == 100
    assert time.process_time() - begun < 0.5
