"""Processes on this machine: started in sessions of their own, known by their marks, watched by the host."""

import os
import re
import signal
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace

from reconciler.core.history import Instance
from reconciler.core.model import Exit, Identity, Listener, Process
from reconciler.runtimes.host import FINGERPRINT, INSTALLATION, PORT, SERVER, STEP, UID, Host, Marked, Progress, Watch
from reconciler.runtimes.logs import Logs
from reconciler.runtimes.spawning import Bounds, Child, spawn

_NAME = re.compile(r"[a-z0-9][-a-z0-9]{0,62}", re.ASCII)
_UID = re.compile(r"[A-Za-z0-9][-\w]{0,63}", re.ASCII)
"""What our own marks look like: they become paths of logs, and lines for people."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What is executed. It may hold secrets: it is never written down."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(slots=True)
class _Tracked:
    """A process of ours, from its spawn or discovery until its end is recorded."""

    process: Process
    watch: Watch | None = None
    popen: Child | None = None
    ending: bool = False


class LocalRuntime:
    """Start, terminate, kill, observe: each idempotent, each by identity."""

    def __init__(
        self, host: Host, installation: str, logs: Logs, on_end: Callable[[], None], bounds: Bounds | None = None
    ) -> None:
        """`on_end` is called when a process may have ended; it may be called for nothing."""
        self._host = host
        self._installation = installation
        self._logs = logs
        self._on_end = on_end
        self._bounds = bounds or Bounds()
        self._tracked: dict[Identity, _Tracked] = {}
        self.boot = host.boot

    # -- observe

    def observe(self, *, fresh: bool) -> dict[str, tuple[Process, ...]]:
        """All processes that bear our mark, and those that ended since and are not forgotten, by server.

        `fresh` looks at every process of the machine; otherwise, where one has ended and left others of its group
        behind, at those that are new since the last look.
        """
        if fresh or self.polls:
            self._scan(fresh=fresh)
        ended = [tracked for tracked in list(self._tracked.values()) if self._has_ended(tracked, thorough=fresh)]
        if any(_has_group(tracked.process.identity.pid) for tracked in ended):
            self._scan(fresh=False)
        found: dict[str, list[Process]] = {}
        for tracked in self._tracked.values():
            found.setdefault(tracked.process.server, []).append(tracked.process)
        return {server: tuple(processes) for server, processes in found.items()}

    def _scan(self, *, fresh: bool) -> None:
        for marked in self._host.marked(self._installation, fresh=fresh):
            self._track(marked)

    def _track(self, marked: Marked) -> None:
        if marked.identity in self._tracked or not _is_ours(marked):
            return
        process = Process(
            uid=marked.uid,
            server=marked.server,
            identity=marked.identity,
            leader=marked.leader,
            alive=True,
            fingerprint=marked.fingerprint,
            port=marked.port,
        )
        watch = self._host.watch(marked.identity, lambda: self._mark_ending(marked.identity))
        if watch is not None:
            self._tracked[marked.identity] = _Tracked(process, watch)

    def _mark_ending(self, identity: Identity) -> None:
        if identity in self._tracked:
            self._tracked[identity].ending = True
        self._on_end()

    def _has_ended(self, tracked: _Tracked, *, thorough: bool) -> bool:
        """Whether it is found to have ended just now; how is noted."""
        if not tracked.process.alive or not (tracked.ending or thorough or self.polls):
            return False
        if tracked.popen is not None:
            code = tracked.popen.poll()
            if code is None:
                return False
            exit_ = Exit(signal=-code) if code < 0 else Exit(code=code)
        elif tracked.watch is not None and not tracked.watch.has_ended():
            return False
        else:
            exit_ = Exit()
        if tracked.watch is not None:
            tracked.watch.close()
        if tracked.process.leader:
            tail = self._logs.tail(tracked.process.server, tracked.process.uid)
            tracked.process = replace(tracked.process, alive=False, exit=exit_, log_tail=tail)
        else:
            del self._tracked[tracked.process.identity]
        return True

    @property
    def polls(self) -> bool:
        """Whether ends are only seen by looking."""
        return self._host.polls

    def forget_ended(self, open_uids: AbstractSet[str]) -> None:
        """Drop processes that have ended, but for those whose rows are still open."""
        ended = [key for key, t in self._tracked.items() if not t.process.alive and t.process.uid not in open_uids]
        for identity in ended:
            del self._tracked[identity]

    # -- act

    def start(self, instance: Instance, launch: Launch) -> Identity:
        """Spawn an instance; its mark travels in the environment. Raises OSError when it cannot be executed."""
        marks = {
            INSTALLATION: self._installation,
            SERVER: instance.server,
            UID: instance.uid,
            FINGERPRINT: instance.fingerprint,
            PORT: str(instance.port),
            STEP: "0",
        }
        log = self._logs.open(instance.server, instance.uid)
        try:
            popen = spawn(launch.argv, {**launch.environment, **marks}, log, self._bounds)
        finally:
            os.close(log)
        identity = self._host.identify(popen.pid) or Identity(self.boot, popen.pid, 0)
        process = Process(
            uid=instance.uid,
            server=instance.server,
            identity=identity,
            leader=True,
            alive=True,
            fingerprint=instance.fingerprint,
            port=instance.port,
        )
        watch = None
        with suppress(OSError):  # out of descriptors: it runs all the same, and its parent can always ask for its end
            watch = self._host.watch(identity, lambda: self._mark_ending(identity))
        self._tracked[identity] = _Tracked(process, watch, popen, ending=watch is None)
        if watch is None:
            self._on_end()
        return identity

    def terminate(self, identity: Identity) -> None:
        """Send SIGTERM."""
        self._signal(identity, signal.SIGTERM)

    def kill(self, identity: Identity) -> None:
        """Send SIGKILL."""
        self._signal(identity, signal.SIGKILL)

    def _signal(self, identity: Identity, number: int) -> None:
        tracked = self._tracked.get(identity)
        if tracked and tracked.watch and tracked.process.alive:
            with suppress(PermissionError):
                tracked.watch.signal(number)

    # -- ask

    def listeners(self, resolve: frozenset[int]) -> tuple[Listener, ...]:
        """Listening sockets; owners are looked up for the ports in `resolve`."""
        return tuple(self._owned(listener, resolve) for listener in self._host.listeners(resolve))

    def _owned(self, listener: Listener, resolve: frozenset[int]) -> Listener:
        """Our own processes are known where the host cannot tell whose a socket is."""
        if listener.pid is not None or listener.port not in resolve:
            return listener
        for tracked in self._tracked.values():
            process = tracked.process
            pid = process.identity.pid
            if (
                process.alive
                and process.port == listener.port
                and self._host.listens(pid, listener.address, process.port)
            ):
                return replace(listener, pid=pid, uid=process.uid)
        return listener

    def listens(self, pid: int, host: str, port: int) -> bool | None:
        """Whether who answers there is that process; None when it cannot be told."""
        return self._host.listens(pid, host, port)

    def progress(self, pid: int) -> Progress | None:
        """Signs of work of a process."""
        return self._host.progress(pid)

    def log_head(self, server: str, uid: str) -> str:
        """The beginning of an instance's log, where loading is told."""
        return self._logs.head(server, uid)

    def trim_logs(self) -> None:
        """Keep the log files within their bounds."""
        self._logs.trim(frozenset(tracked.process.uid for tracked in self._tracked.values()))

    def close(self) -> None:
        """Let go of all processes; they run on."""
        for tracked in self._tracked.values():
            if tracked.watch is not None:
                tracked.watch.close()
            if tracked.popen is not None:
                # Popen would warn of a child that was not waited for: it is meant to outlive us.
                tracked.popen.returncode = 0
        self._tracked.clear()


def _is_ours(marked: Marked) -> bool:
    """Whether we could have written its marks. Whoever may read a server's environment may copy its mark."""
    return bool(_NAME.fullmatch(marked.server) and _UID.fullmatch(marked.uid))


def _has_group(pid: int) -> bool:
    """Whether the process group that a leader began has members: its helpers, unless they left it."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
