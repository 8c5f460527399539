"""The CPU time of a pass that changes nothing.

The folder, the database, the loop and the processes are real (`sleep`, marked as servers are); only the health is
said to be good instead of being asked for.
"""

import asyncio
import logging
import os
import resource
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from benchmarks.fleet import Options, names, wait_for_ends
from benchmarks.result import Result, Row
from reconciler.controller import loop as loop_module
from reconciler.controller import prober
from reconciler.controller.launching import Launcher
from reconciler.controller.loop import Loop
from reconciler.controller.manifests import Manifests
from reconciler.controller.preview import check_spec
from reconciler.controller.target import Target
from reconciler.core.model import Health, HealthState, Phase
from reconciler.core.plan import plan
from reconciler.core.spec import ServerSpec
from reconciler.engines import engine_of
from reconciler.manifests.folder import Folder
from reconciler.runtimes.host import FINGERPRINT, INSTALLATION, PORT, SERVER, UID, choose_host
from reconciler.runtimes.local import LocalRuntime
from reconciler.runtimes.logs import Logs
from reconciler.settings import Settings
from reconciler.store.writer import Store
from tests.e2e.installation import SMALL, document

TARGET_MS = 25.0
PASSES = 50
TIMES = 10
"""So many times the servers of the other benchmarks."""
WELL = Health(HealthState.OK, verified=True)


class _WellWatch:
    """A watch that asks nobody."""

    def __init__(self, target: Target, *_: object) -> None:
        self.target = target
        self.health = WELL

    def known(self) -> Health:
        return self.health

    def heard(self) -> None:
        """Nothing is told by its log."""

    def stop(self) -> None:
        pass

    def retarget(self, target: Target) -> None:
        self.target = target


def idle_pass(options: Options) -> Result:
    """Passes over servers that are all as declared, and what their parts take."""
    count = options.servers * TIMES
    _allow_files(count + 200)
    with (
        TemporaryDirectory(dir=options.scratch, prefix="pass-") as folder,
        patch.object(prober, "Watch", _WellWatch),
        _failing_with_a_pass(),
    ):
        rows = asyncio.run(_measure(Path(folder), count))
    return Result("idle-pass", rows, f"{count} marked processes that sleep stand for the servers.")


class _Failures(logging.Handler):
    """What the loop tells of passes that failed, for it goes on after each."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.told.append(f"{record.getMessage()}: {error!r}" if error else record.getMessage())


@contextmanager
def _failing_with_a_pass() -> Iterator[None]:
    """What a failed pass takes is no measure of one that does its work."""
    failures = _Failures()
    loop_module.log.addHandler(failures)
    try:
        yield
    finally:
        loop_module.log.removeHandler(failures)
    if failures.told:
        raise RuntimeError(f"{len(failures.told)} passes failed; the first: {failures.told[0]}")


async def _measure(root: Path, count: int) -> tuple[Row, ...]:
    loop = _make_loop(root, count)
    with _sleepers(loop.store.installation, count):
        try:
            await _come_to_rest(loop, count)
            whole = await _cpu_ms(loop.run_pass)
            fresh = await _cpu_ms(lambda: _fresh_pass(loop))
            return (
                Row(f"a pass that changes nothing, {count} servers: CPU", "ms", whole, TARGET_MS),
                *[Row(f"of it, {part}", "ms", await _cpu_ms(work)) for part, work in _parts(loop).items()],
                Row("the same when the tick looks at every process", "ms", fresh),
            )
        finally:
            loop.close()
            loop.store.close()


def _make_loop(root: Path, count: int) -> Loop:
    manifests, state = root / "manifests", root / "state"
    manifests.mkdir()
    state.mkdir()
    for name in names(count):
        path = manifests / f"{name}.yaml"
        path.write_text(document(name))
        os.utime(path, (0, 0))
    settings = Settings(manifests=str(manifests), state=str(state), models=str(root), llama_server="/bin/false")
    store = Store(state)
    runtime = LocalRuntime(choose_host(), store.installation, Logs(state / "logs", keep=1, most_bytes=1), lambda: None)
    sources = Manifests(manifests, Folder(manifests, check_spec), store.documents.values)
    return Loop(store, runtime, sources, Launcher(settings, {}), settings)


@contextmanager
def _sleepers(installation: str, count: int) -> Iterator[None]:
    spec = ServerSpec.model_validate({"model": "tiny.gguf", **SMALL})
    marks = {INSTALLATION: installation, FINGERPRINT: engine_of(spec).fingerprint(spec)}
    processes = []
    try:
        for number, name in enumerate(names(count)):
            own = {**marks, SERVER: name, UID: f"uid-{name}", PORT: str(10000 + number)}
            # The port is on the command line, as on a server's: without it no bearer of the mark is taken for one.
            command = ["sleep", "600", str(10000 + number)]
            processes.append(subprocess.Popen(command, env=own, start_new_session=True))
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
        wait_for_ends(process.pid for process in processes)
        for process in processes:
            process.wait()


async def _come_to_rest(loop: Loop, count: int) -> None:
    """Adopt all; then nothing is left to do."""
    ready = 0
    for _ in range(20):
        await loop.run_pass()
        records = loop.store.history().servers.values()
        ready = sum(record.status is not None and record.status.phase is Phase.READY for record in records)
        if ready == count:
            break
    assert ready == count, f"{ready} of {count} are Ready"
    await loop.run_pass()
    observer, desired, history, requests = loop._observer, loop._desired, loop.store.history(), loop.store.requests()
    observed = observer.observe(desired, history, requests, loop.now(), fresh=True)
    decided = plan(desired, observed, history, requests, loop.now())
    assert not decided.actions, f"a pass was to change nothing, but: {decided.actions[:3]}"


def _parts(loop: Loop) -> dict[str, Callable[[], Awaitable[None]]]:
    history, requests, now, desired = loop.store.history(), loop.store.requests(), loop.now(), loop._desired
    observed = loop._observer.observe(desired, history, requests, now, fresh=False)

    async def look() -> None:
        loop.look()

    async def observe() -> None:
        loop._observer.observe(desired, history, requests, now, fresh=False)

    async def probe() -> None:
        loop._observer.probe(desired, history, observed)

    async def decide() -> None:
        plan(desired, observed, history, requests, now)

    return {"a look at the folder": look, "observing": observe, "keeping the probes": probe, "planning": decide}


async def _fresh_pass(loop: Loop) -> None:
    loop.poke(fresh=True)
    await loop.run_pass()


async def _cpu_ms(work: Callable[[], Awaitable[None]]) -> tuple[float, ...]:
    samples = []
    for _ in range(PASSES):
        began = time.process_time()
        await work()
        samples.append((time.process_time() - began) * 1000)
    return tuple(samples)


def _allow_files(count: int) -> None:
    """A pidfd for each process is more than a shell's usual 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
