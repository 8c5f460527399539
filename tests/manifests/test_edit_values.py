"""What `set` and `unset` do to a text, by small examples."""

import datetime as dt
import math
from typing import Any

import pytest

from reconciler.manifests.changing import REMOVED, EditError, set_value, unset_value
from reconciler.manifests.nodes import Path

ABOVE_MERGE = "a: &x {b: {d: 1, e: 2}}\nc:\n  <<: *x\n  b: {d: 3, e: 2}\n"
SET: list[tuple[str, Path, Any, str]] = [
    # A value takes the place of another one: the comment keeps its column, text its quotes.
    ("a: 1 # x\nb: 2\n", ("a",), 10, "a: 10 # x\nb: 2\n"),
    ("a: 1    # x\n", ("a",), 4096, "a: 4096 # x\n"),
    ("a: 1  # x\n", ("a",), 4096, "a: 4096 # x\n"),
    ("a: 4096  # x\n", ("a",), 1, "a: 1     # x\n"),
    ("a:   'x'\n", ("a",), "it's", "a:   'it''s'\n"),
    ('a: "x"\n', ("a",), "y", 'a: "y"\n'),
    ("a: 'x'\n", ("a",), 1, "a: 1\n"),
    ("a: x", ("a",), "y z", "a: y z"),
    ("a: one\n  two\nb: 1\n", ("a",), "x", "a: x\nb: 1\n"),
    ("a:\n  x # y\n", ("a",), 1, "a:\n  1 # y\n"),
    ("a: !!str 1\n", ("a",), 2, "a: 2\n"),
    ("a: &x 1\n", ("a",), 2, "a: &x 2\n"),
    ("a: {b: 1} # x\n", ("a",), "c", "a: c # x\n"),
    ("a: | # x\n  y\n\n  z\n\nb: 1\n", ("a",), 2, "a: 2 # x\n\nb: 1\n"),
    ("a: # x\n  # y\n  b: 1\n# z\nc: 1\n", ("a",), 2, "a: 2 # x\n# z\nc: 1\n"),
    ("a: # x\n- 1\n- 2\nc: 1\n", ("a",), "y", 'a: "y" # x\nc: 1\n'),
    ("a: 1 # x\nb: 2\n", ("a",), {"c": {"d": 1}}, "a: # x\n  c: {d: 1}\nb: 2\n"),
    ("a: x\n", ("a",), "one\ntwo\n", "a: |\n  one\n  two\n"),
    ("a: x\n", ("a",), "one\n\n  two", "a: |-\n  one\n\n    two\n"),
    # What is the same already stays as it is written.
    ("a: 0x10\n", ("a",), 16, "a: 0x10\n"),
    ("a: [ 1,2 ]\n", ("a",), [1, 2], "a: [ 1,2 ]\n"),
    ("a: 1\n", ("a",), True, "a: true\n"),
    ("a: 1\n", ("a",), 1.0, "a: 1.0\n"),
    # A new key stands below its neighbours, and as deep.
    ("a: 1\n", ("b",), 2, "a: 1\nb: 2\n"),
    ("a: 1", ("b",), 2, "a: 1\nb: 2"),
    ("a: 1\r\n", ("b",), {"c": {"d": 1}}, "a: 1\r\nb:\r\n  c: {d: 1}\r\n"),
    ("a:\n    b: 1 # x\n    # y\n  # z\nc: 1\n", ("a", "d"), 2, "a:\n    b: 1 # x\n    # y\n    d: 2\n  # z\nc: 1\n"),
    ("a:\n    b: 1\nc: 1\n", ("d", "e"), 2, "a:\n    b: 1\nc: 1\nd:\n    e: 2\n"),
    ("a: 1\nb: |+\n  x\n\n\n# y\n", ("c",), 2, "a: 1\nb: |+\n  x\n\n\n# y\nc: 2\n"),
    ("a: 1\n\n# y\n", ("b",), 2, "a: 1\nb: 2\n\n# y\n"),
    ("a: # x\nb: 1\n", ("a", "c", "d"), 2, "a: # x\n  c:\n    d: 2\nb: 1\n"),
    ("a: ~ # x\n", ("a", "c"), 2, "a: # x\n  c: 2\n"),
    ("a: {} # x\n", ("a", "b"), 2, "a: {b: 2} # x\n"),
    ("a: {b: 1, }\n", ("a", "c"), 2, "a: {b: 1, c: 2, }\n"),
    ("a: {b: }\n", ("a", "c"), 2, "a: {b: , c: 2 }\n"),
    ("a: {b}\n", ("a", "b"), 2, "a: {b: 2}\n"),
    ("a: {\n  b: 1, # x\n}\n", ("a", "c"), 2, "a: {\n  b: 1, c: 2, # x\n}\n"),
    ("? a\nb: 1\n", ("a",), 2, "? a\n: 2\nb: 1\n"),
    ("a:\n- b: 1\n", ("a", 0, "c"), 2, "a:\n- b: 1\n  c: 2\n"),
    ("--- {a: 1} # x\n", ("b",), 2, "--- {a: 1, b: 2} # x\n"),
    # Lists: what stays in them stays as it is written.
    ("a: [1, 2] # x\n", ("a", 1), 3, "a: [1, 3] # x\n"),
    ("a: [1]\n", ("a", 1), "b", "a: [1, b]\n"),
    ("a: []\n", ("a", 0), "b", "a: [b]\n"),
    ("a:\nb: 1\n", ("a", 0), "b", "a: [b]\nb: 1\n"),
    ("a:\n- 1 # x\n- 2 # y\n- 3\n", ("a",), [2, 3, 4], "a:\n- 2 # y\n- 3\n- 4\n"),
    ("a:\n  - 1 # x\n", ("a",), [1, 2], "a:\n  - 1 # x\n  - 2\n"),
    ("a:\n  - 1 # x\nb: 1\n", ("a",), ["y z"], "a:\n  - y z # x\nb: 1\n"),
    ("a:\n  - 1\n  - 2\nb: 1\n", ("a",), [], "a: []\nb: 1\n"),
    ("a:\n- \nb: 1\n", ("a", "0"), 2, "a:\n- 2 \nb: 1\n"),
    # A mapping set as a whole: only what differs is touched.
    ("a:\n  b: 1 # x\n  c: 2 # y\n", ("a",), {"b": 1, "d": 3}, "a:\n  b: 1 # x\n  d: 3\n"),
    ("a: {b: 1, c: 2}\n", ("a",), {"c": 3}, "a: {c: 3}\n"),
    # What others refer to stays what it is for them.
    ("a: &x 1 # y\nb: *x\nc: *x\n", ("a",), 2, "a: 2 # y\nb: &x 1\nc: *x\n"),
    ("a: &x\n  b: 1 # y\nc: *x\n", ("a", "b"), 2, "a:\n  b: 2 # y\nc: &x {b: 1}\n"),
    ("a: &x {b: &z 1}\nc: {<<: *x, d: *z}\n", ("a",), 2, "a: 2\nc: {<<: &x {b: 1}, d: &z 1}\n"),
    ("a: &x {b: 1}\nc: *x\nd: *x\n", ("c", "b"), 2, "a: &x {b: 1}\nc: {<<: *x, b: 2}\nd: *x\n"),
    ("a: &x [1, 2]\nc: *x\n", ("c", 0), 3, "a: &x [1, 2]\nc: [3, 2]\n"),
    ("a: &x {b: 1}\nc:\n  <<: *x\n", ("c", "b"), 2, "a: &x {b: 1}\nc:\n  <<: *x\n  b: 2\n"),
    ("a: &x {b: {d: 1, e: 2}}\nc:\n  <<: *x\n", ("c", "b", "d"), 3, ABOVE_MERGE),
    ("a: &x 1\nb: *x\nc: &x 2\nd: *x\n", ("a",), 3, "a: 3\nb: &x 1\nc: &x 2\nd: *x\n"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "at", "value", "expected"), SET)
