"""A controller within another command, for as long as that runs."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reconciler.controller.daemon import Daemon, Stop
from reconciler.controller.inherited import shed_inheritance
from reconciler.controller.lock import CONVERGING, Lock, hold
from reconciler.controller.state_folder import private
from reconciler.installation import remember
from reconciler.settings import Settings


@contextmanager
def embedded(settings: Settings, verb: str = "apply") -> Iterator[None]:
    """A controller in a thread of this command, for as long as the context lasts; the servers run on after it.

    Some verbs converge everything; others act only on the servers that are then named in requests.

    Raises HeldError when another controller has the state folder, and what opening the state raises.
    """
    shed_inheritance()
    state = Path(settings.state)
    with private(state) as umask, hold(state, verb) as lock:
        remember(state)
        thread = _Embedded(settings, umask, lock, acts_on_all=verb in CONVERGING)
        thread.start()
        try:
            thread.wait_until_up()
            yield
        finally:
            thread.stop()


class _Embedded(threading.Thread):
    """The event loop of an embedded controller."""

    def __init__(self, settings: Settings, umask: int, lock: Lock, *, acts_on_all: bool) -> None:
        super().__init__(name="controller", daemon=True)
        self._settings = settings
        self._umask = umask
        self._lock = lock
        self._acts_on_all = acts_on_all
        self._up = threading.Event()
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: Stop | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the waiting thread
            self._error = error
        finally:
            self._up.set()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), Stop()
        daemon = Daemon(self._settings, os.environ, self._umask, self._lock)
        if not self._acts_on_all:
            daemon.loop.limit_to(frozenset())
        await daemon.serve(self._stopping, self._up.set, follows=self._acts_on_all)

    def wait_until_up(self) -> None:
        self._up.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        if self._loop is not None and self._stopping is not None and self.is_alive():
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopping.event.set)
        self.join(timeout=5.0)
