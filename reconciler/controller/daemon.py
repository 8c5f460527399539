"""Where everything is put together: a controller in the foreground, or within another command."""

import asyncio
import gc
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from reconciler.controller.launching import Launcher
from reconciler.controller.lock import HeldError, hold
from reconciler.controller.loop import Loop, log
from reconciler.controller.preview import check_spec, preview_texts, problems_data
from reconciler.core.accept import Seen
from reconciler.installation import remember, socket_path
from reconciler.manifests.folder import Folder
from reconciler.runtimes.host import choose_host
from reconciler.runtimes.local import LocalRuntime
from reconciler.runtimes.logs import Logs
from reconciler.settings import Settings
from reconciler.store.writer import Store

LOCK_LOOK = 0.2
"""Seconds between tries for a lock that an `apply` holds."""
SETTLE = 4.0
"""Most seconds that `reconcile` waits for files to be quiet and missing documents to count as gone."""
MIB = 1024 * 1024
MOST_FILES = 65536


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
        runtime = LocalRuntime(host, self._store.installation, logs, self.poke)
        folder = Folder(Path(settings.manifests), check_spec, _shown(settings.manifests))
        launcher = Launcher(settings, environ)
        self.loop = Loop(self._store, runtime, folder, launcher, settings)
        self._runtime = runtime

    def poke(self) -> None:
        """Look again."""
        self.loop.poke()

    async def serve(self, stop: Stop, on_up: Callable[[], None] = lambda: None) -> None:
        """Supervise until told to stop."""
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
        with suppress(OSError):
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

    def preview(self, texts: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """What would happen with these documents."""
        look = self.loop.look()
        seen = Seen(look.documents, look.problems, look.failed, look.empty)
        return preview_texts(self._store.documents, seen, self._store.history(), self._store.requests(), texts)


def run(settings: Settings, *, on_exit: str, log_format: str) -> int:
    """A controller in the foreground, until SIGTERM or SIGINT. Returns the exit code."""
    _log_to_stdout(log_format)
    state = Path(settings.state)
    make_state(state)
    try:
        with _wait_for_lock(state):
            remember(state)
            return asyncio.run(_foreground(settings, on_exit))
    except HeldError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 0


async def _foreground(settings: Settings, on_exit: str) -> int:
    _allow_many_files()
    loop, stop = asyncio.get_running_loop(), Stop(on_exit)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.event.set)
    # A look at a manifest takes a lease for a moment; a writer that comes then sends SIGIO, whose default is to kill.
    signal.signal(signal.SIGIO, lambda *_: None)
    daemon = Daemon(settings, os.environ)
    loop.add_signal_handler(signal.SIGHUP, daemon.poke)
    log.info("controller pid %d over %s, state in %s", os.getpid(), settings.manifests, settings.state)
    await daemon.serve(stop)
    if on_exit == "leave":
        log.info("ended; the servers run on. To stop them: reconciler stop --all; to go on: reconciler run")
    return 0


@contextmanager
def _wait_for_lock(state: Path) -> Iterator[None]:
    """An `apply` that holds the lock ends by itself; another `run` does not."""
    told = False
    while True:
        try:
            with hold(state, "run"):
                yield
                return
        except HeldError as error:
            if error.verb == "run":
                raise
            if not told:
                log.info("waiting: %s", error)
                told = True
            time.sleep(LOCK_LOOK)


@contextmanager
def embedded(settings: Settings, verb: str = "apply") -> Iterator[None]:
    """A controller in a thread of this command, for as long as the context lasts; the servers run on after it.

    Raises HeldError when another controller has the state folder, and what opening the state raises.
    """
    state = Path(settings.state)
    make_state(state)
    with hold(state, verb):
        remember(state)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGIO, lambda *_: None)
        thread = _Embedded(settings)
        thread.start()
        try:
            thread.wait_until_up()
            yield
        finally:
            thread.stop()


class _Embedded(threading.Thread):
    """The event loop of an embedded controller."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="controller", daemon=True)
        self._settings = settings
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
        await Daemon(self._settings, os.environ).serve(self._stopping, self._up.set)

    def wait_until_up(self) -> None:
        self._up.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        if self._loop is not None and self._stopping is not None and self.is_alive():
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopping.event.set)
        self.join(timeout=5.0)


def _allow_many_files() -> None:
    """Each server takes a descriptor to watch it: raise the soft limit as far as this user may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def make_state(state: Path) -> None:
    """Create the state folder, readable by its owner alone."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)


def program_version() -> str:
    """The installed version."""
    try:
        return version("reconciler")
    except PackageNotFoundError:
        return "unknown"


def _shown(folder: str) -> str:
    """A folder as people would type it: relative to the working folder when it is below it."""
    relative = os.path.relpath(folder)
    return folder if relative.startswith("..") else relative


class _JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {
                "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
                "level": record.levelname.lower(),
                "server": getattr(record, "server", ""),
                "reason": getattr(record, "reason", ""),
                "message": record.getMessage(),
            }
        )


def _log_to_stdout(log_format: str) -> None:
    handler = logging.StreamHandler(sys.stdout)
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
    handler.setFormatter(_JsonFormatter() if log_format == "json" else plain)
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