def test_set(text: str, at: Path, value: Any, expected: str) -> None:
    assert set_value(text, at, value) == expected


UNSET: list[tuple[str, Path, str]] = [
    ("a: 1 # x\nb: 2\n", ("a",), "b: 2\n"),
    ("a: 1\nb: 2", ("b",), "a: 1\n"),
    ("# x\na: 1\n\n# y\nb: 2\n# z\n", ("b",), "# x\na: 1\n\n# y\n# z\n"),
    ("a: 1\nb: |+\n  x\n\n\n# y\n", ("b",), "a: 1\n# y\n"),
    ("a: 1\nb: |\n  x\n\n\n# y\n", ("b",), "a: 1\n\n\n# y\n"),
    ("a: 1\nb:\n# x\n- 1\n- 2\n# y\nc: 3\n", ("b",), "a: 1\n# y\nc: 3\n"),
    ("a: 1\n? b\n: 2\nc: 3\n", ("b",), "a: 1\nc: 3\n"),
    ("a:\n  # x\n  b: 1\n  # y\nc: 1\n", ("a", "b"), "a: {}\n  # x\n  # y\nc: 1\n"),
    ("a: &x # y\n  b: 1\nc: 1\n", ("a", "b"), "a: &x {} # y\nc: 1\n"),
    ("a:\n- 1\n", ("a", 0), "a: []\n"),
    ("a:\n- 1 # x\n- 2 # y\n", ("a", "1"), "a:\n- 1 # x\n"),
    ("a:\n- b: 1\n  c: 2\n", ("a", 0, "b"), "a:\n- c: 2\n"),
    ("a:\n- b: 1\n", ("a", 0, "b"), "a:\n- {}\n"),
    ("a: {b: 1, c: 2, d: 3}\n", ("a", "b"), "a: {c: 2, d: 3}\n"),
    ("a: {b: 1, c: 2, d: 3}\n", ("a", "c"), "a: {b: 1, d: 3}\n"),
    ("a: {b: 1, c: 2, d: 3}\n", ("a", "d"), "a: {b: 1, c: 2}\n"),
    ("a: { b: 1, }\n", ("a", "b"), "a: {  }\n"),
    ("a: {b: 1 , c: 2,}\n", ("a", "c"), "a: {b: 1,}\n"),
    ("a: [1, 2]\n", ("a", 0), "a: [2]\n"),
    ("a:\n- 1 # x\n- 1 # y\n", ("a", 0), "a:\n- 1 # y\n"),
    ("a: {\n  b: 1, # x\n  # y\n  c: 2\n}\n", ("a", "b"), "a: {\n  # y\n  c: 2\n}\n"),
    ("a: {\n  b: 1, # x\n  # y\n  c: 2 # z\n}\n", ("a", "c"), "a: {\n  b: 1, # x\n  # y\n}\n"),
    ("a: {b: 1 # x, y\n , c: 2}\n", ("a", "b"), "a: {c: 2}\n"),
    ("a: &x 1\nb: *x\n", ("a",), "b: &x 1\n"),
    ("a: &x {b: 1, c: 2}\nd: *x\n", ("d", "b"), "a: &x {b: 1, c: 2}\nd: {c: 2}\n"),
    # There is nothing to take away.
    ("a: 1\n", ("b",), "a: 1\n"),
    ("a:\nb: 1\n", ("a", "c", "d"), "a:\nb: 1\n"),
    ("a: [1]\n", ("a", 1), "a: [1]\n"),
    ("a: 1\n", ("a", "b"), "a: 1\n"),
]


