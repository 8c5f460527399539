"""Waiting for what another process does."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
PATIENCE = 20.0
"""Seconds to wait for what should take milliseconds, on a machine that is busy."""


def eventually(look: Callable[[], Found]) -> Found:
    """The first truthy answer."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.005)
    return found
