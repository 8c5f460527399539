"""What shows a running controller to the world: its interface on TCP, figures of its servers, who is told of events."""

import asyncio
from contextlib import suppress

from reconciler.controller.interface import Interface
from reconciler.controller.loop import Loop
from reconciler.controller.metering import Meter
from reconciler.controller.notifying import Notifier
from reconciler.settings import Settings
from reconciler.store.writer import Store


class Surfaces:
    """All of them, for as long as the controller lives. None of them may end it, or hold it up."""

    def __init__(self, settings: Settings, store: Store, loop: Loop, interface: Interface) -> None:
        self._settings = settings
        self._store = store
        self._interface = interface
        self._meter = Meter(store, loop)
        self._notifier = Notifier(settings.notify, store.installation)
        self._tasks: list[asyncio.Task[None]] = []
        interface.meter = self._meter

    def begin(self) -> None:
        """Show everything."""
        from reconciler.api.app import create_public_app  # noqa: PLC0415 - slow to import, see Daemon.serve
        from reconciler.api.listener import Listener  # noqa: PLC0415

        self._store.on_event.append(self._notifier.tell)
        tasks = [self._meter.run(), self._notifier.run()]
        if self._settings.http.listen:
            self._listener = Listener(create_public_app(self._interface), self._settings.http.listen)
            self._interface.listener = self._listener
            tasks.append(self._listener.serve())
        self._tasks = [asyncio.create_task(task) for task in tasks]

    async def end(self) -> None:
        """Show nothing more; what is on its way to a reader has a moment."""
        for task in self._tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait(self._tasks, timeout=0.5) if self._tasks else None
