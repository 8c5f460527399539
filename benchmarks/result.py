"""What a benchmark found, and how it is shown."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TIMES = "\N{MULTIPLICATION SIGN}"
HEADINGS = ("benchmark", "what", "median", "p95", "n", "bare", "ratio", "target", "")


@dataclass(frozen=True, slots=True)
class Row:
    """One measured quantity; less is better."""

    what: str
    unit: str
    samples: tuple[float, ...]
    target: float | None = None
    """Most that the median may be, or the ratio when there is a bare loop; None: only told."""
    bare: tuple[float, ...] = ()
    """The same done by a bare loop, in the same run."""

    @property
    def median(self) -> float:
        """Half of the samples are below it."""
        return statistics.median(self.samples)

    @property
    def p95(self) -> float:
        """Of a hundred samples, ninety-five are below it."""
        if len(self.samples) == 1:
            return self.samples[0]
        return statistics.quantiles(self.samples, n=20, method="inclusive")[-1]

    @property
    def ratio(self) -> float | None:
        """Median over the bare loop's median."""
        return self.median / statistics.median(self.bare) if self.bare else None

    @property
    def holds(self) -> bool | None:
        """Whether the target is kept; None where there is none."""
        if self.target is None:
            return None
        return (self.median if self.ratio is None else self.ratio) <= self.target


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark's rows, and how they were come by."""

    benchmark: str
    rows: tuple[Row, ...]
    note: str = ""


def to_data(result: Result) -> dict[str, object]:
    """A result for JSON, all samples included."""
    return {"benchmark": result.benchmark, "note": result.note, "rows": [_row_data(row) for row in result.rows]}


def _row_data(row: Row) -> dict[str, object]:
    return {
        "what": row.what,
        "unit": row.unit,
        "median": row.median,
        "p95": row.p95,
        "target": row.target,
        "ratio": row.ratio,
        "holds": row.holds,
        "samples": row.samples,
        "bare": row.bare,
    }


def to_table(results: Iterable[Result]) -> str:
    """A Markdown table, aligned so that it reads well in a terminal too."""
    lines = [list(HEADINGS), *(_cells(result, row) for result in results for row in result.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    rule = [
        ("-" * width if place < 2 or not HEADINGS[place] else "-" * (width - 1) + ":")
        for place, width in enumerate(widths)
    ]
    return "\n".join(_line(line, widths) for line in [lines[0], rule, *lines[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    texts = [
        cell.ljust(width) if place < 2 or not HEADINGS[place] else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(texts)} |"


def _cells(result: Result, row: Row) -> list[str]:
    target = "" if row.target is None else f"≤ {row.target:g} {TIMES if row.bare else row.unit}"
    return [
        result.benchmark,
        row.what,
        _number(row.median, row.unit),
        _number(row.p95, row.unit),
        str(len(row.samples)),
        _number(statistics.median(row.bare), row.unit) if row.bare else "",
        "" if row.ratio is None else f"{row.ratio:.2f} {TIMES}",
        target,
        {True: "ok", False: "MISSED", None: ""}[row.holds],
    ]


def _number(value: float, unit: str) -> str:
    """Three digits that count, never in powers of ten."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {unit}"
