"""Profiles and defaults as files have them: what is read, and what is said of errors."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from reconciler.controller.preview import check_spec
from reconciler.core.candidates import problem_of
from reconciler.core.kinds import DefaultsDocument, ProfileDocument, dump_other
from reconciler.manifests.parse import KINDS, Parsed, parse
from reconciler.manifests.schema import file_of, json_schema

ROOT = Path(__file__).parents[2]
HEAD = "apiVersion: llama.reconciler/v1alpha1\n"
PROFILE = HEAD + "kind: Profile\nmetadata: {name: day, labels: {x: y}}\nspec:"
DEFAULTS = HEAD + "kind: LlamaServerDefaults\nmetadata: {name: gpu}\nspec:"


def read(text: str) -> Parsed:
    return parse(text, "a.yaml", check_spec)


def test_all_kinds_stand_in_one_file() -> None:
    server = HEAD + "kind: LlamaServer\nmetadata: {name: a}\nspec: {model: m.gguf}\n"
    profile = PROFILE + "\n  servers: [a]\n  active: true\n  switch: StartFirst\n"
    defaults = DEFAULTS + "\n  selector: {matchLabels: {x: y}}\n  template: {threads: 4}\n"
    parsed = read(f"{profile}---\n{server}---\n{defaults}")
    assert parsed.problems == ()
    assert [one.name for one in parsed.documents] == ["a"]
    day, gpu = parsed.others
    assert isinstance(day, ProfileDocument)
    assert isinstance(gpu, DefaultsDocument)
    assert (day.key, day.file, day.line, day.labels) == ("Profile/day", "a.yaml", 1, {"x": "y"})
    assert dump_other(day) == {"servers": ["a"], "active": True, "switch": "StartFirst"}
    assert gpu.line == 14
    assert dump_other(gpu) == {"selector": {"matchLabels": {"x": "y"}}, "template": {"threads": 4}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PROFILE + " {servers: a}", "4:17: spec.servers: expected a list, got 'a'"),
        (
            PROFILE + " {servers: [A_b]}",
            "4:18: spec.servers.0: expected a name of at most 63 lower-case letters, digits and '-', got 'A_b'",
        ),
        (PROFILE + " {activ: true}", "4:8: spec.activ: unknown field, did you mean 'active'?"),
        (PROFILE + " {active: yes}", "4:16: spec.active: expected true or false, got 'yes'"),
        (PROFILE + " {switch: Never}", "4:16: spec.switch: expected 'StopFirst' or 'StartFirst', got 'Never'"),
        (
            PROFILE + " {selector: {labels: {a: b}}}",
            "4:19: spec.selector.labels: unknown field, did you mean 'matchLabels'?",
        ),
        (DEFAULTS + " {}", "4:7: spec.template: missing: expected a mapping"),
        (
            DEFAULTS + " {template: {model: x}}",
            (
                "4:19: spec.template.model: unknown field: each server has its own, "
                "so it is written in the server's document"
            ),
        ),
        (
            DEFAULTS + " {template: {port: 8001}}",
            (
                "4:25: spec.template.port: each server has a port of its own: write it in the server's document, or "
                "leave it to 'auto', got 8001"
            ),
        ),
        (DEFAULTS + " {template: {cts: 4}}", "4:19: spec.template.cts: unknown field, did you mean 'ctx'?"),
        (
            DEFAULTS + " {template: {host: 'a,b'}}",
            "4:25: spec.template.host: expected an IP address or a host name, such as 127.0.0.1, got 'a,b'",
        ),
        (
            DEFAULTS + " {template: {flags: {api-key: geheim}}}",
            (
                "4:36: spec.template.flags.api-key: every user of this machine can read a command line; write the "
                "keys to a file and name it in `apiKeyFile`"
            ),
        ),
    ],
)
def test_errors_have_their_place_and_a_remedy(text: str, expected: str) -> None:
    parsed = read(text)
    assert [str(problem) for problem in parsed.problems] == [f"a.yaml:{expected}"]
    assert (parsed.documents, parsed.others) == ((), ())
    (problem,) = parsed.problems
    assert (problem.kind, problem.server) in {("Profile", "day"), ("LlamaServerDefaults", "gpu")}


def test_fields_keep_their_places_for_errors_with_other_documents() -> None:
    (day,) = read("# comment\n" + PROFILE + "\n  servers: [a]\n  active: true\n").others
    assert day.places == {"spec.servers": (6, 12), "spec.active": (7, 11)}
    assert str(problem_of(day, "no", "spec.servers")) == "a.yaml:6:12: spec.servers: no"
    assert str(problem_of(day, "no", "spec.switch")) == "a.yaml:2:1: spec.switch: no"
    (gpu,) = read(DEFAULTS + "\n  template:\n    flags: {x: 1}\n").others
    assert str(problem_of(gpu, "no", "spec.template.flags.x")) == "a.yaml:6:12: spec.template.flags.x: no"


def test_a_secret_in_a_template_is_not_repeated() -> None:
    (problem,) = read(DEFAULTS + " {template: {env: {A: 5}}}").problems
    assert "5" not in str(problem).partition("spec.")[2]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_written_schema_of_each_kind_is_that_of_its_model(kind: str) -> None:
    written = json.loads((ROOT / file_of(kind)).read_text(encoding="utf-8"))
    assert written == json_schema(kind), "run: python -m reconciler.manifests.schema"
    Draft202012Validator.check_schema(written)


@pytest.mark.parametrize(
    ("kind", "spec", "is_valid"),
    [
        ("Profile", "{}", True),
        ("Profile", "{servers: [a, b], selector: {matchLabels: {x: y}}, active: true}", True),
        ("Profile", "{servers: [a, 1]}", False),
        ("Profile", "{selector: {matchLabels: {x: 1}}}", False),
        ("Profile", "{active: 1}", False),
        ("LlamaServerDefaults", "{template: {}}", True),
        ("LlamaServerDefaults", "{template: {port: auto, ctx: 5, probes: {liveness: {period: 3s}}}}", True),
        ("LlamaServerDefaults", "{template: {port: 8001}}", False),
        ("LlamaServerDefaults", "{template: {model: x}}", False),
        ("LlamaServerDefaults", "{template: {dependsOn: [x]}}", False),
        ("LlamaServerDefaults", "{template: {stop: {drain: 3}}}", False),
    ],
)
def test_the_schema_and_the_parser_agree(kind: str, spec: str, is_valid: bool) -> None:
    text = f"{HEAD}kind: {kind}\nmetadata: {{name: day}}\nspec: {spec}\n"
    data: Any = YAML(typ="safe", pure=True).load(text)
    assert Draft202012Validator(json_schema(kind)).is_valid(data) is is_valid
    assert (not read(text).problems) is is_valid
