"""Processes on this machine: started in sessions of their own, known by their marks, watched by the host."""

import os
import signal
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from reconciler.core.history import Instance
from reconciler.core.model import Identity, Process
from reconciler.core.observed import Listener
from reconciler.runtimes.holding import Holder, Holdings
from reconciler.runtimes.host import (
    CHANGES,
    FINGERPRINT,
    FOLDER,
    INSTALLATION,
    PORT,
    SERVER,
    STEP,
    UID,
    Host,
    Progress,
    ResourceError,
    changes_mark,
    step_mark,
)
from reconciler.runtimes.logs import Logs
from reconciler.runtimes.processes import Processes
from reconciler.runtimes.spawning import Bounds, Child, spawn

MOST_HELD = 256
"""From so many on, those known to be held are looked through for ones that have ended."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What is executed. It may hold secrets: it is never written down."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


class LocalRuntime:
    """Start, terminate, kill, observe: each idempotent, each by identity."""

    def __init__(
        self,
        host: Host,
        installation: str,
        logs: Logs,
        on_end: Callable[[], None],
        bounds: Bounds | None = None,
        folder: str = "",
    ) -> None:
        """`on_end` is called when a process may have ended; it may be called for nothing. `folder`: the state's."""
        self._host = host
        self._logs = logs
        self._bounds = bounds or Bounds()
        self._folder = folder
        self._processes = Processes(host, installation, logs.tail, on_end, folder, self._is_taken)
        self._holdings = Holdings(installation, folder)
        self._held: set[Identity] = set()
        self.boot = host.boot
        self.installation = installation

    # -- observe

    def observe(self, *, fresh: bool) -> dict[str, tuple[Process, ...]]:
        """All processes that bear our mark, and those that ended since and are not forgotten, by server.

        `fresh` looks at every process of the machine; otherwise, where one has ended, at those that are new since the
        last look. Raises ResourceError when there never was a whole look: then nothing is known of what runs.
        """
        return self._processes.observe(fresh=fresh)

    def keep_watch(self, instances: Iterable[Instance]) -> None:
        """Watch the processes of these, found by their recorded identity alone: not all of them bear a readable mark.

        Raises ResourceError when there is no room to look: then it is not known whether one runs.
        """
        self._processes.keep_watch(one for one in instances if one.identity in self._held or self._is_held(one))

    def _is_held(self, instance: Instance) -> bool:
        """Whether it is still this installation's; that of an adopted one is written down anew, where it was lost."""
        identity = instance.identity
        if identity is None:
            return False
        if not (self.hold(instance) if instance.adopted else self._holdings.other(identity) is None):
            return False
        self._held.add(identity)
        return True

    def hold(self, instance: Instance) -> bool:
        """Have the process of one that is to be adopted; False when another installation has it by now."""
        return instance.identity is None or self._holdings.hold(instance.identity, instance.server)

    def _is_taken(self, identity: Identity) -> bool:
        return self._holdings.other(identity) is not None

    def holder(self, identity: Identity) -> Holder | None:
        """The other installation that has taken this process over."""
        return self._holdings.other(identity)

    @property
    def bystanders(self) -> Mapping[Identity, Process]:
        """Processes that bear our mark, but are somebody's in a terminal: they are left alone."""
        return self._processes.bystanders

    @property
    def polls(self) -> bool:
        """Whether ends are only seen by looking."""
        return self._host.polls

    def forget_ended(self, open_uids: AbstractSet[str]) -> None:
        """Drop processes that have ended, but for those whose rows are still open."""
        self._processes.forget_ended(open_uids)
        if len(self._held) > MOST_HELD:
            self._held.intersection_update(process.identity for process in self._processes)

    # -- act

    def start(self, instance: Instance, launch: Launch) -> Identity:
        """Spawn an instance; its mark travels in the environment.

        Raises OSError or ValueError when it cannot be executed, and ResourceError when there is no room for it.
        """
        if self._processes.unseen is not None:
            raise self._processes.unseen
        marks = {
            INSTALLATION: self.installation,
            FOLDER: self._folder,
            SERVER: instance.server,
            UID: instance.uid,
            FINGERPRINT: instance.fingerprint,
            PORT: str(instance.port),
            STEP: step_mark(instance.step, hides_gpus=instance.hides_gpus),
            CHANGES: changes_mark(instance.step_told, instance.changes),
        }
        popen = self._spawn(instance, launch, marks)
        identity = self._identify(popen)
        process = Process(
            uid=instance.uid,
            server=instance.server,
            identity=identity,
            leader=True,
            alive=True,
            fingerprint=instance.fingerprint,
            port=instance.port,
            step=instance.step,
            step_told=instance.step_told,
            changes=instance.changes,
            hides_gpus=instance.hides_gpus,
        )
        self._processes.add(process, popen)
        return identity

    def _spawn(self, instance: Instance, launch: Launch, marks: Mapping[str, str]) -> Child:
        log = self._logs.open(instance.server, instance.uid)
        try:
            return spawn(launch.argv, {**launch.environment, **marks}, log, self._bounds)
        finally:
            os.close(log)

    def _identify(self, popen: Child) -> Identity:
        """Who a child is, also when it has ended by now. One that cannot be told apart from others is not kept."""
        try:
            identity = self._host.identify(popen.pid, ended=True)
        except ResourceError:
            os.killpg(popen.pid, signal.SIGKILL)
            popen.wait()
            raise
        return identity or Identity(self.boot, popen.pid, 0)

    def terminate(self, identity: Identity) -> None:
        """Send SIGTERM."""
        self._processes.signal(identity, signal.SIGTERM)

    def kill(self, identity: Identity) -> None:
        """Send SIGKILL."""
        self._processes.signal(identity, signal.SIGKILL)

    # -- ask

    def identify(self, pid: int) -> Identity | None:
        """The identity of any live process."""
        return self._host.identify(pid)

    def listeners(self, resolve: frozenset[int]) -> tuple[Listener, ...]:
        """Listening sockets; owners are looked up for the ports in `resolve`."""
        return tuple(self._owned(listener, resolve) for listener in self._host.listeners(resolve))

    def _owned(self, listener: Listener, resolve: frozenset[int]) -> Listener:
        """Our own processes are known where the host cannot tell whose a socket is."""
        if listener.pid is not None or listener.port not in resolve:
            return listener
        for process in self._processes:
            pid = process.identity.pid
            if (
                process.alive
                and process.port == listener.port
                and self._host.listens(pid, listener.address, process.port) is not False
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

    def log_appended(self, server: str, uid: str, offset: int | None) -> tuple[str, int]:
        """What was written into an instance's log since, and where to go on; None: from what is there by now."""
        return self._logs.appended(server, uid, offset)

    def uses_devices(self, pid: int) -> bool | None:
        """Whether a process has a device of the machine open that may compute; None when it cannot be told."""
        return self._host.uses_devices(pid)

    def trim_logs(self, known: frozenset[str] = frozenset()) -> None:
        """Keep the log files within their bounds; servers that are not `known` are gone."""
        self._logs.trim(frozenset(process.uid for process in self._processes), known)

    def close(self) -> None:
        """Let go of all processes; they run on."""
        self._processes.close()
