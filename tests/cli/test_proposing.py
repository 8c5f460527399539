"""What is proposed for a model, by its own file."""

from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.documents import Source as Text
from reconciler.cli.documents import check_together
from reconciler.cli.failure import Failure
from reconciler.cli.output import yaml_text
from reconciler.cli.proposing import Proposal, cache_per_token, name_for, proposed
from reconciler.demo.models import write_model
from reconciler.runtimes.models import model_of
from tests.runtimes.gguf_files import write_gguf

LARGE = {
    "ARCH__context_length": 262144,
    "ARCH__block_count": 36,
    "ARCH__embedding_length": 4096,
    "ARCH__attention__head_count": 32,
    "ARCH__attention__head_count_kv": 8,
}
"""As Qwen3 8B has it: 144 KiB of cache for each token."""


def accepted(proposal: Proposal) -> bool:
    """Whether a manifest of it would be."""
    document = {
        "apiVersion": "llama.reconciler/v1alpha1",
        "kind": "LlamaServer",
        "metadata": {"name": proposal.name},
        "spec": dict(proposal.spec),
    }
    checked = check_together([Text("x.yaml", yaml_text(document).encode())])
    assert checked.problems == ()
    return len(checked.documents) == 1


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("tiny.gguf", "tiny"),
        ("Qwen3-Coder-30B-A3B-Instruct-UD-Q4_K_XL.gguf", "qwen3-coder-30b-a3b-instruct"),
        ("sub/Meta-Llama-3.1-8B-Instruct.Q5_K_M.gguf", "meta-llama-3-1-8b-instruct"),
        ("gpt-oss-20b-mxfp4.gguf", "gpt-oss-20b"),
        ("bge-m3-F16-00001-of-00002.gguf", "bge-m3"),
        ("gemma-3-1b-it-IQ4_NL.GGUF", "gemma-3-1b-it"),
        ("model-q8_0.gguf", "model"),
        ("Q4_K_M.gguf", "q4-k-m"),
        ("___.gguf", "model"),
        ("模型.gguf", "model"),
        (f"{'a' * 62}-b-c.gguf", "a" * 62),
    ],
)
def test_a_name_is_a_dns_label(file: str, name: str) -> None:
    assert name_for(file) == name


@pytest.mark.parametrize(
    ("facts", "ctx"),
    [
        ({"ARCH__context_length": 2048}, 2048),
        ({"ARCH__context_length": 131072}, 32768),
        ({}, None),
        (LARGE, 8192),  # 16384 would take 2.25 GiB
        ({**LARGE, "ARCH__block_count": 1000}, 4096),
        ({**LARGE, "ARCH__context_length": 3000, "ARCH__block_count": 1000}, 3000),
        ({**LARGE, "ARCH__attention__head_count_kv": [8] + [0] * 35}, 32768),
    ],
)
def test_the_context_is_what_memory_and_training_allow(tmp_path: Path, facts: dict[str, Any], ctx: int | None) -> None:
    write_gguf(tmp_path / "m.gguf", "qwen3", **facts)
    proposal = proposed("m.gguf", tmp_path)
    assert proposal.spec.get("ctx") == ctx
    assert accepted(proposal)


