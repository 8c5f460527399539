"""Asks programs for their `--help`: in threads, once for each of them, and remembered from controller to controller."""

import hashlib
import json
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from reconciler.runtimes.host import ResourceError
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
MOST_KEPT = 32
"""Helps that are remembered on disk."""
LOADER = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Variables by which one path can be different programs."""

Table = TypeVar("Table")


def ask(
    binary: str, environment: Mapping[str, str], timeout: float = TIMEOUT, closing: threading.Event | None = None
) -> str | None:
    """What a program prints for `--help`; None where that cannot be had in time, or before `closing`.

    It is run in a session of its own, and whatever is left of that is killed. Raises ResourceError when there is no
    room for a process.
    """
    reader, writer = os.pipe()
    try:
        child = spawn([binary, "--help"], environment, writer, Bounds())
    except (OSError, ValueError) as error:
        os.close(reader)
        if isinstance(error, ResourceError):
            raise
        return None
    finally:
        os.close(writer)
    try:
        return _read(reader, time.monotonic() + timeout, closing or threading.Event())
    finally:
        os.close(reader)
        _end(child)


def _read(reader: int, deadline: float, closing: threading.Event) -> str | None:
    found = bytearray()
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while len(found) <= LARGEST and time.monotonic() < deadline and not closing.is_set():
        if not poll.poll(SLICE * 1000):
            continue
        chunk = os.read(reader, 65536)
        if not chunk:
            return found.decode(errors="replace")
        found += chunk
    return None


def _end(child: Child) -> None:
    """While it is not waited for, its number is nobody else's."""
    with suppress(OSError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


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
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def look(self, binary: str, environment: Mapping[str, str], fresher_than: float = float("-inf")) -> Heard[Table]:
        """What is known by now. The program is asked when nothing is, or nothing as fresh as that."""
        stamp = _stamp(binary)
        if not stamp:
            return Heard()
        key, now = _key(binary, environment), time.monotonic()
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
            text = ask(binary, environment, closing=self._closing)
        except ResourceError:
            text = None
        table = self._read(text) if text else None
        with self._lock:
            self._heard[key] = (stamp, Heard(table, time.monotonic()))
            self._asking.pop(key, None)
        self._on_answer()
        if text and table is not None:
            self._remember(key, stamp, binary, text)

    # ------------------------------------------------------------ on disk

    def _remembered(self, key: str, stamp: str) -> Heard[Table] | None:
        if self._folder is None:
            return None
        try:
            data = json.loads((self._folder / f"{key}.json").read_bytes())
            table = self._read(data["help"]) if data["stamp"] == stamp else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return None if table is None else Heard(table)

    def _remember(self, key: str, stamp: str, binary: str, text: str) -> None:
        if self._folder is None or not self._keeps:
            return
        draft = self._folder / f".{key}.draft"
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            draft.write_text(json.dumps({"binary": binary, "stamp": stamp, "help": text}))
            draft.replace(self._folder / f"{key}.json")
            kept = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
            for path in kept[:-MOST_KEPT]:
                path.unlink()


def _stamp(binary: str) -> str:
    """Changes when the program does; empty where there is none."""
    try:
        found = os.stat(binary)  # noqa: PTH116 - paths are text here
    except OSError:
        return ""
    return f"{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"


def _key(binary: str, environment: Mapping[str, str]) -> str:
    loader = "".join(f"\0{name}={environment[name]}" for name in LOADER if name in environment)
    return hashlib.sha256(f"{binary}{loader}".encode(errors="surrogateescape")).hexdigest()[:16]
