"""Many real servers under one controller, and cheap ways to see how they are."""

import json
import os
import select
import signal
import socket
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.installation import Installation, installed

PATIENCE = 120.0
"""Seconds until a benchmark gives up."""
STEP = 0.004
"""Seconds between looks while waiting: an error of half of that in what takes seconds."""
SPARE_PORTS = 50


@dataclass(frozen=True, slots=True)
class Options:
    """What all benchmarks are given."""

    llama_server: str
    model: Path
    scratch: Path
    """Folder on the disk that is measured."""
    servers: int = 100
    rounds: int = 5
    """Repetitions of what takes seconds."""
    seconds: float = 60.0
    """How long to look at an idle controller."""


def names(count: int) -> list[str]:
    """Names of servers, sorted."""
    return [f"server-{number:04}" for number in range(count)]


@contextmanager
def empty(options: Options, *, folder: Path | None = None, llama_server: str = "") -> Iterator[Installation]:
    """An installation without manifests, below `folder` or the scratch folder; nothing of it is left."""
    with (
        tempfile.TemporaryDirectory(dir=folder or options.scratch, prefix="fleet-") as root,
        installed(
            Path(root), llama_server or options.llama_server, options.model, _free_ports(options.servers + SPARE_PORTS)
        ) as made,
    ):
        # Fresh files are watched for a while before they are used; these are to count as old.
        os.utime(made.models / "tiny.gguf", (0, 0))
        try:
            yield made
        finally:
            end_all(made)


@contextmanager
def running(
    options: Options, *, folder: Path | None = None, llama_server: str = "", shown: bool = False, **spec: Any
) -> Iterator[Installation]:
    """An installation whose servers are all Ready, and that has come to rest.

    `shown`: with the interface and the dashboard on its last port.
    """
    with empty(options, folder=folder, llama_server=llama_server) as made:
        for name in names(options.servers):
            made.declare(name, **spec)
        made.start(RECONCILER_LOADS="0", **({"RECONCILER_HTTP": f"127.0.0.1:{made.ports[-1]}"} if shown else {}))
        wait_until(f"{options.servers} Ready", made, lambda: count_ready(made) == options.servers)
        time.sleep(1.0)
        yield made


def end_all(installation: Installation) -> None:
    """Kill the controller, then all servers, and wait until they are gone."""
    if installation.controller is not None:
        installation.end(signal.SIGKILL)
    left = list(installation.processes())
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for_ends(process.pid for process in left)


def wait_until(what: str, installation: Installation, is_so: Callable[[], bool], step: float = STEP) -> float:
    """Look until it is so; the monotonic time of that. Raises TimeoutError with the controller's log."""
    deadline = time.monotonic() + PATIENCE
    while (now := time.monotonic()) < deadline:
        with suppress(sqlite3.OperationalError):  # the database, or a table, is not there yet
            if is_so():
                return now
        if installation.controller is not None and installation.controller.poll() is not None:
            break
        time.sleep(step)
    raise TimeoutError(f"waited in vain for: {what}\n{installation.log()[-4000:]}")


def count_ready(installation: Installation) -> int:
    """Servers that the controller has recorded as Ready."""
    return int(installation.query("select count(*) from servers where phase = 'Ready'")[0][0])


def open_pids(installation: Installation) -> dict[str, int]:
    """Pids of the open instances by server, as recorded."""
    rows = installation.query("select server, pid from instances where ended_at is null and pid is not null")
    return {str(server): int(pid) for server, pid in rows}


def wait_for_ends(pids: Iterable[int], patience: float = PATIENCE) -> None:
    """Wait until none of these runs. Raises TimeoutError."""
    deadline = time.monotonic() + patience
    for pid in pids:
        with suppress(ProcessLookupError):
            fd = os.pidfd_open(pid)
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            ended = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            os.close(fd)
            if not ended:
                raise TimeoutError(f"pid {pid} still runs after {patience:g} s")


def kill(installation: Installation, name: str, pid: int) -> float:
    """SIGKILL a server's process, once it is sure that it is this one; the monotonic time just before."""
    fd = os.pidfd_open(pid)
    try:
        marks = psutil.Process(pid).environ()
        identity = installation.query("select value from meta where key = 'installation'")[0][0]
        if (marks["RECONCILER_SERVER"], marks["RECONCILER_INSTALLATION"]) != (name, identity):
            raise ProcessLookupError(f"pid {pid} is not {name}")
        at = time.monotonic()
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        return at
    finally:
        os.close(fd)


def ready_again(installation: Installation, name: str, old_pid: int) -> bool:
    """Whether another process of a server is Ready."""
    rows = installation.query(
        "select row from instances where server = ? and ended_at is null and ready_at is not null", name
    )
    return any((json.loads(row)["identity"] or {"pid": old_pid})["pid"] != old_pid for (row,) in rows)


def _free_ports(count: int) -> range:
    """So many ports in a row that nobody listens on, below those for outgoing connections."""
    for first in range(9100, 32000, 100):
        ports = range(first, first + count)
        if all(_is_free(port) for port in ports):
            return ports
    raise OSError(f"no {count} free ports in a row below 32000")


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
