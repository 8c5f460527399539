"""Which of many like cases each run plays."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def some(values: Iterable[Any], kept: Collection[Any]) -> list[Any]:
    """All of them as parameters; those that are not `kept` are played by `make test-long` alone."""
    every = list(values)
    assert set(kept) <= set(every), f"{kept} of {every}"
    return [value if value in kept else pytest.param(value, marks=pytest.mark.long) for value in every]
