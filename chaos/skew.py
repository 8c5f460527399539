"""Clocks of one process alone that can be set: nothing else on the machine notices."""

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("skew.c")


class NoCompilerError(Exception):
    """There is no C compiler here."""


class Skew:
    """The clocks of the processes that are started with `environ`."""

    def __init__(self, folder: Path) -> None:
        """Built in that folder. Raises NoCompilerError."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise NoCompilerError("no C compiler (cc) to build the clocks with: apt-get install gcc libc6-dev")
        library, shared = folder / "skew.so", folder / "skew"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SOURCE], check=True)
        shared.write_bytes(bytes(16))
        with shared.open("r+b") as file:
            self._shifts = mmap.mmap(file.fileno(), 16)
        self._wall = self._monotonic = 0
        self.environ = {"LD_PRELOAD": str(library), "SKEW_FILE": str(shared)}

    def step(self, *, wall: float = 0.0, monotonic: float = 0.0) -> None:
        """Step the clocks by so many seconds, at once."""
        self._wall += round(wall * 1e9)
        self._monotonic += round(monotonic * 1e9)
        self._shifts[:] = struct.pack("=qq", self._wall, self._monotonic)
