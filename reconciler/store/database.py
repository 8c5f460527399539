"""sqlite-utils, imported without numpy.

It loads numpy wherever that is installed, which costs each start of the controller 100 ms and 12 MiB for nothing.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Imports of a module fail for as long as the context lasts, unless it is loaded already."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # what importlib documents for this
    try:
        yield
    finally:
        del sys.modules[module]


with _without("numpy"):
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

__all__ = ["Database", "Migrations"]
