"""An installation whose controllers may be killed at any moment, and what must hold in it afterwards."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import psutil

from chaos.forking import Forker
from chaos.fuse import LEDGER, TRACE, Fuse
from chaos.ledger import Ledger
from tests.e2e.installation import Installation

PROMPT = {"initialBackoff": "20ms", "maxBackoff": "100ms", "maxRestarts": 100000}
"""A restart policy that makes a long game short."""
GRACE = {"gracePeriod": "1s"}
"""Where a controller died between the decision to send SIGTERM and its sending, the grace runs all the same."""


class House(Installation):
    """An installation that keeps a ledger of what really happened: spawns by the servers, signals by their senders."""

    def __init__(self, root: Path, llama_server: str, model: Path, ports: range, forker: Forker) -> None:
        root.mkdir(exist_ok=True)
        super().__init__(root, llama_server, model, ports)
        self._forker = forker
        self.fuse_path = root / "fuse"
        self.fuse = Fuse(self.fuse_path)
        self.ledger = Ledger(self.fuse_path.with_suffix(LEDGER))
        self.by_hand: dict[str, subprocess.Popen[bytes]] = {}
        """By the server that each is, or will be, declared as."""
        self.environ["LLAMA_SERVER"] = str(self.ledger.write_server(root, llama_server))
        with (root / "reconciler.toml").open("a") as settings:
            settings.write("[history]\ninstances = 100000\n")

    def declare(self, name: str, file: str = "", *, labels: dict[str, str] | None = None, **spec: Any) -> Path:
        """Write a manifest whose server is restarted and ended promptly."""
        return super().declare(name, file, labels=labels, **{"restart": PROMPT, "stop": GRACE, **spec})

    def start(self, *arguments: str, **environ: str) -> None:
        """Run the controller in the background; at once when one runs already."""
        log = self.root / "controller-1.log"
        forked = self._forker.run(["run", *arguments], self.root, {**self.environ, **environ}, log, self.fuse_path)
        self.controller = cast("subprocess.Popen[bytes]", forked)

    @property
    def runs(self) -> bool:
        """Whether the controller runs."""
        return self.controller is not None and self.controller.poll() is None

    def run_by_hand(self, name: str, port: int, ctx: int) -> None:
        """Somebody starts what is, or will be, declared as this server, from the models' folder; no mark tells that."""
        if name in self.by_hand:
            self.by_hand[name].wait(10)
        command = [self.environ["LLAMA_SERVER"], "-m", "tiny.gguf", "-c", str(ctx), "-np", "1", "-t", "1"]
        with (self.root / "by-hand.log").open("ab") as log:
            self.by_hand[name] = subprocess.Popen(
                [*command, "--no-warmup", "--port", str(port)],
                cwd=self.models,
                env={**self.environ, "BY_HAND": name},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self.wait_for(f"{name}, run by hand, to listen", lambda: _is_open(port))

    def pids(self) -> dict[str, int]:
        """Those with our mark, and those by hand, which have none."""
        found = super().pids()
        by_hand = {name: child.pid for name, child in self.by_hand.items() if child.poll() is None}
        assert not found.keys() & by_hand.keys(), f"no double: by hand {by_hand}, spawned {found}"
        return {**found, **by_hand}

    def kill_controller(self, number: int = signal.SIGKILL) -> None:
        """Signal it, and wait for its end."""
        if self.controller is not None:
            self.controller.send_signal(number)
            self.controller.wait(30)
            self.controller = None

    def hang_up(self) -> None:
        """SIGHUP, which means: look again."""
        if self.controller is not None:
            self.controller.send_signal(signal.SIGHUP)

    def ask_for(self, kind: str, *servers: str) -> bool:
        """Ask the controller for something, as the commands do; False when it refused, or went away over it."""
        body = json.dumps({"kind": kind, "servers": list(servers)})
        with suppress(OSError, http.client.HTTPException), closing(_Unix(self.state / "controller.sock")) as client:
            client.request("POST", "/requests", body)
            return client.getresponse().status == 200
        return False

    def trace(self) -> list[str]:
        """The boundaries that were passed while the fuse was armed, oldest first."""
        return self.fuse_path.with_suffix(TRACE).read_text().splitlines()

    def crash(self, pid: int) -> None:
        """End a server as a fault of its own would."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def spawns(self) -> int:
        """How often servers were started."""
        return len(self.ledger.lines("spawn"))

    # -- what must hold

    def faults(self, wanted: Sequence[str], kept: Mapping[str, int]) -> list[str]:
        """Broken promises, once all has converged; `kept`: servers that had no reason to be restarted, with pids."""
        found, pids = [], self.pids()
        if set(pids) != set(wanted):
            found.append(f"one live instance per wanted server: {sorted(wanted)} are wanted, {pids} run")
        found += [f"no needless restart: {n} was {p}, is {pids.get(n)}" for n, p in kept.items() if pids.get(n) != p]
        orphans = {process.pid for process in self.processes()} - set(pids.values())
        if orphans:
            found.append(f"no orphan: {sorted(orphans)}")
        return found + self.ledger.faults() + self._lost_rows(pids) + self._taken_over()

    def _taken_over(self) -> list[str]:
        """Whoever was started by hand has one row, which says so."""
        rows = self.query("select row from instances where row ->> 'adopted'")
        identities = [json.loads(row)["identity"] for (row,) in rows]
        taken = Counter((str(one["pid"]), str(one["start_ticks"])) for one in identities)
        return [
            f"taken over once: {name}, started by hand as pid {pid}, has {taken[pid, ticks]} rows"
            for name, pid, ticks in self.ledger.lines("hand")
            if taken[pid, ticks] != 1
        ]

    def _lost_rows(self, pids: Mapping[str, int]) -> list[str]:
        """`NotStarted` is right too for one that ended unseen before anybody could note its pid."""
        rows = self.query("select uid, server, pid, ended_at, row ->> 'diagnosis' from instances")
        known = {uid: (server, pid, ended, diagnosis) for uid, server, pid, ended, diagnosis in rows}
        found = []
        for uid, name, pid in self.ledger.lines("spawn"):
            if uid not in known:
                found.append(f"no lost history row: instance {uid} of {name} (pid {pid}) has none")
            elif known[uid][3] == "SpawnFailed":
                found.append(f"no wrong history row: {uid} of {name} ran as pid {pid}, its row says SpawnFailed")
        opened = {server: pid for server, pid, ended, _ in known.values() if ended is None}
        if opened != dict(pids):
            found.append(f"each end has its row: open are {opened}, alive are {dict(pids)}")
        return found

    # -- waiting

    def wait_converged(self, *names: str, patience: float = 30.0) -> None:
        """Wait until exactly these are Ready and what is recorded as running runs."""

        def converged() -> bool:
            phases = self.phases()
            ready = {name for name, phase in phases.items() if phase == "Ready"}
            resting = {name for name, phase in phases.items() if phase == "Stopped"}
            opened = dict(self.query("select server, pid from instances where ended_at is null"))
            alive = all(pid is not None and psutil.pid_exists(pid) for pid in opened.values())
            return ready == set(names) == set(opened) and ready | resting == set(phases) and alive

        self.wait_for(f"{', '.join(names)} Ready, and nothing else", converged, patience)

    def rest(self, seconds: float = 0.15) -> None:
        """Wait until the controller has passed no boundary for a while, or is gone."""
        passed, since = self.fuse.passed, time.monotonic()
        while self.runs and time.monotonic() < since + seconds:
            time.sleep(0.01)
            if self.fuse.passed != passed:
                passed, since = self.fuse.passed, time.monotonic()


def _is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class _Unix(http.client.HTTPConnection):
    """HTTP over the controller's socket; httpx leaves its own open where nobody listens."""

    def __init__(self, path: Path) -> None:
        super().__init__("controller", timeout=30)
        self._path = path

    def connect(self) -> None:
        """Raises OSError when no controller listens."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


@contextmanager
def housed(root: Path, llama_server: str, model: Path, ports: range, forker: Forker) -> Iterator[House]:
    """An installation that leaves nothing running; no controller of it may have shown a traceback."""
    house = House(root, llama_server, model, ports, forker)
    try:
        try:
            yield house
        except Exception as error:
            # Notes are shown with the traceback.
            error.add_note(f"pids: {house.pids()}; the controller's log ends:\n{house.log()[-4000:]}")
            raise
        log = house.log()
        assert "Traceback" not in log, log[max(0, log.index("Traceback") - 500) :][:4000]
    finally:
        with suppress(TimeoutError):
            house.kill_controller()
        house.close()
        for child in house.by_hand.values():
            child.kill()
            child.wait()
        # What was spawned and lost by all: its mark names an installation that no database knows any more.
        for uid, _, pid in house.ledger.lines("spawn"):
            _end(int(pid), uid)


def _end(pid: int, uid: str) -> None:
    with suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        if process.environ().get("RECONCILER_UID") == uid:
            process.kill()
