"""Every field of every kind: what may not stand there is refused with its place and with what to write instead."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.engines import llama_server
from reconciler.manifests.fields import Field, every, kinds
from reconciler.manifests.parse import parse
from reconciler.settings import Settings, SettingsError, load_settings

WRONG: tuple[Any, ...] = ({"zz": 1}, [{"zz": [1]}], -1, 10**25, "\x01", "", "zz zz", True, None)
BASE: dict[str, dict[str, Any]] = {
    "LlamaServer": {"metadata": {"name": "chat"}, "spec": {"model": "x.gguf"}},
    "Profile": {"metadata": {"name": "day"}, "spec": {"active": False, "servers": ["chat"]}},
    "LlamaServerDefaults": {"metadata": {"name": "all"}, "spec": {"template": {}}},
}
INSTEAD = re.compile(
    r"expected|did you mean|known: |must|such as|at least|at most|should|write|remove|take|give|name|use|set|correct|"
    r"\bneeds?\b|longer than|instead|allowed|put|unknown field|shorter|duplicate"
)
"""How a message says what to do."""
FIELDS = [(kind, field) for kind, top in kinds().items() for field in every(top)]


def documents(kind: str, field: Field) -> Iterator[tuple[Any, str]]:
    """Manifests of that kind with a wrong value at that place, a few lines each."""
    for value in WRONG:
        document = json.loads(json.dumps({"apiVersion": "llama.reconciler/v1alpha1", "kind": kind, **BASE[kind]}))
        inner = document
        for part in field.path[:-1]:
            inner[part] = inner[part] if isinstance(inner.get(part), dict) else {}
            inner = inner[part]
        inner[field.name] = value
        yield value, json.dumps(document, indent=1)


@pytest.mark.parametrize(("kind", "field"), FIELDS, ids=[f"{kind}.{'.'.join(field.path)}" for kind, field in FIELDS])
def test_a_wrong_value_is_refused_with_its_place_and_a_remedy(kind: str, field: Field) -> None:
    refused = 0
    for value, text in documents(kind, field):
        problems = parse(text, "manifests/a.yaml", llama_server.check).problems
        refused += bool(problems)
        for problem in problems:
            assert (problem.file, problem.line > 0, problem.column > 0) == ("manifests/a.yaml", True, True), str(
                problem
            )
            assert INSTEAD.search(problem.message), f"{value!r}: {problem}"
    assert refused, "nothing is wrong there"


def test_a_message_that_only_complains_is_found() -> None:
    assert not INSTEAD.search("this is wrong")
    assert INSTEAD.search("expected a number of at least 1, got 'zz zz'")


@pytest.mark.parametrize(
    "text",
    [
        "kind: LlamaServer",
        "- 1",
        "just words",
        "a: [",
        "a: &x [*x]",
        "a: !python/none x",
        "{kind: Nonsense, apiVersion: v1}",
        "apiVersion: llama.reconciler/v2\nkind: LlamaServer\nmetadata: {name: a}\nspec: {model: x.gguf}",
        "a: 1\na: 2",
        "\tkind: LlamaServer",
        "kind: \x00",
        "&a ? *b",
    ],
)
def test_a_broken_text_is_refused_with_its_place(text: str) -> None:
    problems = parse(text, "manifests/a.yaml", llama_server.check).problems
    assert problems
    for problem in problems:
        assert (problem.file, problem.line > 0) == ("manifests/a.yaml", True)
        assert len(problem.message.split()) > 2


# ---------------------------------------------------------------- settings


def settings_fields(model: type[Any] = Settings, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        nested = [one for one in (field.annotation, *getattr(field.annotation, "__args__", ())) if _is_model(one)]
        if nested:
            yield from settings_fields(nested[0], (*path, name))
        else:
            yield (*path, name)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and hasattr(annotation, "model_fields")


@pytest.mark.parametrize("path", list(settings_fields()), ids=".".join)
def test_a_wrong_setting_is_refused_with_its_place_and_a_remedy(
    path: tuple[str, ...], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reconciler.toml").write_text(f"{'.'.join(path)} = {{ zz = [1] }}\n")
    with pytest.raises(SettingsError) as refused:
        load_settings({})
    told = str(refused.value)
    assert told.startswith(f"reconciler.toml: {'.'.join(path)[:6]}"), told
    assert INSTEAD.search(told), told
