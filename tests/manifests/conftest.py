import ctypes
import os
import signal
import sys
from collections.abc import Iterator

import pytest

READS_ALL = 0b110
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH (capabilities(7)): files' modes do not bind who has them."""


@pytest.fixture
def handled_sigio() -> Iterator[None]:
    """A process that handles SIGIO, as a controller does: only then does it take leases."""
    before = signal.signal(signal.SIGIO, lambda *_: None)
    yield
    signal.signal(signal.SIGIO, before)


@pytest.fixture
def bound_by_modes() -> Iterator[None]:
    """A process that may read no more than files' modes say, also when it is root's."""
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        pytest.skip("root reads everything")
    before = _capabilities()
    _set_capabilities(before[0] & ~READS_ALL, *before[1:])
    yield
    _set_capabilities(*before)


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def _capabilities() -> tuple[int, ...]:
    """Effective, permitted and inheritable ones of this thread, the low half and then the high one (capget(2))."""
    data = (ctypes.c_uint32 * 6)()
    assert _libc.capget(ctypes.byref(_Header(_VERSION_3, 0)), data) == 0
    return tuple(data)


def _set_capabilities(*values: int) -> None:
    data = (ctypes.c_uint32 * 6)(*values)
    assert _libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), data) == 0
