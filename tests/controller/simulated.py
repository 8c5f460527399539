"""The real store, loop, executor and runtime over a simulated machine; the controller dies at any boundary.

A boundary is a moment before or after a step that touches the outside: a commit, a spawn, a signal, a file. Processes
are in memory, the database is on disk: what a controller's death leaves behind is what it would leave in earnest.
"""
# ruff: noqa: ARG002 - what stands in for the host takes what the host takes

import os
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from chaos.boundaries import Boundaries
from reconciler.controller.launching import Launcher
from reconciler.controller.live_logs import Heard
from reconciler.controller.loop import Loop
from reconciler.controller.target import Target
from reconciler.core.history import Instance
from reconciler.core.model import Document, Exit, Health, HealthState, Identity, Now
from reconciler.core.observed import Listener, Stranger
from reconciler.manifests.folder import Look
from reconciler.runtimes.host import FINGERPRINT, PORT, SERVER, UID, Host, Marked
from reconciler.runtimes.local import LocalRuntime
from reconciler.runtimes.logs import Logs
from reconciler.runtimes.strangers import Seen
from reconciler.settings import Settings
from reconciler.store.rows import INSTANCE
from reconciler.store.writer import Store
from tests.core.worlds import NOW, ControllerDied, Simulated, document_of, health_of

if TYPE_CHECKING:
    from reconciler.controller.manifests import Manifests
    from reconciler.controller.strangers import Strangers

FIRST_PID = 5_000_000
"""Above every real one: looking for it finds nothing."""
MOST_LOOKS = 200


