import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.clean import REPLACEMENT, clean, clean_json, clean_lines, escaped

ANY_TEXT = st.text(st.characters(exclude_categories=()))
"""Lone surrogates too, which stand for bytes of a file's name that are no text."""
TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""What turns the direction of writing."""


def commands(text: str, allowed: str = "") -> list[str]:
    """The characters of a text that a terminal, a log's reader or a file cannot be given."""
    return [one for one in text if one not in allowed and (unicodedata.category(one) in ("Cc", "Cs") or one in TURNING)]


@given(ANY_TEXT)
def test_one_line_commands_nothing_and_can_be_written(text: str) -> None:
    assert commands(clean(text)) == []
    assert "\n" not in clean(text)
    clean(text).encode()


@given(ANY_TEXT)
def test_many_lines_command_nothing(text: str) -> None:
    assert commands(clean_lines(text), "\n\t") == []
    clean_lines(text).encode()


@given(ANY_TEXT, st.sampled_from([None, 2]))
def test_json_says_the_same(text: str, indent: int | None) -> None:
    value = {"key": text, text: ["x"]}
    for ascii_only in (True, False):
        written = clean_json(json.dumps(value, ensure_ascii=ascii_only, indent=indent))
        assert commands(written, "\n") == []
        # Two lone surrogates in a row are one character for a reader of JSON, as they are without us.
        assert json.loads(written) == json.loads(json.dumps(value))


@given(ANY_TEXT)
def test_a_name_is_on_one_line(name: str) -> None:
    assert escaped(name).isprintable()
    assert escaped(name) == name or not name.isprintable()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a b.yaml", "a b.yaml"),
        ("模型.yaml", "模型.yaml"),
        ("a\n.yaml", "a\\n.yaml"),
        ("a\x1b[31m.yaml", "a\\x1b[31m.yaml"),
        ("a\udcff.yaml", "a\\udcff.yaml"),
        ("a\u202e.yaml", "a\\u202e.yaml"),
    ],
)
def test_names_stay_distinct(name: str, shown: str) -> None:
    assert escaped(name) == shown


def test_what_is_replaced_is_seen() -> None:
    assert clean("a\x1b[31mb\udcff") == f"a{REPLACEMENT}[31mb{REPLACEMENT}"
