import json

import pytest

from benchmarks.result import Result, Row, to_data, to_table


@pytest.mark.parametrize(
    ("row", "holds"),
    [
        (Row("x", "ms", (1.0, 2.0, 9.0)), None),
        (Row("x", "ms", (1.0, 2.0, 9.0), target=2.0), True),
        (Row("x", "ms", (1.0, 2.1, 9.0), target=2.0), False),
        (Row("x", "s", (3.0,), target=1.5, bare=(2.0,)), True),
        (Row("x", "s", (3.1,), target=1.5, bare=(2.0,)), False),
        (Row("x", "s", (1.0,), target=1.5, bare=(0.5,)), False),
    ],
)
def test_a_target_binds_the_median_or_the_ratio_to_the_bare_loop(row: Row, holds: bool | None) -> None:
    assert row.holds is holds


def test_p95_leaves_one_in_twenty_above() -> None:
    row = Row("x", "ms", tuple(float(number) for number in range(1, 102)))
    assert (row.median, row.p95) == (51.0, 96.0)
    assert Row("x", "ms", (7.0,)).p95 == 7.0


def test_the_table_is_markdown_with_aligned_columns() -> None:
    results = [
        Result("cold-start", (Row("all Ready", "s", (1.0, 1.5, 2.0), 1.5, (1.0,)),)),
        Result("crash", (Row("kill to process", "ms", (4.25,), 4.0), Row("sync", "ms", (123.4,)))),
    ]
    lines = to_table(results).splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[2] == ["cold-start", "all Ready", "1.50 s", "1.95 s", "3", "1.00 s", "1.50 ×", "≤ 1.5 ×", "ok"]  # noqa: RUF001
    assert cells[3] == ["crash", "kill to process", "4.25 ms", "4.25 ms", "1", "", "", "≤ 4 ms", "MISSED"]
    assert cells[4] == ["crash", "sync", "123 ms", "123 ms", "1", "", "", "", ""]
    assert set("".join(cells[1])) == {"-", ":"}


def test_json_holds_every_sample_and_the_verdict() -> None:
    data = json.loads(json.dumps(to_data(Result("crash", (Row("x", "ms", (1.0, 3.0), 5.0),), "how"))))
    assert data["note"] == "how"
    assert data["rows"][0]["samples"] == [1.0, 3.0]
    assert data["rows"][0]["holds"] is True