@dataclass
class Machine(Boundaries):
    """What outlives controllers: processes, manifests, the state folder."""

    folder: Path
    now: Now = NOW
    declared: dict[str, Document] = field(default_factory=dict)
    look: Look = field(default_factory=Look)
    processes: list[Simulated] = field(default_factory=list)
    spawned: list[str] = field(default_factory=list)
    """Uids."""
    by_hand: dict[int, Seen] = field(default_factory=dict)
    """What can be seen of the processes that somebody else started, by pid. They bear no mark."""
    terms: Counter[Identity] = field(default_factory=Counter)
    left: int | None = None
    """Boundaries until the controller dies; None: they are not counted."""
    passed: list[str] = field(default_factory=list)
    """The boundaries that were counted."""
    died_at: list[str] = field(default_factory=list)
    connections: list[sqlite3.Connection] = field(default_factory=list)
    deaf: bool = False
    """New processes ignore SIGTERM."""

    def cross(self, name: str) -> None:
        """A boundary; the controller dies here if it is the one."""
        if self.left is None:
            return
        self.left -= 1
        self.passed.append(name)
        if self.left == 0:
            self.left = None
            self.died_at.append(name)
            raise ControllerDied(name)

    # -- manifests

    def declare(self, *names: str, **spec: Any) -> None:
        for name in names:
            prompt: dict[str, Any] = {"restart": {"initialBackoff": "10ms"}, "stop": {"gracePeriod": "1s"}}
            self.declared[name] = document_of(name, **{"model": "a.gguf", **prompt, **spec})
        self.look = Look(tuple(self.declared.values()))

    def remove(self, *names: str) -> None:
        for name in names:
            del self.declared[name]
        self.look = Look(tuple(self.declared.values()))

    # -- processes

    def alive(self) -> dict[str, Identity]:
        """Processes by server; two of one server are an error."""
        found = Counter(process.server for process in self.processes if process.alive)
        assert not [name for name, count in found.items() if count > 1], f"no double: {self.processes}"
        return {process.server: process.identity for process in self.processes if process.alive}

    def run_by_hand(self, server: str, port: int, ctx: int) -> None:
        """Somebody starts what is, or will be, declared as this server. Only the test knows that it is the same."""
        pid = FIRST_PID - 1 - len(self.by_hand)
        process = Simulated("", server, Identity(self.now.boot, pid, round(self.now.monotonic * 100)), port=port)
        process.ready_at, process.obeys = self.now.monotonic, not self.deaf
        self.processes.append(process)
        command = ("llama-server", "-m", f"{self.folder}/a.gguf", "-c", str(ctx), "--port", str(port))
        self.by_hand[pid] = Seen(command[0], argv=command, cwd="/", user="anna", is_same_user=True)

    def spawn(self, environment: Mapping[str, str]) -> "Child":
        self.cross("before spawn")
        server, uid = environment[SERVER], environment[UID]
        assert not [p for p in self.processes if p.alive and p.server == server], f"a second {server}"
        process = Simulated(uid, server, self._identity(), environment[FINGERPRINT], int(environment[PORT]))
        process.ready_at, process.obeys = self.now.monotonic + 0.1, not self.deaf
        self.processes.append(process)
        self.spawned.append(uid)
        self.cross("after spawn")
        return Child(process)

    def _identity(self) -> Identity:
        return Identity(self.now.boot, FIRST_PID + len(self.spawned), round(self.now.monotonic * 100))

    def signal(self, process: Simulated, number: int) -> None:
        if not process.alive:
            return
        name = "SIGKILL" if number == 9 else "SIGTERM"
        self.cross(f"before {name}")
        if name == "SIGTERM":
            self.terms[process.identity] += 1
        if name == "SIGKILL" or process.obeys:
            process.end(Exit(signal=9) if name == "SIGKILL" else Exit(code=0))
        self.cross(f"after {name}")

    def advance(self, seconds: float) -> None:
        self.now = replace(self.now, monotonic=self.now.monotonic + seconds, wall=self.now.wall + seconds)

    # -- the database

    def rows(self) -> list[Instance]:
        """All instances, as they are on disk."""
        with sqlite3.connect(f"file:{self.folder}/state.db?mode=ro", uri=True) as connection:
            found = [INSTANCE.validate_json(row) for (row,) in connection.execute("select row from instances")]
        connection.close()
        return found

    def saved(self) -> Callable[[], None]:
        """Brings back what is now. No controller may run."""
        kept = deepcopy((self.now, self.declared, self.processes, self.spawned, self.by_hand, self.terms))
        copy = self.folder.with_name(f"{self.folder.name}.kept")
        shutil.copytree(self.folder, copy)

        def restore() -> None:
            shutil.rmtree(self.folder)
            shutil.copytree(copy, self.folder)
            self.now, self.declared, self.processes, self.spawned, self.by_hand, self.terms = deepcopy(kept)
            self.look, self.left = Look(tuple(self.declared.values())), None
            self.passed, self.died_at = [], []

        return restore

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Everything that touches the outside in this process passes this machine's boundaries."""
        self.wrap(monkeypatch.setattr)
        opened = sqlite3.connect

        def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
            self.connections.append(opened(*args, **kwargs))
            return self.connections[-1]

        monkeypatch.setattr(sqlite3, "connect", connect)
        monkeypatch.setattr("reconciler.runtimes.local.spawn", lambda _, environment, *__: self.spawn(environment))
        monkeypatch.setattr("reconciler.controller.loop.Prober", lambda *_: SimulatedProber(self))
        monkeypatch.setattr("reconciler.controller.strangers.look_at", self.by_hand_seen)
        monkeypatch.setattr("reconciler.runtimes.holding.PLACES", (str(self.folder.parent),))
        monkeypatch.setattr("reconciler.controller.strangers.Strangers._ask", answer_at_once)

    def by_hand_seen(self, pid: int) -> Seen | None:
        """As the runtime tells it of a stranger."""
        return self.by_hand.get(pid)


def answer_at_once(strangers: "Strangers", stranger: Stranger) -> None:
    """Asking takes an event loop; who is asked for the first time answers before the next look."""
    if stranger.answers is None:
        strangers._met[stranger.identity, stranger.port] = replace(stranger, answers=True)
        strangers._on_change()


@dataclass
class Child:
    """What is left of Popen."""

    process: Simulated
    returncode: int | None = None

    @property
    def pid(self) -> int:
        return self.process.identity.pid

    def poll(self) -> int | None:
        exit_ = self.process.exit
        if exit_ is None:
            return None
        return exit_.code if exit_.signal is None else -exit_.signal


@dataclass
class SimulatedWatch:
    """A process held by its identity."""

    machine: Machine
    process: Simulated

    def has_ended(self) -> bool:
        return not self.process.alive

    def exit(self) -> Exit | None:
        return Exit()

    def signal(self, number: int) -> None:
        self.machine.signal(self.process, number)

    def close(self) -> None:
        pass


