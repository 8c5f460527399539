"""Where everything is put together: a controller in the foreground, or within another command."""

import asyncio
import gc
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.controller.flag_gate import helps_in
from reconciler.controller.interface import Interface, program_version
from reconciler.controller.keeping import Checker
from reconciler.controller.launching import Launcher
from reconciler.controller.lock import Lock
from reconciler.controller.loop import Loop, log
from reconciler.controller.manifests import Manifests
from reconciler.controller.preview import check_spec, shown
from reconciler.controller.surfaces import Surfaces
from reconciler.controller.syncing import Syncing
from reconciler.core.kinds import OtherDocument
from reconciler.core.model import Document
from reconciler.installation import socket_path
from reconciler.manifests.folder import Folder
from reconciler.runtimes.claims import Claims
from reconciler.runtimes.host import choose_host
from reconciler.runtimes.local import LocalRuntime
from reconciler.runtimes.logs import Logs
from reconciler.runtimes.spawning import Bounds
from reconciler.settings import Settings
from reconciler.store.writer import Store

MIB = 1024 * 1024
GARBAGE = 50_000
"""New objects between two collections of the youngest (Python's own: 700)."""
SETTLED = 2
"""Ticks after which most of what lives as long as the controller is there."""


@dataclass(slots=True)
class Stop:
    """How a controller is told to end, from a signal or another thread."""

    on_exit: str = "leave"
    event: asyncio.Event = field(default_factory=asyncio.Event)


class Daemon:
    """One controller: the loop, what pokes it, and what it answers."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], umask: int, lock: Lock | None = None) -> None:
        """Open the state; the caller holds its `lock` and runs an event loop. `umask` is the servers'."""
        state = Path(settings.state)
        self._settings = settings
        host = choose_host(settings.host)
        self._store = Store(state, Claims(host))
        logs = Logs(state / "logs", keep=settings.logs.keep, most_bytes=settings.logs.max_mib * MIB)
        bounds = Bounds(umask, settings.open_files)
        runtime = LocalRuntime(host, self._store.installation, logs, self.poke_after_end, bounds, self._store.folder)
        root = Path(settings.manifests)
        self._manifests = Manifests(root, Folder(root, check_spec, shown(settings.manifests)), self._accepted)
        self._launcher = Launcher(settings, environ, helps_in(state, self._poke_from_a_thread()))
        self._launcher.begin()
        self.loop = Loop(self._store, runtime, self._manifests, self._launcher, settings)
        self._syncing = Syncing(settings, self._store, self._manifests, self.loop)
        if lock is not None:
            self.loop.keeper.hold(lock)
        self.loop.keeper.keep(self._store.put_installation_right)
        self.interface = Interface(settings, self._store, self.loop, self._launcher, self._syncing)
        self._surfaces = Surfaces(settings, self._store, self.loop, self.interface)
        self._checker = Checker(self._store, self.loop.poke)
        self._runtime = runtime
        self._ticks = 0

    def _accepted(self) -> Iterable[Document | OtherDocument]:
        return (*self._store.documents.values(), *self._store.others.values())

    def poke(self) -> None:
        """Look again."""
        self.loop.poke()

    def _poke_from_a_thread(self) -> Callable[[], None]:
        running = asyncio.get_running_loop()

        def poke() -> None:
            with suppress(RuntimeError):  # it has ended meanwhile
                running.call_soon_threadsafe(self.poke)

        return poke

    def poke_after_end(self) -> None:
        """Look at the processes."""
        self.loop.poke_after_end()

    async def serve(
        self, stop: Stop, on_up: Callable[[], None] = lambda: None, *, follows: bool = True, shows: bool = False
    ) -> None:
        """Supervise until told to stop.

        `follows`: look at the remote of a Git source now and again. `shows`: be there for others than the socket's.
        """
        # A pass makes thousands of short-lived values and hardly a cycle: collect with the ticks, not amid a restart.
        gc.set_threshold(GARBAGE)
        if shows:
            self._surfaces.note_events()  # those of the first pass, too
        self._introduce()
        self.loop.poke()
        looping = asyncio.create_task(self.loop.run())
        await asyncio.sleep(0)
        # The first servers are loading by now: what they do not need is imported meanwhile.
        from reconciler.api.app import create_app  # noqa: PLC0415
        from reconciler.api.server import SocketServer  # noqa: PLC0415
        from reconciler.api.views import Views  # noqa: PLC0415
        from reconciler.controller.triggers import start_ticking, watch_manifests  # noqa: PLC0415

        views = Views(self.interface)
        server = SocketServer(create_app(self.interface, views), str(socket_path(Path(self._settings.state))))
        serving = asyncio.create_task(server.serve())
        self.loop.keeper.keep(server.put_in_place)
        scheduler = start_ticking(self._settings.tick, self._tick)
        watching = asyncio.create_task(
            watch_manifests(Path(self._settings.manifests), self.poke, self.loop.counts.watching.observe)
        )
        if follows:
            self._syncing.start()
        if shows:
            self._surfaces.begin(views)
        on_up()
        try:
            await self._until(stop, looping, serving)
        finally:
            views.close()
            server.stop()
            await self._surfaces.end()
            scheduler.shutdown(wait=False)
            watching.cancel()
            looping.cancel()
            await self._close(serving)

    async def _until(self, stop: Stop, *running: asyncio.Task[None]) -> None:
        """Until told to stop, or until one of these fails, which raises."""
        stopping = asyncio.create_task(stop.event.wait())
        done, _ = await asyncio.wait({stopping, *running}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopping}:
            task.result()
        if stop.on_exit == "stop":
            await self._stop_all()

    async def _close(self, serving: asyncio.Task[None]) -> None:
        self._syncing.close()
        self._launcher.flags.close()
        self.loop.close()
        # A check that is still reading would keep SQLite from tidying up.
        await asyncio.wait({serving, *self._checker.running}, timeout=0.5)
        self._store.close()

    def _tick(self) -> None:
        """The periodic look; it also keeps logs and history within their bounds."""
        self._ticks += 1
        # A connection that is closed is a cycle, and a probe that is stopped a bigger one. Those that outlive a
        # collection of the youngest would wait for hours, and more of them with each.
        gc.collect()
        if self._ticks <= SETTLED:
            # What lives as long as we do need not be walked by each collection: that would be milliseconds in a
            # restart. Later on there would be garbage in what is frozen, which would then stay for ever.
            gc.freeze()
        self._runtime.trim_logs(self.interface.known_names())
        self._checker.begin()
        with suppress(sqlite3.Error):
            self._store.trim(instances=self._settings.history.instances, events=self._settings.history.events)
        self.loop.poke(fresh=True)
        self._syncing.restore()

    async def _stop_all(self) -> None:
        """Stop every server, without a request that would outlive this controller.

        Not while no intent can be written: the end must not wait for a disk.
        """
        self.loop.stopping_all = True
        while self._store.history().instances:
            if self._store.trouble is not None:
                log.warning("the servers run on: %s", self._store.trouble)
                return
            await self.loop.run_pass()
            await asyncio.sleep(0.02)

    def _introduce(self) -> None:
        now = self.loop.now()
        identity = choose_host(self._settings.host).identify(os.getpid())
        about = {
            "pid": os.getpid(),
            "startTicks": identity.start_ticks if identity else 0,
            "boot": now.boot,
            "startedAt": now.wall,
            "version": program_version(),
            "manifests": self._settings.manifests,
            "models": self._settings.models,
            "settings": self._settings.file,
        }
        with self._store.transaction(anyway=True):
            self._store.set_meta("controller", json.dumps(about))
