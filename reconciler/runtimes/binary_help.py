"""Asks programs for their `--help`: in threads, once for each of them, and remembered from controller to controller."""

import hashlib
import os
import select
import signal
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from reconciler.runtimes.host import ResourceError
from reconciler.runtimes.machine_code import is_machine_code
from reconciler.runtimes.remembered_helps import remember, remembered
from reconciler.runtimes.spawning import Bounds, Child, spawn

TIMEOUT = 5.0
"""Seconds that a program may take to print its help."""
PATIENCE = 2.0
"""Seconds for which a first start waits for it."""
AGAIN = 300.0
"""Seconds after which a program is asked again whose help could not be had."""
SLICE = 0.1
"""Seconds between looks whether the answer is still wanted."""
LARGEST = 1024 * 1024
"""Most bytes that are read of a help."""
MOST_KNOWN = 256
"""From this many helps on, those in memory are forgotten."""
MARK = "RECONCILER_HELP"
"""Variable by which whatever is begun for a help is known again."""
MOST_ASKED = 8
"""Programs that are asked at the same time."""
LOADER = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Variables by which one path can be different programs; for a script any of them can."""

Table = TypeVar("Table")


def ask(
    binary: str,
    environment: Mapping[str, str],
    timeout: float = TIMEOUT,
    closing: threading.Event | None = None,
    flag: str = "--help",
) -> str | None:
    """What a program prints for a flag; None where that cannot be had in time, or before `closing`.

    It is run in a session of its own, and whatever is left of that is killed. Raises ResourceError when there is no
    room for a process.
    """
    reader, writer = os.pipe()
    mark = f"{MARK}={uuid.uuid4().hex}"
    try:
        child = spawn([binary, flag], {**environment, **dict([mark.split("=")])}, writer, Bounds())
    except (OSError, ValueError) as error:
        os.close(reader)
        if isinstance(error, ResourceError):
            raise
        return None
    finally:
        os.close(writer)
    try:
        return _read(reader, child.pid, time.monotonic() + timeout, closing or threading.Event())
    finally:
        os.close(reader)
        _end(child)
        _sweep(mark.encode())


def _read(reader: int, pid: int, deadline: float, closing: threading.Event) -> str | None:
    """All that it prints until it ends; who holds the pipe after that has nothing to do with its help."""
    found = bytearray()
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while len(found) <= LARGEST and time.monotonic() < deadline and not closing.is_set():
        has_ended = _has_ended(pid)
        if poll.poll(0 if has_ended else SLICE * 1000):
            chunk = os.read(reader, 65536)
            found += chunk
            if chunk:
                continue
            return found.decode(errors="replace")
        if has_ended:
            return found.decode(errors="replace")
    return None


def _has_ended(pid: int) -> bool:
    """Without taking its status, which leaves its number to it. Python has no waitid on macOS before 3.13."""
    if not hasattr(os, "waitid"):
        return False
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(child: Child) -> None:
    """While it is not waited for, its number is nobody else's."""
    with suppress(OSError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _sweep(mark: bytes) -> None:
    """End what a script around the program began in sessions of its own: it would keep a port, or memory."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            fd = os.pidfd_open(int(entry.name))
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
            finally:
                os.close(fd)


@dataclass(frozen=True, slots=True)
class Heard(Generic[Table]):
    """What is known of a program's help."""

    table: Table | None = None
    """None while it is not known, and where it cannot be had or read."""
    at: float = float("-inf")
    """Monotonic time at which the program itself was asked; long ago where it is only remembered."""
    waits_until: float | None = None
    """Monotonic time until which a start may wait for an answer that is on its way."""


class BinaryHelps(Generic[Table]):
    """Helps by program, each read by `read`; a program that has changed is asked anew."""

    def __init__(
        self,
        read: Callable[[str], Table | None],
        folder: Path | None = None,
        on_answer: Callable[[], None] = lambda: None,
        *,
        keeps: bool = True,
    ) -> None:
        """`folder`: where helps are remembered, and written if it `keeps` them; `on_answer` is called in a thread."""
        self.asked = 0
        """How many times a program was asked."""
        self._keeps = keeps
        self._read = read
        self._folder = folder
        self._on_answer = on_answer
        self._heard: dict[str, tuple[str, Heard[Table]]] = {}
        self._asking: dict[str, threading.Thread] = {}
        self._scripts: dict[str, tuple[str, bool]] = {}
        self._lock = threading.Lock()
        self._room = threading.Semaphore(MOST_ASKED)
        self._closing = threading.Event()

    def is_script(self, binary: str) -> bool:
        """Whether it is no machine code, and may so be a wrapper: other programs by its variables, more flags."""
        return self._is_script(binary, _stamp(binary))

    def _is_script(self, binary: str, stamp: str) -> bool:
        before = self._scripts.get(binary)
        if before is None or before[0] != stamp:
            if len(self._scripts) >= MOST_KNOWN:
                self._scripts.clear()
            before = self._scripts[binary] = (stamp, bool(stamp) and not is_machine_code(binary))
        return before[1]

    def look(self, binary: str, environment: Mapping[str, str], fresher_than: float = float("-inf")) -> Heard[Table]:
        """What is known by now. The program is asked when nothing is, or nothing as fresh as that."""
        stamp = _stamp(binary)
        if not stamp:
            return Heard()
        told_by = environment if self._is_script(binary, stamp) else LOADER
        key, now = _key(binary, {one: environment[one] for one in told_by if one in environment}), time.monotonic()
        with self._lock:
            heard = self._so_far(key, stamp)
            least = max(fresher_than, float("-inf") if heard.table is not None else now - AGAIN)
            is_known = heard.table is not None or heard.at > float("-inf")
            if key in self._asking or (is_known and heard.at >= least):
                return heard
            # Only what was never known is worth a wait, or what is to be known for sure.
            waits = heard.at == float("-inf") or None
            heard = Heard(heard.table, heard.at, waits and now + PATIENCE)
            self._heard[key] = (stamp, heard)
            thread = threading.Thread(target=self._ask, args=(key, stamp, binary, dict(environment)), daemon=True)
            self._asking[key] = thread
            self.asked += 1
            with suppress(RuntimeError):  # there is no room for a thread: then nothing is known
                thread.start()
        return heard

    def _so_far(self, key: str, stamp: str) -> Heard[Table]:
        before = self._heard.get(key)
        if before is None or before[0] != stamp:
            if len(self._heard) >= MOST_KNOWN:
                self._heard = {one: self._heard[one] for one in self._asking if one in self._heard}
            before = self._heard[key] = (stamp, self._remembered(key, stamp) or Heard())
        return before[1]

    def close(self) -> None:
        """Wait for no answer any more, and leave no program behind."""
        self._closing.set()
        self.settle()

    def settle(self, timeout: float = PATIENCE) -> None:
        """Wait for the answers that are on their way."""
        until = time.monotonic() + timeout
        for thread in list(self._asking.values()):
            thread.join(max(0.0, until - time.monotonic()))

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is on its way."""
        return any(thread.is_alive() for thread in list(self._asking.values()))

    def _ask(self, key: str, stamp: str, binary: str, environment: Mapping[str, str]) -> None:
        try:
            with self._room:
                text = ask(binary, environment, closing=self._closing)
        except ResourceError:
            text = None
        table = self._read(text) if text else None
        with self._lock:
            self._heard[key] = (stamp, Heard(table, time.monotonic()))
            self._asking.pop(key, None)
        self._on_answer()
        if text and table is not None and self._folder is not None and self._keeps:
            remember(self._folder, key, stamp, binary, text)

    def _remembered(self, key: str, stamp: str) -> Heard[Table] | None:
        text = remembered(self._folder, key, stamp) if self._folder is not None else None
        table = self._read(text) if text else None
        return None if table is None else Heard(table)


def _stamp(binary: str) -> str:
    """Changes when the program does; empty where there is none."""
    try:
        found = os.stat(binary)  # noqa: PTH116 - paths are text here
    except OSError:
        return ""
    return f"{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"


def _key(binary: str, environment: Mapping[str, str]) -> str:
    variables = "".join(f"\0{name}={value}" for name, value in sorted(environment.items()))
    return hashlib.sha256(f"{binary}{variables}".encode(errors="surrogateescape")).hexdigest()[:16]
