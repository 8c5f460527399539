"""What shows a running controller to the world: its interface on TCP, figures of its servers, who is told of events."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.controller.interface import Interface
from reconciler.controller.loop import Loop
from reconciler.controller.metering import Meter
from reconciler.controller.notifying import Notifier
from reconciler.core.actions import Event
from reconciler.core.listen import LISTEN_FAILED, parse_listen
from reconciler.core.notify_settings import NOTIFY_FAILED
from reconciler.settings import Settings
from reconciler.store.writer import Store

if TYPE_CHECKING:
    from reconciler.api.listener import Listener
    from reconciler.api.views import Views

_FAILURES = (LISTEN_FAILED, NOTIFY_FAILED)


class Surfaces:
    """All of them, for as long as the controller lives. None of them may end it, or hold it up."""

    def __init__(self, settings: Settings, store: Store, loop: Loop, interface: Interface) -> None:
        self._settings = settings
        self._store = store
        self._loop = loop
        self._interface = interface
        self._meter = Meter(store, loop)
        self._notifier = Notifier(settings.notify, store.installation, self._tell)
        self._tasks: list[asyncio.Task[None]] = []
        interface.meter = self._meter

    def note_events(self) -> None:
        """Keep what happens from now on for those who are to be told of it, once it is begun."""
        self._store.on_event.append(self._notifier.tell)

    def begin(self, views: "Views") -> None:
        """Show everything."""
        tasks = [self._meter.run(), self._notifier.run()]
        if self._settings.http.listen:
            tasks.append(self._listener(views).serve())
        self._tasks = [asyncio.create_task(task) for task in tasks]

    def _listener(self, views: "Views") -> "Listener":
        from reconciler.api.app import create_public_app  # noqa: PLC0415 - slow to import, see Daemon.serve
        from reconciler.api.guard import Access  # noqa: PLC0415
        from reconciler.api.listener import Listener  # noqa: PLC0415

        http, tokens = self._settings.http, self._interface.tokens
        with suppress(OSError):
            tokens.put_in_place()
        self._loop.keeper.keep(tokens.put_in_place)
        access = Access(
            tokens=tokens,
            is_loopback=parse_listen(http.listen).is_loopback,
            hosts=frozenset(http.hosts),
            reads_need_token=http.reads == "token",
            streams=http.streams,
        )
        app = create_public_app(self._interface, views, access=access)
        self._interface.listener = Listener(app, http.listen, most=http.connections, tell=self._tell)
        return self._interface.listener

    def _tell(self, reason: str, message: str) -> None:
        """Keep what became of them, as an event."""
        with self._store.transaction(anyway=True):
            self._store.add_event(Event("", reason, message, warning=reason in _FAILURES), self._loop.now())

    async def end(self) -> None:
        """Show nothing more; what is on its way to a reader has a moment."""
        for task in self._tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait(self._tasks, timeout=0.5) if self._tasks else None
