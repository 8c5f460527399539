"""GPUs' memory by process, without ever waiting for a driver."""

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.runtimes.gpu import Gpus

if TYPE_CHECKING:
    from collections.abc import Mapping


class GpuLook:
    """Looks in a thread of its own, and tells what the last look saw."""

    def __init__(self) -> None:
        self._gpus: Gpus | None = None
        self._memory: Mapping[int, int] = {}
        self._looked = float("-inf")
        self._thread: threading.Thread | None = None

    def look(self, period: float, *, are_there: bool) -> None:
        """Begin a look, unless the last one is younger than so many seconds, or still waits for the driver."""
        if not are_there or time.monotonic() - self._looked < period or self._is_looking or self._sees_none:
            return
        self._looked = time.monotonic()
        # A daemon: a driver that hangs must not keep a controller from ending.
        self._thread = threading.Thread(target=self._run, name="gpus", daemon=True)
        with suppress(RuntimeError):  # no room for one more: the next look may have it
            self._thread.start()

    def of(self, pid: int) -> int | None:
        """Bytes that a process has; None where it has none, or that is not told."""
        return self._memory.get(pid)

    @property
    def _is_looking(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def _sees_none(self) -> bool:
        return self._gpus is not None and not self._gpus.are_there

    def _run(self) -> None:
        if self._gpus is None:
            self._gpus = Gpus()
        self._memory = self._gpus.memory()
