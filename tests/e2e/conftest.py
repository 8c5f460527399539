"""Fixtures for tests of a whole installation over real llama-servers."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.installation import Installation, installed

_used = 0


@pytest.fixture
def installation(tmp_path: Path, llama_server: str, tiny_model: Path) -> Iterator[Installation]:
    """An installation with a range of ports of its own."""
    global _used  # noqa: PLW0603 - one counter for the process
    _used += 1
    first = 14000 + (os.getpid() % 60) * 300 + (_used % 15) * 20
    with installed(tmp_path, llama_server, tiny_model, range(first, first + 20)) as made:
        yield made
