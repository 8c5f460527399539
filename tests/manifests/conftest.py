import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def handled_sigio() -> Iterator[None]:
    """A process that handles SIGIO, as a controller does: only then does it take leases."""
    before = signal.signal(signal.SIGIO, lambda *_: None)
    yield
    signal.signal(signal.SIGIO, before)
