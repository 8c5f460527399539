"""What is known of a document that has an error."""

from collections.abc import Mapping

import pytest

from reconciler.manifests.parse import parse

HEAD = "apiVersion: llama.reconciler/v1alpha1\nkind: LlamaServer\n"


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("metadata: {name: x, labels: {tier: night}}\nspec: {model: m.gguf, ctxx: 3}\n", {"tier": "night"}),
        ("metadata: {name: x, labels: {tier: night, rank: 3}}\nspec: {model: m.gguf}\n", {"tier": "night"}),
        ("metadata: {name: x}\nspec: {model: m.gguf, ctxx: 3}\n", {}),
        ("metadata: {name: x, labels: night}\nspec: {model: m.gguf}\n", None),
        ("metadata: {name: x, labels: {tier: night}}\nspec: {model: [\n", None),
    ],
)
def test_the_labels_of_a_broken_document(text: str, labels: Mapping[str, str] | None) -> None:
    parsed = parse(HEAD + text, "x.yaml", lambda _: ())
    assert parsed.documents == ()
    assert [(problem.server, problem.labels) for problem in parsed.problems[:1]] == [("x", labels)]


def test_labels_are_not_part_of_what_is_told() -> None:
    (problem,) = parse(f"{HEAD}metadata: {{name: x, labels: {{a: b}}}}\nspec: {{}}\n", "x.yaml", lambda _: ()).problems
    assert set(problem.data) == {"file", "message", "line", "column", "field", "server", "kind", "text"}
