"""Hundreds of servers: hung loaders beside one that crashes, and a crash of all at once."""

import json
import os
import select
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil

from benchmarks.fleet import count_ready, kill, names, open_pids, ready_again, wait_until
from chaos.scenario import Options, Outcome
from tests.e2e.hung_loader import write_hung_loader
from tests.e2e.installation import Installation, installed

HUNG, KILLS, LOADS = 100, 20, 4
MIB = 1024 * 1024
MIB_EACH = 24
"""What a server with the tiny model takes."""
SOON = 1.0
"""Seconds in which a crashed server has a new process, and in which the controller answers, whatever else goes on."""
LONG = 600.0
"""Seconds until it gives up on hundreds."""
ASK_EACH = 0.1
Figures = dict[str, int | float | str]


def play(options: Options) -> Outcome:
    """Both parts, one after the other."""
    figures: Figures = {}
    failures: list[str] = []
    for loads in (LOADS, HUNG):
        failures += _beside_hung_loaders(options, loads, figures)
    failures += _all_at_once(options, figures)
    return Outcome(figures, failures)


@contextmanager
def _house(options: Options, name: str) -> Iterator[Installation]:
    """An installation of its own, in which a loader that hangs is allowed."""
    root = options.scratch / name
    root.mkdir()
    with installed(root, options.llama_server, options.model, options.ports) as made:
        config = made.root / "reconciler.toml"
        config.write_text(f'binaries = ["{write_hung_loader(root)}"]\n{config.read_text()}')
        yield made


def _beside_hung_loaders(options: Options, loads: int, figures: Figures) -> list[str]:
    """A Ready server is killed again and again, while loaders that never get ready have all slots."""
    with _house(options, f"hung-{loads}") as made:
        made.declare("well", restart={"initialBackoff": "0s", "maxRestarts": 1_000_000})
        made.start(RECONCILER_LOADS=str(loads))
        made.wait_ready("well")
        for name in names(HUNG):
            made.declare(name, binary=str(made.root / "hung-llama-server"))
        starting = "select count(*) from servers where phase = 'Starting'"
        wait_until("loaders in all slots", made, lambda: made.query(starting)[0][0] == loads)
        took = []
        for _ in range(KILLS):
            pid = open_pids(made)["well"]
            killed = kill(made, "well", pid)
            began = wait_until("another process", made, lambda pid=pid: open_pids(made).get("well", pid) != pid)  # type: ignore[misc]
            took.append((began - killed) * 1000)
            wait_until("well Ready again", made, lambda pid=pid: ready_again(made, "well", pid))  # type: ignore[misc]
    what = f"crash to new process beside {loads} hung loaders of {HUNG}, ms"
    figures[what] = f"{statistics.median(took):.1f} (most {max(took):.1f}, {KILLS} kills)"
    if max(took) > SOON * 1000:
        return [f"{HUNG} hung loaders keep no crashed server from restarting; it took {max(took):.0f} ms"]
    return []


def _all_at_once(options: Options, figures: Figures) -> list[str]:
    """As many servers as asked for and as fit into memory: all are killed, and all come back."""
    fits = int(psutil.virtual_memory().available / MIB * 0.7 / MIB_EACH)
    all_names = names(min(options.servers, fits))
    with _house(options, "many") as made:
        for name in all_names:
            made.declare(name)
        began = time.monotonic()
        made.start(RECONCILER_LOADS=str(LOADS))
        made.wait_for("all Ready", lambda: count_ready(made) == len(all_names), LONG)
        ready = time.monotonic()
        options.tell(f"{len(all_names)} servers Ready after {ready - began:.1f} s")
        before = open_pids(made)
        with _asking(made) as waits:
            killed = _kill_all(before)
            most = _until_back(made, len(all_names))
            back = time.monotonic()
        after = made.wait_ready(*all_names, patience=LONG)
        failures = _lost(made, before, after)
        assert made.controller is not None
        memory = psutil.Process(made.controller.pid).memory_info().rss / MIB
    what = f"{len(all_names)} servers"
    figures[f"{what}: from nothing to all Ready, s"] = round(ready - began, 1)
    figures[f"{what}: from a crash of all to all Ready, s"] = round(back - killed, 1)
    figures[f"{what}: most that loaded at a time, of {LOADS} that may"] = most
    figures[f"{what}: the controller's answers meanwhile, ms"] = _told(waits)
    figures[f"{what}: RSS of the controller, MiB"] = round(memory, 1)
    if most > LOADS:
        failures.append(f"at most {LOADS} servers load at a time; {most} did")
    if max(waits) > SOON:
        failures.append(f"the controller answers within {SOON:g} s; it took {max(waits):.2f} s")
    return failures


def _kill_all(pids: dict[str, int]) -> float:
    """SIGKILL to all within milliseconds, once all are known to be ours; the time of it."""
    fds = [os.pidfd_open(pid) for pid in pids.values()]
    assert all(psutil.Process(pid).environ()["RECONCILER_SERVER"] == name for name, pid in pids.items())
    at = time.monotonic()
    for fd in fds:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
    for fd in fds:
        select.select([fd], [], [])
        os.close(fd)
    return at


def _until_back(made: Installation, count: int) -> int:
    """Wait until each server has ended and is Ready again; the most that loaded at a time."""
    most = 0

    def is_back() -> bool:
        nonlocal most
        ((ended, loading, ready),) = made.query(
            "select count(*) filter (where ended_at is not null),"
            " count(*) filter (where ended_at is null and ready_at is null),"
            " count(*) filter (where ended_at is null and ready_at is not null) from instances"
        )
        most = max(most, loading)
        return bool(ended == count and ready == count)

    made.wait_for("all Ready again", is_back, LONG)
    return most


def _lost(made: Installation, before: dict[str, int], after: dict[str, int]) -> list[str]:
    """What is not as it must be, once all are back."""
    failures = []
    if kept := [name for name, pid in before.items() if after.get(name) == pid]:
        failures.append(f"each killed server has another process; not so: {kept}")
    rows = made.query("select server, row from instances where ended_at is not null")
    exits = {server: (json.loads(row)["exit"] or {}).get("signal") for server, row in rows}
    if len(rows) != len(before) or exits != dict.fromkeys(before, signal.SIGKILL):
        failures.append(f"each end has one row with its signal; there are {len(rows)} rows for {len(before)} ends")
    wrong = made.query("select name, restarts from servers where restarts <> 1 or phase <> 'Ready'")
    if wrong:
        failures.append(f"each server was restarted once and is Ready; not so: {wrong}")
    return failures


@contextmanager
def _asking(made: Installation) -> Iterator[list[float]]:
    """Somebody who asks the controller all the time; the seconds that each answer took."""
    waits: list[float] = []
    done = threading.Event()

    def ask() -> None:
        transport = httpx.HTTPTransport(uds=str(made.state / "controller.sock"))
        with httpx.Client(transport=transport, base_url="http://controller", timeout=30) as client:
            while not done.wait(ASK_EACH):
                began = time.monotonic()
                client.get("/healthz").raise_for_status()
                waits.append(time.monotonic() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield waits
    finally:
        done.set()
        thread.join()


def _told(waits: list[float]) -> str:
    return f"{statistics.median(waits) * 1000:.1f} (most {max(waits) * 1000:.0f}, {len(waits)} asked)"
