"""What a long run must not let grow: samples of it, their slopes, and a report."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import psutil

from tests.e2e.installation import Installation

MIB = 1024 * 1024
WARM_UP = 1 / 3
"""Share of the time in which caches fill and history reaches its bounds; slopes are taken after it."""
LEAST_FOR_SLOPE = 600.0
"""Seconds after the warm-up below which slopes are only shown: caches fill, and one sample more or less decides."""
MOST_FOR_SLOPE = 200
"""Samples that a slope is taken from: it looks at all pairs."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something that is measured, and how much of it is too much."""

    name: str
    unit: str
    most: float
    """It is never above that."""
    growth: float = float("inf")
    """Over the time measured, its slope comes to no more than that; infinite where settings bound it."""


@dataclass
class Samples:
    """What was measured, in the order of time."""

    times: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, values: dict[str, float]) -> None:
        """One sample of everything, now."""
        self.times.append(time.monotonic())
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)

    def warm(self, name: str) -> tuple[list[float], list[float]]:
        """Times and values after the warm-up."""
        begin = self.times[0] + WARM_UP * (self.times[-1] - self.times[0])
        kept = [(at, value) for at, value in zip(self.times, self.values[name], strict=True) if at >= begin]
        return [at for at, _ in kept], [value for _, value in kept]

    def slope(self, name: str) -> float:
        """Change in a second: the median over the slopes of all pairs, which outliers do not move (Theil and Sen)."""
        times, values = self.warm(name)
        step = max(1, len(times) // MOST_FOR_SLOPE)
        points = list(zip(times[::step], values[::step], strict=True))
        return statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2))

    @property
    def span(self) -> float:
        """Seconds after the warm-up."""
        return (1 - WARM_UP) * (self.times[-1] - self.times[0])

    @property
    def is_long(self) -> bool:
        """Whether slopes say something."""
        return self.span >= LEAST_FOR_SLOPE


def measure(installation: Installation) -> dict[str, float]:
    """What the controller takes at this moment, of memory, descriptors, threads and disk."""
    assert installation.controller is not None
    controller = psutil.Process(installation.controller.pid)
    state = installation.state
    rows = {table: installation.query(f"select count(*) from {table}")[0][0] for table in ("instances", "events")}
    return {
        "memory": controller.memory_info().rss / MIB,
        "descriptors": controller.num_fds(),
        "threads": controller.num_threads(),
        "zombies": sum(child.status() == psutil.STATUS_ZOMBIE for child in controller.children()),
        "database": sum(size_of(path) for path in state.glob("state.db*")) / MIB,
        "logs": sum(size_of(path) for path in state.glob("logs/**/*")) / MIB,
        **{table: float(count) for table, count in rows.items()},
    }


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where it is gone."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def judge(samples: Samples, quantities: Sequence[Quantity]) -> list[str]:
    """What grew beyond its bound, a sentence each."""
    failures = []
    for quantity in quantities:
        most, growth = max(samples.values[quantity.name]), samples.slope(quantity.name) * samples.span
        if most > quantity.most:
            failures.append(f"{quantity.name}: at most {quantity.most:g} {quantity.unit}, and it was {most:.1f}")
        if growth > quantity.growth and samples.is_long:
            told = f"{samples.span:.0f} s, and its slope comes to {growth:.2f}"
            failures.append(f"{quantity.name}: may grow by {quantity.growth:g} {quantity.unit} in {told}")
    return failures


def to_table(samples: Samples, quantities: Sequence[Quantity]) -> str:
    """A Markdown table of what was measured, and its bounds."""
    heads = ("after the warm-up", "at the end", "most", "slope in an hour", "most allowed", "growth allowed")
    lines = ["| what | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for quantity in quantities:
        values = samples.warm(quantity.name)[1]
        hourly = samples.slope(quantity.name) * 3600
        few = max(1, len(values) // 10)
        first, last = statistics.median(values[:few]), statistics.median(values[-few:])
        cells = [_number(value) for value in (first, last, max(samples.values[quantity.name]))]
        bounds = (_number(quantity.most), _number(quantity.growth))
        unit = f", {quantity.unit}" if quantity.unit else ""
        lines.append(f"| {quantity.name}{unit} | " + " | ".join([*cells, f"{hourly:+.2f}", *bounds]) + " |")
    return "\n".join(lines)


def _number(value: float) -> str:
    if value == float("inf"):
        return ""
    return f"{value:.0f}" if value == round(value) or value >= 1000 else f"{value:.1f}"
