import pytest

from reconciler.manifests.text import place, split


def contents(text: str) -> list[tuple[int, str]]:
    return [(chunk.content_line, chunk.text) for chunk in split(text) if chunk.content_line]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("# only a comment\n", []),
        ("---\n---\n...\n", []),
        ("a: 1", [(1, "a: 1")]),
        ("a: 1\n---\nb: 2\n", [(1, "a: 1\n"), (3, "b: 2\n")]),
        ("a: 1\r\n---\r\nb: 2\r\n", [(1, "a: 1\r\n"), (3, "b: 2\r\n")]),
        ("a: 1\r---\rb: 2", [(1, "a: 1\r"), (3, "b: 2")]),
        ("--- # first\n# why\n\na: 1\n", [(4, "# why\n\na: 1\n")]),
        ("--- {a: 1}\n---\tb\n", [(1, "--- {a: 1}\n"), (2, "---\tb\n")]),
        ("a: |\n  ---\n  text\n ---\n", [(1, "a: |\n  ---\n  text\n ---\n")]),
        ("----\n---a\n", [(1, "----\n---a\n")]),
        ("%YAML 1.2\n---\na: 1\n...\nb: 2\n", [(3, "a: 1\n"), (5, "b: 2\n")]),
        ("\ufeff---\na: 1\n", [(2, "a: 1\n")]),
        ("a: \u2028---\n", [(1, "a: \u2028---\n")]),
    ],
)
def test_split_at_markers_in_the_first_column(text: str, expected: list[tuple[int, str]]) -> None:
    assert contents(text) == expected


def test_offsets_point_into_the_whole_text() -> None:
    text = "\ufeffa: 1\n---\n--- b\n...\n# end"
    assert [text[chunk.start : chunk.end] for chunk in split(text)] == [chunk.text for chunk in split(text)]
    assert [chunk.closed for chunk in split(text)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("offset", "expected"), [(0, (1, 1)), (2, (1, 3)), (4, (2, 1)), (5, (2, 2)), (6, (3, 1)), (7, (3, 2))]
)
def test_place_counts_lines_and_columns_from_one(offset: int, expected: tuple[int, int]) -> None:
    assert place("ab\r\nc\nd", offset) == expected