def test_the_memory_of_the_context_is_told(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", "qwen3", **LARGE)
    assert cache_per_token(model_of(tmp_path, "m.gguf")) == 144 * 1024
    assert proposed("m.gguf", tmp_path).comments["ctx"] == "trained with 262144; takes at most 1.1 GiB of memory"


@pytest.mark.parametrize(
    ("pooling", "context", "flags"),
    [
        (1, 512, {"embeddings": True}),
        (3, 32768, {"embeddings": True, "batch-size": 8192, "ubatch-size": 8192}),
        (4, 1024, {"reranking": True, "ubatch-size": 1024}),
    ],
)
def test_models_of_vectors_get_the_flags_they_need(
    tmp_path: Path, pooling: int, context: int, flags: dict[str, Any]
) -> None:
    write_gguf(tmp_path / "m.gguf", "qwen3", ARCH__pooling_type=pooling, ARCH__context_length=context)
    proposal = proposed("m.gguf", tmp_path)
    assert proposal.spec["flags"] == flags
    assert {f"flags.{next(iter(flags))}", "ctx"} <= proposal.comments.keys()
    assert accepted(proposal)


def test_the_projector_that_fits_is_found(tmp_path: Path) -> None:
    write_gguf(tmp_path / "vl" / "gemma-3-4b-it-Q4_K_M.gguf", "gemma3", ARCH__embedding_length=2560)
    write_gguf(tmp_path / "vl" / "mmproj-gemma-3-4b-it-F16.gguf", "clip", ARCH__vision__projection_dim=2560)
    write_gguf(tmp_path / "vl" / "mmproj-other-4b-F16.gguf", "clip", ARCH__vision__projection_dim=2560)
    write_gguf(tmp_path / "vl" / "mmproj-gemma-3-4b-it.gguf", "clip", ARCH__vision__projection_dim=5120)
    write_gguf(tmp_path / "mmproj-gemma-3-4b-it.gguf", "clip", ARCH__vision__projection_dim=2560)
    proposal = proposed("vl/gemma-3-4b-it-Q4_K_M.gguf", tmp_path)
    assert proposal.spec["flags"] == {"mmproj": "vl/mmproj-gemma-3-4b-it-F16.gguf"}
    assert accepted(proposal)


def test_a_projector_of_another_width_is_left(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", "gemma3", ARCH__embedding_length=2560)
    write_gguf(tmp_path / "mmproj-m.gguf", "clip", ARCH__vision__projection_dim=5120)
    write_gguf(tmp_path / "mmproj-n.gguf", "clip")
    assert "flags" not in proposed("m.gguf", tmp_path).spec


def test_what_it_says_of_itself_stands_on_one_clean_line(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", general__name="Nice\n- evil: \x1b[2J true", tokenizer__chat_template="<think>")
    about = proposed("m.gguf", tmp_path).about
    assert about.isprintable()
    assert about.endswith("it thinks before it answers")


@pytest.mark.parametrize(
    "typed", ["models/sub/m.gguf", "sub/m.gguf", "./models/sub/m.gguf", "{root}/models/sub/m.gguf"]
)
def test_a_file_is_named_as_people_type_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    write_gguf(tmp_path / "models" / "sub" / "m.gguf")
    monkeypatch.chdir(tmp_path)
    assert proposed(typed.format(root=tmp_path), tmp_path / "models").spec["model"] == "sub/m.gguf"


def test_a_file_from_elsewhere_is_named_whole(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf")
    assert proposed(str(tmp_path / "m.gguf"), tmp_path / "models").spec["model"] == str(tmp_path / "m.gguf")


def test_any_part_leads_to_the_first(tmp_path: Path) -> None:
    for number in (1, 2):
        write_gguf(tmp_path / f"m-{number:05d}-of-00002.gguf")
    assert proposed("m-00002-of-00002.gguf", tmp_path).spec["model"] == "m-00001-of-00002.gguf"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("nowhere.gguf", "no model 'nowhere.gguf'"),
        ("brokn.gguf", "did you mean 'broken.gguf'"),
        ("broken.gguf", "no GGUF file"),
        ("mmproj.gguf", "spec.flags.mmproj"),
        ("lora.gguf", "spec.flags.lora"),
        ("vocabulary.gguf", "no weights"),
        ("half-00001-of-00002.gguf", "1 of its 2 parts"),
    ],
)
def test_what_cannot_be_served_is_refused(tmp_path: Path, file: str, message: str) -> None:
    (tmp_path / "broken.gguf").write_text("hello")
    write_gguf(tmp_path / "mmproj.gguf", "clip")
    write_gguf(tmp_path / "lora.gguf", general__type="adapter")
    write_gguf(tmp_path / "vocabulary.gguf", tensors=0)
    write_gguf(tmp_path / "half-00001-of-00002.gguf")
    with pytest.raises(Failure) as refused:
        proposed(file, tmp_path)
    assert message in refused.value.message
    assert refused.value.exit_code == 2
    assert "reconciler models" in refused.value.hint


def test_the_demo_s_models_are_proposed(tmp_path: Path) -> None:
    write_model(tmp_path / "chat.gguf", context=2048)
    write_model(tmp_path / "embed.gguf", embedding=True)
    assert proposed("chat.gguf", tmp_path).spec == {"model": "chat.gguf", "ctx": 2048}
    assert proposed("embed.gguf", tmp_path).spec["flags"] == {"embeddings": True}
