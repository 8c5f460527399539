import pytest

from reconciler.cli.tables import Table
from reconciler.cli.terminal import cells, clean, clean_lines, cut


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\r\nthree", "two lines three"),
        ("\x1b[31mred", "�[31mred"),
        ("a\x00b\x7fc\x9bd", "a�b�c�d"),
        ("left\u202eright", "left�right"),
        ("tab\there", "tab here"),
        ("ümläut 模型", "ümläut 模型"),
    ],
)
def test_one_line_is_safe(text: str, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("\x1b[31;1mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("\x1b(Bplain", "plain"),
        ("50%\r100%", "50%�100%"),
        ("dos\r\nline", "dos\nline"),
        ("\x1b\x07", "��"),
    ],
)
def test_many_lines_are_safe(text: str, shown: str) -> None:
    assert clean_lines(text) == shown


@pytest.mark.parametrize(
    ("text", "most", "shown"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("abc", 0, ""), ("模型模型", 5, "模型…"), ("模型", 4, "模型")],
)
def test_cutting_counts_columns(text: str, most: int, shown: str) -> None:
    assert cut(text, most) == shown
    assert cells(shown) <= most


ROWS = [["coder", "a long message about nothing"], ["x", ""]]


def test_columns_are_aligned() -> None:
    assert Table(("NAME", "MESSAGE"), width=None).lines(ROWS) == [
        "NAME   MESSAGE",
        "coder  a long message about nothing",
        "x",
    ]


@pytest.mark.parametrize("width", range(1, 40))
def test_no_line_is_wider_than_asked(width: int) -> None:
    table = Table(("NAME", "MESSAGE"), width=width, gives_way=(("MESSAGE", 4), ("NAME", 2), ("MESSAGE", 0)))
    assert max(map(cells, table.lines(ROWS))) <= width


def test_the_first_that_gives_way_is_cut_first() -> None:
    table = Table(("NAME", "MESSAGE"), width=14, gives_way=(("MESSAGE", 0),))
    assert table.lines(ROWS)[1] == "coder  a long…"


def test_later_rows_stand_below_the_first() -> None:
    table = Table(("NAME", "MESSAGE"), width=None)
    table.lines(ROWS)
    assert table.lines([["y", "text"]], header=False) == ["y      text"]


def test_painting_changes_no_width() -> None:
    table = Table(("NAME", "MESSAGE"), width=None)
    painted = table.lines(ROWS, lambda cell, column: f"<{cell}>" if column == "NAME" else cell)
    assert painted[2] == "<x    >"


def test_a_cell_cannot_break_out_of_its_line() -> None:
    assert Table(("NAME",), width=None).lines([["a\nb\x1b[2J"]]) == ["NAME", "a b�[2J"]
