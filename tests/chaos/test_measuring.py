"""What a soak says of its samples."""

import pytest

from chaos.measuring import LEAST_FOR_SLOPE, WARM_UP, Quantity, Samples, judge, to_table

HOUR = 3600.0


def samples_of(values: list[float], seconds: float = HOUR) -> Samples:
    step = seconds / (len(values) - 1)
    return Samples([number * step for number in range(len(values))], {"memory": values})


def test_a_slope_is_that_of_the_samples_after_the_warm_up() -> None:
    warm_up = [float(10 * number) for number in range(34)]
    assert samples_of(warm_up + [500.0] * 67).slope("memory") == pytest.approx(0, abs=1e-9)
    rising = samples_of([float(number) for number in range(101)])
    assert rising.slope("memory") * HOUR == pytest.approx(100)


def test_a_few_outliers_do_not_move_a_slope() -> None:
    values = [50.0] * 101
    values[60], values[90] = 500.0, 0.0
    assert samples_of(values).slope("memory") == 0


@pytest.mark.parametrize(
    ("values", "seconds", "expected"),
    [
        ([50.0] * 101, HOUR, []),
        ([50.0] * 100 + [70.0], HOUR, ["memory: at most 60 MiB, and it was 70.0"]),
        (
            [40 + number / 10 for number in range(101)],
            HOUR,
            ["memory: may grow by 3 MiB in 2400 s, and its slope comes to 6.67"],
        ),
        ([40 + number / 10 for number in range(101)], LEAST_FOR_SLOPE, []),
        ([60 - number / 10 for number in range(101)], HOUR, []),
    ],
)
def test_what_grew_is_told(values: list[float], seconds: float, expected: list[str]) -> None:
    samples = samples_of(values, seconds)
    assert samples.span == pytest.approx((1 - WARM_UP) * seconds)
    assert judge(samples, [Quantity("memory", "MiB", 60, 3)]) == expected


def test_the_table_shows_each_quantity() -> None:
    told = to_table(samples_of([50.0] * 101), [Quantity("memory", "MiB", 60)])
    assert told.splitlines()[-1] == "| memory, MiB | 50 | 50 | 50 | +0.00 | 60 |  |"
