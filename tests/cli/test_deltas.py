from typing import Any

import pytest

from reconciler.cli.deltas import deltas, document_deltas, in_words


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({"ctx": 1024}, {"ctx": 2048}, "ctx 1024→2048"),
        ({}, {"ctx": 2048}, "+ctx=2048"),
        ({"ctx": 1024}, {}, "-ctx"),
        ({"a": 1, "ctx": 1}, {"a": 1, "ctx": 1}, ""),
        ({"flags": {"a": 1, "b": 2}}, {"flags": {"a": True, "b": 2}}, "flags.a 1→true"),
        ({"flags": {"a": 1}}, {}, "-flags"),
        ({}, {"flags": {"a": 1}}, "+flags"),
        ({"flags": {"lora": ["a"]}}, {"flags": {"lora": ["a", "b"]}}, 'flags.lora ["a"]→["a", "b"]'),
        ({"model": "a.gguf"}, {"model": {"hf": "a/b"}}, "model"),
        ({"model": "a" * 40}, {"model": "b" * 40}, "model"),
        ({"stop": {"drain": "5s"}}, {"stop": {"drain": "6s"}}, "stop.drain 5s→6s"),
    ],
)
def test_what_differs_in_words(old: dict[str, Any], new: dict[str, Any], words: str) -> None:
    assert in_words(list(deltas(old, new, ("spec",)))) == words


def test_what_may_be_secret_is_not_told() -> None:
    old, new = {"env": {"A": "one", "B": "x"}}, {"env": {"A": "two", "C": "y"}}
    assert in_words(list(deltas(old, new, ("spec",)))) == "env.A, -env.B, +env.C"


def test_labels_and_annotations_count() -> None:
    old = {"own": {}, "metadata": {"labels": {"a": "1"}, "annotations": {}}}
    new = {"own": {}, "metadata": {"labels": {"a": "2"}, "annotations": {"x.y/z": "1"}}}
    found = document_deltas(old, new)
    assert in_words(found) == "metadata.labels.a 1→2, +metadata.annotations.x.y/z=1"
    assert [delta.path for delta in found] == [("metadata", "labels", "a"), ("metadata", "annotations", "x.y/z")]
