"""Where everything is put together: a controller in the foreground, or within another command."""

import asyncio
import gc
import json
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from reconciler.controller.launching import Launcher
from reconciler.controller.loop import Loop
from reconciler.controller.preview import SETTLE, Before, check_spec, preview_texts, problems_data, shown
from reconciler.installation import socket_path
from reconciler.manifests.folder import Folder
from reconciler.runtimes.host import choose_host
from reconciler.runtimes.local import LocalRuntime
from reconciler.runtimes.logs import Logs
from reconciler.settings import Settings
from reconciler.store.writer import Store

MIB = 1024 * 1024
GARBAGE = 50_000
"""New objects between two collections of the youngest (Python's own: 700)."""


@dataclass(slots=True)
class Stop:
    """How a controller is told to end, from a signal or another thread."""

    on_exit: str = "leave"
    event: asyncio.Event = field(default_factory=asyncio.Event)


class Daemon:
    """One controller: the loop, what pokes it, and what it answers."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        """Open the state; the caller holds its lock and runs an event loop."""
        state = Path(settings.state)
        self._settings = settings
        self._store = Store(state)
        logs = Logs(state / "logs", keep=settings.logs.keep, most_bytes=settings.logs.max_mib * MIB)
        host = choose_host(settings.host)
        runtime = LocalRuntime(host, self._store.installation, logs, self.poke_after_end)
        folder = Folder(Path(settings.manifests), check_spec, shown(settings.manifests))
        self._launcher = Launcher(settings, environ)
        self.loop = Loop(self._store, runtime, folder, self._launcher, settings)
        self._runtime = runtime

    def poke(self) -> None:
        """Look again."""
        self.loop.poke()

    def poke_after_end(self) -> None:
        """Look at the processes."""
        self.loop.poke_after_end()

    async def serve(self, stop: Stop, on_up: Callable[[], None] = lambda: None) -> None:
        """Supervise until told to stop."""
        # A pass makes thousands of short-lived values and hardly a cycle: collect seldom, not amid a restart.
        gc.set_threshold(GARBAGE)
        self._introduce()
        self.loop.poke()
        looping = asyncio.create_task(self.loop.run())
        await asyncio.sleep(0)
        # The first servers are loading by now: what they do not need is imported meanwhile.
        from reconciler.api.app import create_app  # noqa: PLC0415
        from reconciler.api.server import SocketServer  # noqa: PLC0415
        from reconciler.controller.triggers import start_ticking, watch_manifests  # noqa: PLC0415

        server = SocketServer(create_app(self), str(socket_path(Path(self._settings.state))))
        serving = asyncio.create_task(server.serve())
        scheduler = start_ticking(self._settings.tick, self._tick)
        watching = asyncio.create_task(watch_manifests(Path(self._settings.manifests), self.poke))
        on_up()
        try:
            stopping = asyncio.create_task(stop.event.wait())
            done, _ = await asyncio.wait({stopping, looping, serving}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()
            if stop.on_exit == "stop":
                await self._stop_all()
        finally:
            server.stop()
            scheduler.shutdown(wait=False)
            watching.cancel()
            looping.cancel()
            self.loop.close()
            await asyncio.wait({serving}, timeout=0.5)
            self._store.close()

    def _tick(self) -> None:
        """The periodic look; it also keeps logs and history within their bounds."""
        # What lives as long as we do need not be walked by each collection: that would be milliseconds in a restart.
        gc.freeze()
        self._runtime.trim_logs()
        with suppress(sqlite3.Error):
            self._store.trim(instances=self._settings.history.instances, events=self._settings.history.events)
        self.loop.poke(fresh=True)

    async def _stop_all(self) -> None:
        """Stop every server, without a request that would outlive this controller."""
        self.loop.stopping_all = True
        while self._store.history().instances:
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
        }
        with self._store.transaction():
            self._store.set_meta("controller", json.dumps(about))

    # -- what the interface asks (api.app.Controller)

    def describe(self) -> dict[str, Any]:
        """Who answers."""
        return {"pid": os.getpid(), "version": program_version(), "passes": self.loop.passes}

    async def reconcile(self) -> dict[str, Any]:
        """Look at everything, and wait for what is only a matter of moments: quiet files, missing documents."""
        until = time.monotonic() + SETTLE
        while True:
            self.loop.poke(fresh=True)
            await self.loop.run_pass()
            acceptance = self.loop.acceptance
            if not self.loop.unsettled or time.monotonic() > until:
                break
            await asyncio.sleep(0.05)
        return {
            "pass": self.loop.passes,
            "problems": problems_data(acceptance),
            "folderProblem": acceptance.folder_problem,
            "prunable": list(acceptance.prunable),
            "held": dict(acceptance.held),
        }

    async def request(self, kind: str, servers: Sequence[str]) -> list[int]:
        """Commit the requests, then act on them."""
        known = {*self._store.documents, *self._store.history().servers, *self._store.history().instances}
        if unknown := [name for name in servers if name not in known]:
            from reconciler.api.app import UnknownServersError  # noqa: PLC0415 - see serve

            raise UnknownServersError(unknown)
        self.loop.extend_to(servers)
        now, ids = self.loop.now(), []
        with self._store.transaction():
            for name in servers:
                if kind == "start":
                    self._store.withdraw("stop", name, now)
                    record = self._store.history().servers.get(name)
                    if record is not None and (record.failed or record.completed):
                        ids.append(self._store.add_request("restart", name, now))
                else:
                    ids.append(self._store.add_request(kind, name, now))
        await self.loop.run_pass()
        return ids

    async def preview(self, texts: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """What would happen with these documents, once the files are quiet."""
        until = time.monotonic() + SETTLE
        while (look := self.loop.look()).wake_at is not None and time.monotonic() < until:  # noqa: ASYNC110 - a file's writer sends no event
            await asyncio.sleep(0.05)
        state = Before(self._store.documents, self._store.history(), self._store.requests())
        return preview_texts(state, look, texts, lambda spec: self._launcher.look(spec, self.loop.now()))


def make_state(state: Path) -> None:
    """Create the state folder, readable by its owner alone."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)


def program_version() -> str:
    """The installed version."""
    try:
        return version("reconciler")
    except PackageNotFoundError:
        return "unknown"
