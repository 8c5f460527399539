"""A controller in the foreground: `reconciler run`."""

import asyncio
import faulthandler
import json
import logging
import os
import resource
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from reconciler.controller.daemon import Daemon, Stop
from reconciler.controller.inherited import shed_inheritance
from reconciler.controller.lock import HeldError, Lock, hold
from reconciler.controller.loop import log
from reconciler.controller.preview import shown
from reconciler.controller.sd_notify import Systemd
from reconciler.controller.service import LONGER, Service
from reconciler.controller.state_folder import private
from reconciler.core.clean import clean, clean_json, clean_lines
from reconciler.installation import remember
from reconciler.settings import Settings

LOCK_LOOK = 0.2
"""Seconds between tries for a lock that an `apply` holds."""
ANONYMOUS = 5.0
"""Seconds to wait for one that does not say who it is: it begins, or its disk is full, and then it stays."""
MOST_FILES = 65536
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(settings: Settings, *, on_exit: str, log_format: str) -> int:
    """A controller in the foreground, until SIGTERM or SIGINT. Returns the exit code."""
    shed_inheritance()
    _log_to_stdout(log_format)
    state, systemd = Path(settings.state), Systemd(os.environ)
    if systemd.watchdog:
        # It ends a controller that hangs by SIGABRT, and the journal then has where it was.
        faulthandler.enable()
    try:
        with private(state) as umask, _wait_for_lock(state, systemd) as lock:
            remember(state)
            with _signals_waiting():
                return asyncio.run(_foreground(settings, on_exit, umask, lock, systemd))
    except HeldError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 0


async def _foreground(settings: Settings, on_exit: str, umask: int, lock: Lock, systemd: Systemd) -> int:
    _allow_many_files()
    stop = Stop(on_exit)
    daemon = Daemon(settings, os.environ, umask, lock)
    service = Service(systemd, daemon.loop)

    def end() -> None:
        service.end()
        stop.event.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        _on_signal(number, end)
    _on_signal(signal.SIGHUP, service.reload)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    log.info("controller pid %d over %s, state in %s", os.getpid(), settings.manifests, settings.state)
    try:
        await daemon.serve(stop, service.up, shows=True)
    finally:
        service.close()
    if on_exit == "leave":
        # Who reads that of a service is in another folder.
        program = _program() + (f" --config {shlex.quote(settings.file)}" if systemd.listens else "")
        log.info("ended; the servers run on. To stop them: %s stop --all; to go on: %s run", program, program)
    return 0


@contextmanager
def _signals_waiting() -> Iterator[None]:
    """Until there are handlers: an interrupt while asyncio is being set up ends in its complaints."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _on_signal(number: int, then: Callable[[], None]) -> None:
    """Call `then` in the loop. asyncio's own way loses signals, SIGTERM too, where many come while the loop is busy."""
    loop = asyncio.get_running_loop()

    def handle(*_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(then)

    signal.signal(number, handle)


@contextmanager
def _wait_for_lock(state: Path, systemd: Systemd) -> Iterator[Lock]:
    """An `apply` that holds the lock ends by itself; another `run` does not."""
    told, until = False, time.monotonic() + ANONYMOUS
    while True:
        try:
            with hold(state, "run") as lock:
                yield lock
                return
        except HeldError as error:
            if error.verb == "run" or (error.pid is None and time.monotonic() > until):
                raise
            if not told:
                log.info("waiting: %s", error)
                told = True
            systemd.extend(LONGER, f"waiting: {error}")
            time.sleep(LOCK_LOOK)


def _allow_many_files() -> None:
    """Each server takes a descriptor to watch it: raise the soft limit as far as this user may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _program() -> str:
    """How this program was called, to be pasted."""
    called = sys.argv[0]
    if called.endswith("__main__.py"):
        return f"{shown(sys.executable)} -m reconciler"
    return "reconciler" if shutil.which("reconciler") == os.path.abspath(called) else shown(os.path.abspath(called))


class _TextFormatter(logging.Formatter):
    """One line for each decision, whatever stands in the names and messages it tells of."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        record.message = clean(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - as above
        return clean_lines(super().formatException(ei))


class _JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "server": getattr(record, "server", ""),
            "reason": getattr(record, "reason", ""),
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return clean_json(json.dumps(told))


def _log_to_stdout(log_format: str) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    # What libraries warn of would else reach stderr as it is.
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
