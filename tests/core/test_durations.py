import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.durations import LONGEST, describe_duration, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("10s", 10.0),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        ("0.5ms", 0.0005),
        ("0s", 0.0),
        (0, 0.0),
        (0.0, 0.0),
    ],
)
def test_written_durations_are_read(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "10", 10, 1.5, "10 s", "-5s", "s", "5d", "1h 30m", "1,5s", "inf", "nan", ".5s", "5.s", None, True, False],
)
def test_anything_else_is_refused_with_examples(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 500ms, 10s, 5m or 1h"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["87601h", "9" * 400 + "s"])
def test_more_than_ten_years_is_a_slip(text: str) -> None:
    with pytest.raises(ValueError, match="longer than ten years"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s"), (0.5, "500ms"), (0.0015, "1.5ms"), (90.0, "1m30s"), (3600.0, "1h"), (61.25, "1m1s250ms")],
)
def test_durations_are_written_shortly(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(0, LONGEST).map(lambda seconds: round(seconds, 6)))
def test_what_is_written_reads_as_the_same(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.from_regex(r"([0-9]{1,4}(\.[0-9]{1,4})?(ms|s|m|h)){1,3}", fullmatch=True))
def test_what_is_read_and_written_stays_the_same(text: str) -> None:
    once = parse_duration(text)
    assert parse_duration(format_duration(once)) == once


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1.0, "0ms"),
        (0.3401, "340ms"),
        (0.9999, "1s"),
        (1.25, "1.2s"),
        (9.96, "10s"),
        (12.4, "12s"),
        (59.7, "1m"),
        (200.0, "3m20s"),
        (3600.0, "1h"),
        (7260.0, "2h1m"),
        (4 * 86400.0 + 7300, "4d2h"),
    ],
)
def test_people_are_told_one_or_two_units(seconds: float, text: str) -> None:
    assert describe_duration(seconds) == text
