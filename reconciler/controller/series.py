"""Figures of one server over time, for charts."""

import math
from array import array
from collections.abc import Mapping
from typing import Any

KEPT = 720
"""Values of each figure: an hour, one each five seconds."""
SPARE = 60
"""Values more than that before the oldest are dropped, at once."""
FIGURES = ("memoryBytes", "tokensPerSecond", "slotsBusy", "healthSeconds", "cpuPercent", "gpuBytes", "ready")


class Series:
    """One server's. What is not known is kept as NaN, in 8 bytes each."""

    def __init__(self) -> None:
        self._at = array("d")
        self._values = {name: array("d") for name in FIGURES}

    def add(self, at: float, figures: Mapping[str, float | None]) -> None:
        """Keep what was seen at a Unix time."""
        self._at.append(at)
        for name, values in self._values.items():
            value = figures.get(name)
            values.append(math.nan if value is None else value)
        if len(self._at) >= KEPT + SPARE:
            for values in (self._at, *self._values.values()):
                del values[:SPARE]

    @property
    def last_at(self) -> float:
        """Unix time of the newest value."""
        return self._at[-1] if self._at else 0.0

    @property
    def is_blank(self) -> bool:
        """Whether nothing ran in all that time."""
        return all(math.isnan(value) for value in self._values["memoryBytes"])

    def data(self) -> dict[str, Any]:
        """`at` and `series`, as the interface has them."""
        series = {name: [_told(value) for value in values[-KEPT:]] for name, values in self._values.items()}
        return {"at": [round(at, 1) for at in self._at[-KEPT:]], "series": series}


def _told(value: float) -> float | int | None:
    if math.isnan(value):
        return None
    return int(value) if value.is_integer() else round(value, 4)