class SimulatedHost:
    """What the kernel tells of the machine."""

    polls = False

    def __init__(self, machine: Machine) -> None:
        self.boot = machine.now.boot
        self._machine = machine

    def _alive(self) -> Iterable[Simulated]:
        return (process for process in self._machine.processes if process.alive)

    def identify(self, pid: int, *, ended: bool = False) -> Identity | None:
        found = self._machine.processes if ended else self._alive()
        return next((process.identity for process in found if process.identity.pid == pid), None)

    def sessions(self) -> Mapping[int, int]:
        return {}

    def marked(self, installation: str, *, fresh: bool) -> list[Marked]:
        return [Marked(p.identity, p.leader, p.server, p.uid, p.fingerprint, p.port) for p in self._alive() if p.uid]

    def watch(self, identity: Identity, on_end: Callable[[], None]) -> SimulatedWatch | None:
        found = (process for process in self._alive() if process.identity == identity)
        return next((SimulatedWatch(self._machine, process) for process in found), None)

    def listeners(self, resolve: frozenset[int] = frozenset()) -> tuple[Listener, ...]:
        return tuple(Listener(p.host, p.port, p.identity.pid, "llama-server", p.uid) for p in self._alive())

    def listens(self, pid: int, host: str, port: int) -> bool | None:
        return True

    def progress(self, pid: int) -> None:
        return None

    def uses_devices(self, pid: int) -> None:
        return None


@dataclass
class SimulatedProber:
    """Hears what processes would answer."""

    machine: Machine
    targets: Mapping[str, Target] = field(default_factory=dict)

    def sync(self, targets: Mapping[str, Target]) -> None:
        self.targets = targets

    def health(self, uid: str) -> Health | None:
        now = self.machine.now.monotonic
        pid = self.targets[uid].pid if uid in self.targets else None
        process = next((p for p in self.machine.processes if p.identity.pid == pid and p.alive), None)
        if process is None:
            return None
        is_ready = now >= process.ready_at
        process.health = health_of() if is_ready else Health(HealthState.LOADING, last_progress=now)
        return process.health

    def heard(self) -> list[Heard]:
        return []

    def close(self) -> None:
        self.targets = {}


class SimulatedLoop(Loop):
    """The loop, but for its clock."""

    machine: Machine
    wake_at: float | None = None

    def now(self) -> Now:
        return self.machine.now

    def _wake_at(self, at: float | None) -> None:
        self.wake_at = at

    def look_once(self) -> bool:
        """One pass; whether it calls for another at once."""
        self._poked.clear()
        self._pass(fresh=True, hasty=False)
        return self._poked.is_set()

    @property
    def is_settled(self) -> bool:
        """Whether all that is declared is Ready and nothing else is remembered, but for what is to rest."""
        servers, rests = self.store.history().servers, {"Stopped", "Ready"}
        phases = {name: record.status.phase for name, record in servers.items() if record.status}
        return set(phases) == set(self.machine.declared) and set(phases.values()) <= rests and not self.unsettled


class Controller:
    """One life of a controller over a machine."""

    def __init__(self, machine: Machine) -> None:
        folder = machine.folder
        settings = Settings(models=str(folder), llama_server=sys.executable, manifests=str(folder), state=str(folder))
        self.machine = machine
        self.store = Store(folder)
        logs = Logs(folder / "logs", keep=1000, most_bytes=1 << 20)
        host = cast("Host", SimulatedHost(machine))
        runtime = LocalRuntime(host, self.store.installation, logs, lambda: None)
        sources = cast("Manifests", _Sources(machine))
        self.loop = SimulatedLoop(self.store, runtime, sources, Launcher(settings, {"PATH": "/bin"}), settings)
        self.loop.machine = machine

    def request(self, kind: str, name: str) -> None:
        """Commit what a person asks for, as the interface does."""
        with self.store.transaction():
            if kind == "start":
                self.store.withdraw("stop", name, self.machine.now)
            else:
                self.store.add_request(kind, name, self.machine.now)

    def converge(self, *, is_done: Callable[[], bool] = lambda: True) -> None:
        """Look, and let time pass until the next look is due, until nothing is left to do."""
        for _ in range(MOST_LOOKS):
            if self.loop.look_once():
                continue
            if self.loop.is_settled and is_done():
                return
            self.machine.advance(0.05)
        raise AssertionError(f"not settled: {self.loop.store.history().servers} {self.machine.processes}")


@dataclass
class _Sources:
    machine: Machine

    def look(self, _: float) -> Look:
        return self.machine.look


def bury(machine: Machine) -> None:
    """What the kernel does to a controller that was killed: its connections are gone, open transactions with them."""
    for connection in machine.connections:
        with suppress(sqlite3.Error):
            connection.close()
    machine.connections.clear()


def model_in(folder: Path) -> Path:
    """A model that has been there for long."""
    model = folder / "a.gguf"
    model.write_bytes(b"GGUF")
    os.utime(model, (0, 0))
    return model
