"""When a new process began: a compiled launcher tells; without a compiler, a look at the controller's children."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.fleet import Options, wait_until
from tests.e2e.installation import Installation

LAUNCHER = Path(__file__).parent / "launcher.c"
CHILD_STEP = 0.0002


class Starts(Protocol):
    """Tells when processes begin."""

    llama_server: str
    """What the controller is to execute."""
    way: str
    """How it is told, for the report."""

    def arm(self, installation: Installation) -> None:
        """Be ready for the next start."""
        ...

    def next(self, installation: Installation, server: str) -> float:
        """Monotonic time of the first start of a server since `arm`."""
        ...


@contextmanager
def watched(options: Options) -> Iterator[Starts]:
    """The best way that this machine has."""
    folder = options.scratch / "launcher"
    folder.mkdir(exist_ok=True)
    try:
        yield _compile(options, folder) or Children(options.llama_server)
    finally:
        shutil.rmtree(folder)


def _compile(options: Options, folder: Path) -> "Launcher | None":
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    program, file = folder / "llama-server", folder / "starts"
    if compiler is None:
        return None
    defined = [f"-DSTARTS={json.dumps(str(file))}", f"-DLLAMA_SERVER={json.dumps(options.llama_server)}"]
    # Static where possible: a loader's work before main() would count as the controller's.
    for linked in (["-static"], []):
        command = [compiler, "-O2", *linked, *defined, "-o", str(program), str(LAUNCHER)]
        if subprocess.run(command, check=False, capture_output=True).returncode == 0:
            file.touch()
            return Launcher(str(program), file)
    return None


@dataclass(slots=True)
class Launcher:
    """The compiled launcher writes a line for each start."""

    llama_server: str
    file: Path
    way: str = "noted by the process itself in its first instructions"
    _offset: int = 0

    def arm(self, installation: Installation) -> None:  # noqa: ARG002 - the protocol's
        """Lines from here on count."""
        self._offset = self.file.stat().st_size

    def next(self, installation: Installation, server: str) -> float:
        """Not in a hurry: the line says when."""
        wait_until(f"a start of {server}", installation, lambda: server in self._lines())
        return self._lines()[server]

    def _lines(self) -> dict[str, float]:
        with self.file.open() as file:
            file.seek(self._offset)
            lines = [line.split() for line in file.read().splitlines()]
        return {server: float(at) for server, at in reversed(lines)}


@dataclass(slots=True)
class Children:
    """A look at the controller's children every 0.2 ms."""

    llama_server: str
    way: str = "seen among the controller's children, looked at every 0.2 ms (no C compiler here)"
    _before: frozenset[str] = frozenset()

    def arm(self, installation: Installation) -> None:
        """Children from now on are new."""
        self._before = self._children(installation)

    def next(self, installation: Installation, server: str) -> float:
        """The only new child is the one: starts are measured one at a time."""
        return wait_until(
            f"a start of {server}", installation, lambda: bool(self._children(installation) - self._before), CHILD_STEP
        )

    def _children(self, installation: Installation) -> frozenset[str]:
        assert installation.controller is not None
        pid = installation.controller.pid
        return frozenset(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def sleep_a_little() -> None:
    """Let the controller come to rest after the last round."""
    time.sleep(0.05)
