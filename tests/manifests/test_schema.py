import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from reconciler.manifests.parse import parse
from reconciler.manifests.schema import FILE, json_schema, main

ROOT = Path(__file__).parents[2]
HEAD = "apiVersion: llama.reconciler/v1alpha1\nkind: LlamaServer\nmetadata: {name: chat}\n"


def valid_for_schema(text: str) -> bool:
    return bool(Draft202012Validator(json_schema()).is_valid(YAML(typ="safe", pure=True).load(text)))


def valid_for_parser(text: str) -> bool:
    return not parse(text, "a.yaml", lambda _: ()).problems


def test_the_written_schema_is_that_of_the_models() -> None:
    written = json.loads((ROOT / FILE).read_text(encoding="utf-8"))
    assert written == json_schema(), "run: python -m reconciler.manifests.schema"


def test_it_is_written_below_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main()
    assert (tmp_path / FILE).read_bytes() == (ROOT / FILE).read_bytes()


def test_it_is_a_schema_with_a_relative_id_and_a_title() -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    assert (schema["$id"], schema["title"]) == ("llamaserver.json", "LlamaServer")


def test_every_field_is_described_and_named_as_in_yaml() -> None:
    schema = json_schema()
    for node in (schema, *schema["$defs"].values()):
        for name, field in node["properties"].items():
            assert "_" not in name
            assert field.get("description") or "$ref" in field, name


def test_default_durations_are_written_as_people_do() -> None:
    definitions = json_schema()["$defs"]
    assert definitions["Restart"]["properties"]["initialBackoff"]["default"] == "500ms"
    assert definitions["Stop"]["properties"]["gracePeriod"]["default"] == "10s"


@pytest.mark.parametrize(
    "spec",
    [
        "{model: x.gguf}",
        "{model: {hf: user/repo:Q4_K_M}, port: auto, gpuLayers: all}",
        "{model: ~/x.gguf, port: 8001, ctx: 4096, parallel: 4, gpuLayers: 99, threads: 4, host: '::1'}",
        "{model: x.gguf, flags: {top-k: 1, lora: [a, b], mlock: true, mmap: false, temp: 0.5}}",
        "{model: x.gguf, env: {A: b, C: {fromEnv: D}, E: {fromFile: /f}}, apiKeyFile: keys, binary: /x}",
        "{model: x.gguf, suspend: true, stop: {gracePeriod: 1m30s, drain: 0s}, restart: {policy: Never, factor: 1.5}}",
        "{model: x.gguf, probes: {startup: {deadline: 1h}, liveness: {period: 500ms, failureThreshold: 1}}}",
    ],
)
def test_good_manifests_pass_both(spec: str) -> None:
    text = f"{HEAD}spec: {spec}\n"
    assert valid_for_parser(text)
    assert valid_for_schema(text)


@pytest.mark.parametrize(
    "spec",
    [
        "{}",
        "{model: ''}",
        "{model: {hf: repo}}",
        "{model: x, port: eight}",
        "{model: x, port: '8001'}",
        "{model: x, port: true}",
        "{model: x, port: 70000}",
        "{model: x, ctx: 0}",
        "{model: x, gpuLayers: most}",
        "{model: x, gpu_layers: 1}",
        "{model: x, suspend: 'yes'}",
        "{model: x, flags: {a: {}}}",
        "{model: x, flags: {a: [[1]]}}",
        "{model: x, env: {A: 1}}",
        "{model: x, env: {1A: x}}",
        "{model: x, env: {A: {fromEnv: B, fromFile: c}}}",
        "{model: x, stop: {gracePeriod: 5}}",
        "{model: x, stop: {gracePeriod: 1.5}}",
        "{model: x, restart: {policy: always}}",
        "{model: x, engine: vllm}",
        "{model: x, unknown: 1}",
    ],
)
def test_bad_manifests_fail_both(spec: str) -> None:
    text = f"{HEAD}spec: {spec}\n"
    assert not valid_for_parser(text)
    assert not valid_for_schema(text)


@pytest.mark.parametrize(
    ("old", "new"), [("LlamaServer", "Pod"), ("v1alpha1", "v1"), ("name: chat", "name: Chat"), ("{name: chat}", "{}")]
)
def test_bad_heads_fail_both(old: str, new: str) -> None:
    text = f"{HEAD}spec: {{model: x}}\n".replace(old, new)
    assert not valid_for_parser(text)
    assert not valid_for_schema(text)
