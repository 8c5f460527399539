"""Whether a program is machine code, or a script."""

import os
import stat
from contextlib import suppress

_MAGIC = "7f454c46 feedface feedfacf cefaedfe cffaedfe cafebabe cafebabf"
_BEGINNINGS = frozenset(bytes.fromhex(magic) for magic in _MAGIC.split())
"""ELF, and Mach-O for one machine or several."""


def is_machine_code(program: str) -> bool:
    """By how its file begins; also where that cannot be read, for nothing speaks for a script then."""
    with suppress(OSError):
        descriptor = os.open(program, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            return not stat.S_ISREG(os.fstat(descriptor).st_mode) or file.read(4) in _BEGINNINGS
    return True
