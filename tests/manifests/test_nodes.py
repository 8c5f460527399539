from typing import Any

import pytest

from reconciler.manifests.nodes import DEEPEST, MOST, NodeError, compose, locate, plain, written


def load(text: str) -> Any:
    root = compose(text)
    return None if root is None else plain(root)


@pytest.mark.parametrize(
    ("written_as", "value"),
    [
        ("8001", 8001),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("-1_000", -1000),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("yes", "yes"),
        ("on", "on"),
        ("~", None),
        ("", None),
        ("'8001'", "8001"),
        ("!!str 8001", "8001"),
        ("=", "="),
        ("<<", "<<"),
        ("|\n   two\n   lines", "two\nlines\n"),
        ("[1, [a]]", [1, ["a"]]),
        ("&x true", True),
    ],
)
def test_scalars_are_those_of_yaml_1_2_and_plain(written_as: str, value: Any) -> None:
    found = load(f"a: {written_as}\n")["a"]
    assert found == value
    assert type(found) is type(value)


def test_merge_keys_are_merged_and_the_own_ones_win() -> None:
    text = "base: &b {x: 1, y: 1}\nmore: &m {x: 2, z: 2}\none: {<<: *b, y: 3}\ntwo: {<<: [*m, *b], y: 3}\n"
    assert load(text)["one"] == {"x": 1, "y": 3}
    assert load(text)["two"] == {"x": 2, "y": 3, "z": 2}


def test_a_quoted_merge_sign_is_a_key_like_any_other() -> None:
    assert load("'<<': 1\n") == {"<<": 1}


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1\na: 2\n", (1, 0), "the key 'a' is here twice"),
        ("a: {b: 1, 'b': 2}\n", (0, 10), "the key 'b' is here twice"),
        ("a: !secret x\n", (0, 3), "unknown tag"),
        ("a: !!binary x\n", (0, 3), "unknown tag"),
        ("a: !!set {x}\n", (0, 3), "unknown tag"),
        ("a: !<tag:x.org,2000:y> x\n", (0, 3), "unknown tag"),
        ("a: 2024-01-31\n", (0, 3), "a date: put it in quotes"),
        ("1: x\n", (0, 0), "a key must be text"),
        ("[a]: x\n", (0, 0), "a key must be text"),
        ("null: x\n", (0, 0), "a key must be text"),
        ("<<: 1\n", (0, 4), "'<<' takes a mapping"),
        ("a: 1e999\n", (0, 3), "too large"),
        ("a: .nan\n", (0, 3), "reads as a number, and is none"),
        ("a: 99999999999999999999\n", (0, 3), "too large"),
        (f"a: {'9' * 5000}\n", (0, 3), "reads as a number"),
        ("a: !!int x\n", (0, 3), "reads as a number"),
        ("a: !!bool x\n", (0, 3), "expected true or false"),
        ('a: "\\ud800"\n', (0, 3), "surrogate"),
        ("a: &a [*a]\n", (0, 7), "the alias stands inside of what it refers to"),
        ("a: &a {b: {<<: *a}}\n", (0, 15), "the alias stands inside of what it refers to"),
    ],
)
def test_what_a_manifest_cannot_hold_is_refused_at_its_place(text: str, place: tuple[int, int], message: str) -> None:
    with pytest.raises(NodeError, match=message.replace("(", r"\(")) as refusal:
        load(text)
    assert (refusal.value.line, refusal.value.column) == place


def test_depth_is_bounded() -> None:
    assert load("[" * DEEPEST + "]" * DEEPEST)
    with pytest.raises(NodeError, match="nested deeper than 32 levels"):
        load("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1))


@pytest.mark.parametrize(("text", "message"), [("[" * 1000, "nested deeper"), ("[" + "x," * 20_000, "more than")])
def test_reading_stops_at_the_bounds(text: str, message: str) -> None:
    with pytest.raises(NodeError, match=message):
        load(text)


def test_depth_is_bounded_through_aliases_too() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, DEEPEST + 1))
    with pytest.raises(NodeError, match="nested deeper"):
        load(chain)


def test_values_are_bounded() -> None:
    assert len(load(f"[{'x,' * (MOST - 1)}]")) == MOST - 1
    with pytest.raises(NodeError, match="more than 10000 values"):
        load(f"[{'x,' * MOST}]")


def test_a_bomb_of_aliases_is_refused_without_walking_it() -> None:
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    with pytest.raises(NodeError, match="counting each use of an alias") as refusal:
        load(f"a0: &a0 [x]\n{levels}")
    assert refusal.value.line == 4


@pytest.mark.parametrize(
    ("path", "at_key", "place"),
    [
        (("spec", "port"), False, (2, 8)),
        (("spec", "port"), True, (2, 2)),
        (("spec", "list", 1), False, (3, 12)),
        (("spec", "list", 9), False, (3, 8)),
        (("spec", "missing", "deeper"), False, (2, 2)),
        (("spec", "merged"), True, (0, 10)),
        ((), False, (0, 0)),
    ],
)
def test_places_are_those_of_the_text(path: tuple[str | int, ...], at_key: bool, place: tuple[int, int]) -> None:
    root = compose("base: &b {merged: 1}\nspec:\n  port: 8\n  list: [a, b]\n  <<: *b\n")
    assert root is not None
    assert locate(root, path, at_key=at_key) == place


@pytest.mark.parametrize(
    ("text", "name"),
    [("a: {b: c}", "c"), ("a: {b: c, b: d}", "c"), ("a: {b: 1}", ""), ("a: [b]", ""), ("x", ""), ("a: {b: [c]}", "")],
)
def test_a_text_is_read_however_broken_the_rest(text: str, name: str) -> None:
    root = compose(text)
    assert root is not None
    assert written(root, "a", "b") == name