@pytest.mark.parametrize(("text", "at", "expected"), UNSET)
def test_unset(text: str, at: Path, expected: str) -> None:
    assert unset_value(text, at) == expected


REFUSED: list[tuple[str, Path, Any, str, int]] = [
    ("a: &x {b: 1}\nc: {<<: *x}\n", ("c", "b"), REMOVED, "c.b cannot be removed: it comes, too, with this '<<'", 2),
    ("a: {<<: {b: 1}, b: 2}\n", ("a", "b"), REMOVED, "a.b cannot be removed: it comes, too, with this '<<'", 1),
    ("a:\n- b: 1\n  # x\n  c: 2\n", ("a", 0, "b"), REMOVED, "a.0.b cannot be removed: a comment stands between", 2),
    ("a: 1\n", ("a",), REMOVED, "a cannot be removed: nothing would be left", 1),
    ("a: x\n", ("a", "b"), 1, "a is not a mapping: it has no b", 0),
    ("- 1\n", ("a",), 1, "the document is not a mapping", 0),
    ("a: [1]\n", ("a", 2), 1, "a is a list of 1, and has no item '2'", 0),
    ("a: 1\n", (), 1, "a document cannot be set as a whole", 0),
    ("a: 1\n", ("b",), math.nan, "b: a manifest cannot hold nan", 0),
    ("a: 1\n", ("b",), dt.date(2026, 1, 1), "b: a manifest cannot hold datetime.date", 0),
    ("a: 1\n", ("b",), 2**64, "the place of b is written in a way that cannot be edited without harm", 0),
    ("a: 1\n", ("b",), "\ud800", "the place of b is written", 0),
    ("a: 1\nb: [\n", ("a",), 2, "not valid YAML", 3),
    ("a: 1\na: 2\n", ("a",), 3, "the key 'a' is here twice", 2),
    ("a: !secret x\n", ("b",), 3, "unknown tag", 1),
    ("a: &x [*x]\n", ("b",), 3, "the alias stands inside of what it refers to", 1),
]


@pytest.mark.parametrize(("text", "at", "value", "message", "line"), REFUSED)
def test_refused(text: str, at: Path, value: Any, message: str, line: int) -> None:
    with pytest.raises(EditError) as refused:
        set_value(text, at, value)
    assert message in str(refused.value)
    assert refused.value.line == line
    assert refused.value.remedy
