"""How soon a new process is there: after a crash, and after a manifest was renamed into place."""

import os
import time
from itertools import cycle, islice
from pathlib import Path

from benchmarks.fleet import Options, kill, names, open_pids, ready_again, running, wait_until
from benchmarks.result import Result, Row
from benchmarks.starts import Starts, sleep_a_little, watched
from tests.e2e.installation import Installation, document

CRASH_TARGET_MS = 5.0
MANIFEST_TARGET_MS = 120.0
KILLS_A_ROUND = 12
MANIFESTS_A_ROUND = 4
SYNCS = 200
MEMORY = Path("/dev/shm")
RESTART = {"initialBackoff": "0s", "maxRestarts": 1_000_000}


def crash_respawn(options: Options) -> Result:
    """Kill one at a time, over all servers; the target is for the disk, where a commit is durable."""
    folders = [("on disk", options.scratch)] + ([("in memory", MEMORY)] if os.access(MEMORY, os.W_OK) else [])
    rows, kills = [], options.rounds * KILLS_A_ROUND
    with watched(options) as starts:
        for place, folder in folders:
            with running(options, folder=folder, llama_server=starts.llama_server, restart=RESTART) as made:
                victims = islice(cycle(names(options.servers)), kills)
                samples = tuple(respawn_ms(made, starts, name) for name in victims)
            target = CRASH_TARGET_MS if folder == options.scratch else None
            rows.append(Row(f"SIGKILL to new process, {options.servers} servers, state {place}", "ms", samples, target))
            rows.append(Row(f"one fdatasync of 4 KiB {place}", "ms", _sync_ms(folder)))
    return Result("crash-respawn", tuple(rows), f"The start is {starts.way}.")


def respawn_ms(made: Installation, starts: Starts, name: str) -> float:
    """Kill a server; the time until the launcher of its next process began."""
    pid = open_pids(made)[name]
    sleep_a_little()
    starts.arm(made)
    killed = kill(made, name, pid)
    began = starts.next(made, name)
    wait_until(f"{name} Ready again", made, lambda: ready_again(made, name, pid))
    return (began - killed) * 1000


def _sync_ms(folder: Path) -> tuple[float, ...]:
    """What the disk itself takes for a commit that is to last."""
    path = folder / f"sync-{os.getpid()}"
    samples = []
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(SYNCS):
            os.write(fd, b"x" * 4096)
            began = time.perf_counter()
            os.fdatasync(fd)
            samples.append((time.perf_counter() - began) * 1000)
    finally:
        os.close(fd)
        path.unlink()
    return tuple(samples)


def manifest_to_process(options: Options) -> Result:
    """Add servers one by one to those that run."""
    count = options.rounds * MANIFESTS_A_ROUND
    with watched(options) as starts, running(options, llama_server=starts.llama_server) as made:
        samples = tuple(_added_ms(made, starts, f"added-{number:03}") for number in range(count))
    row = Row(f"rename into place to new process, beside {options.servers} servers", "ms", samples, MANIFEST_TARGET_MS)
    return Result("manifest-to-process", (row,), f"The start is {starts.way}.")


def _added_ms(made: Installation, starts: Starts, name: str) -> float:
    path = made.manifests / f"{name}.yaml"
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(document(name))
    sleep_a_little()
    starts.arm(made)
    renamed = time.monotonic()
    draft.replace(path)
    began = starts.next(made, name)
    wait_until(f"{name} Ready", made, lambda: ready_again(made, name, 0))
    return (began - renamed) * 1000
