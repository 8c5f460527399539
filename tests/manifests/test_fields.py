"""What `explain` tells of fields is true of them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.cli.documents import check_spec
from reconciler.manifests.field_reader import fields_file, fields_of
from reconciler.manifests.fields import FILE, Field, deepest, every, kinds
from reconciler.manifests.parse import KINDS, parse

LEAST: dict[str, dict[str, Any]] = {
    "LlamaServer": {"spec": {"model": "a.gguf"}},
    "Profile": {"spec": {}},
    "LlamaServerDefaults": {"spec": {"template": {}}},
}
"""What each kind cannot do without."""


def leaves() -> Iterator[tuple[str, Field]]:
    for kind, model in KINDS.items():
        yield from ((kind, field) for field in every(fields_of(model)) if field.is_leaf)


def ids(found: list[tuple[str, Field]]) -> list[str]:
    return [f"{kind}:{'.'.join(field.path)}" for kind, field in found]


def manifest(kind: str, field: Field, example: Any) -> dict[str, Any]:
    """The least manifest of a kind, with this value."""
    head = {"apiVersion": "llama.reconciler/v1alpha1", "kind": kind, "metadata": {"name": "chat"}}
    whole: dict[str, Any] = json.loads(json.dumps({**head, **LEAST[kind]}))
    place = whole
    for part in field.path[:-1]:
        if not isinstance(place.get(part), dict):
            place[part] = {}
        place = place[part]
    place[field.name] = example
    return whole


LEAVES = list(leaves())


@pytest.mark.parametrize(("kind", "field"), LEAVES, ids=ids(LEAVES))
def test_every_field_has_examples_that_are_valid(kind: str, field: Field) -> None:
    assert field.examples, "give it examples in its model: Field(examples=[…])"
    for example in field.examples:
        parsed = parse(json.dumps(manifest(kind, field, example)), "a.yaml", check_spec)
        assert parsed.problems == ()


@pytest.mark.parametrize(("kind", "field"), LEAVES, ids=ids(LEAVES))
def test_the_first_example_is_not_what_holds_anyway(kind: str, field: Field) -> None:
    assert field.examples[0] != field.default or len(field.examples) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_means_something(kind: str) -> None:
    for field in every(fields_of(KINDS[kind])):
        assert field.meaning, field.path
        assert "another value" not in field.value, field.path


def field(*path: str, kind: str = "LlamaServer") -> Field:
    found, left = deepest(fields_of(KINDS[kind]), path)
    assert not left
    return found


def test_a_value_is_told_in_words() -> None:
    assert field("spec", "restart", "maxBackoff").value == "a duration"
    assert field("spec", "dependsOn").value.startswith("a list; each: a name")
    assert field("spec", "env").value == "a mapping; each value: a line of text, {fromEnv: …} or {fromFile: …}"
    assert field("metadata", "labels").value == "a mapping; each value: a line of text"


def test_defaults_are_as_people_write_them() -> None:
    assert field("spec", "restart", "maxBackoff").default == "10s"
    assert field("spec", "suspend").default is False
    assert field("spec", "flags").default is None
    assert field("spec", "probes").default is None


def test_what_is_required_is_told() -> None:
    assert field("spec", "model").is_required
    assert not field("spec", "ctx").is_required


def test_a_path_ends_where_it_is_unknown() -> None:
    top = fields_of(KINDS["LlamaServer"])
    found, left = deepest(top, ["spec", "restart", "polcy", "x"])
    assert (found.path, left) == (("spec", "restart"), ["polcy", "x"])
    assert deepest(top, ["spec", "flags", "top-k"])[0].path == ("spec", "flags")


def test_the_file_of_fields_is_current() -> None:
    assert FILE.read_text(encoding="utf-8") == fields_file(), "run: python -m reconciler.manifests.schema"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_from_it_is_what_the_models_say(kind: str) -> None:
    assert kinds()[kind] == fields_of(KINDS[kind])
