"""Crash loops, edits and restarts for a long time, and whether anything grows: memory, descriptors, database, logs.

`python -m chaos.soak [--time 30m] [--seed N] [--report FILE]`, or `make soak TIME=30m`.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import psutil

from benchmarks.machine import describe_machine
from chaos.measuring import Quantity, Samples, judge, measure, to_table
from chaos.meddling import LOOPS, SERVERS, TALKER, WORKERS, Meddler
from chaos.scenario import Options, Outcome
from reconciler.core.durations import parse_duration
from reconciler.demo.models import write_model
from reconciler.discovery import find_llama_server
from tests.e2e.installation import Installation, installed

BY_DEFAULT = False
RESULTS = Path(__file__).parent / "results"
SAMPLES = "samples.json"
KEPT, EVENTS, LOGS, TICK = 10, 300, 3, 5
SETTINGS = f"tick = {TICK}\n[logs]\nkeep = {LOGS}\nmax_mib = 1\n[history]\ninstances = {KEPT}\nevents = {EVENTS}\n"
"""Bounds that are reached within minutes: what grows beyond them is seen soon."""
A_TICK = 100
"""Rows that may come between two trimmings."""
LOG_MIB = 1.5 * len(SERVERS) * LOGS
QUANTITIES = (
    Quantity("memory", "MiB", 120, 3),
    Quantity("descriptors", "", 150, 3),
    Quantity("threads", "", 40, 1),
    Quantity("zombies", "", 5, 0.5),
    Quantity("database", "MiB", 16, 1),
    Quantity("logs", "MiB", LOG_MIB + 10),
    Quantity("instances", "rows", len(SERVERS) * KEPT + A_TICK),
    Quantity("events", "rows", EVENTS + A_TICK),
)
BETWEEN_SAMPLES = 2.0
BETWEEN_WORDS = 60.0
PATIENCE = 60.0


def play(options: Options) -> Outcome:
    """Meddle for the time given, sample, and judge what grew."""
    with _beginning(options) as (made, meddler):
        assert made.controller is not None
        controller, began = psutil.Process(made.controller.pid), time.monotonic()
        samples = _go_on(options, meddler)
        took, cpu = time.monotonic() - began, controller.cpu_times()
        failures = [*judge(samples, QUANTITIES), *_after(meddler)]
        starts, ends = (
            sum(f" {word}: " in line for line in made.log().splitlines()) for word in ("Started", "Crashed")
        )
    (options.scratch / SAMPLES).write_text(json.dumps({"times": samples.times, **samples.values}))
    acts = ", ".join(f"{count} x {name.replace('_', ' ')}" for name, count in sorted(meddler.done.items()))
    figures: dict[str, int | float | str] = {
        "time, minutes": round(took / 60, 1),
        "seed": options.seed,
        "what was done": acts,
        "processes started": starts,
        "crashes seen": ends,
        "CPU of the controller, % of a core": round((cpu.user + cpu.system) / took * 100, 1),
        "samples": len(samples.times),
        "slopes judged": "yes" if samples.is_long else "no, that needs 15 minutes",
        "measured": "\n\n" + to_table(samples, QUANTITIES),
    }
    return Outcome(figures, failures)


@contextmanager
def _beginning(options: Options) -> Iterator[tuple[Installation, Meddler]]:
    """A controller whose servers are Ready; nothing of it is left."""
    with installed(options.scratch, options.llama_server, options.model, options.ports) as made:
        config, broken = made.root / "reconciler.toml", made.models / "broken.gguf"
        config.write_text(SETTINGS + config.read_text())
        broken.write_bytes(b"GGUF" + b"\0" * 64)
        os.utime(broken, (0, 0))
        meddler = Meddler(made, options.random())
        for name in (*WORKERS, *LOOPS, TALKER):
            meddler.declare(name)
        made.start()
        made.wait_for("all Ready", lambda: all(made.phases().get(name) == "Ready" for name in WORKERS), PATIENCE)
        yield made, meddler


def _go_on(options: Options, meddler: Meddler) -> Samples:
    """Until the time is over: acts, and samples between them."""
    samples, told, began = Samples(), time.monotonic(), time.monotonic()
    while not options.is_over():
        meddler.act()
        meddler.pause()
        now = time.monotonic()
        if not samples.times or now - samples.times[-1] >= BETWEEN_SAMPLES:
            samples.add(measure(meddler.made))
        if now - told >= BETWEEN_WORDS:
            told = now
            newest = ", ".join(f"{name} {values[-1]:.4g}" for name, values in samples.values.items())
            options.tell(f"{(now - began) / 60:.0f} min: {newest}")
    return samples


def _after(meddler: Meddler) -> list[str]:
    """Once nobody meddles, everything is as declared."""
    meddler.mend()
    try:
        meddler.made.wait_ready(*WORKERS, TALKER, patience=PATIENCE)
    except AssertionError as error:
        return [f"in the end exactly what is declared runs and is Ready; instead: {str(error)[:2000]}"]
    return []


def to_report(machine: str, outcome: Outcome) -> str:
    """What was seen, as it goes into a document."""
    lines = [f"- {what}: {figure}" for what, figure in outcome.figures.items() if what != "measured"]
    failures = [f"- FAILED: {failure}" for failure in outcome.failures] or ["Everything stayed within its bounds."]
    return "\n".join([f"Machine: {machine}.", "", *lines, str(outcome.figures["measured"]), "", *failures]) + "\n"


def main() -> int:
    """Soak, print the report, and write it. Exit code 1 when something grew."""
    arguments = _parse(sys.argv[1:])
    found = find_llama_server(os.environ)
    if found is None:
        sys.exit("error: no llama-server: `make soak` builds one, or set LLAMA_SERVER to yours")
    # Told to end, it still ends what it started.
    signal.signal(signal.SIGTERM, _end)
    RESULTS.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=RESULTS, prefix="soak-", ignore_cleanup_errors=True) as scratch:
        root, model = Path(scratch, "root"), write_model(Path(scratch, "tiny.gguf"))
        root.mkdir()
        machine = describe_machine(found[0], root)
        minutes = arguments.time / 60
        options = Options("soak", arguments.seed, 0, 0, len(SERVERS), minutes, found[0], model, root)
        outcome = play(options)
        shutil.copy(root / SAMPLES, arguments.report.with_suffix(".json"))
    report = to_report(machine, outcome)
    arguments.report.write_text(report)
    print(report)
    return int(not outcome.held)


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos.soak", description=__doc__)
    parser.add_argument("--time", type=_seconds, default=1800.0, metavar="TIME", help="such as 90s, 30m, 8h (30m)")
    seed = random.SystemRandom().randrange(1_000_000)
    parser.add_argument("--seed", type=int, default=seed, metavar="N", help="the same acts again (default: others)")
    where = RESULTS / "soak.md"
    parser.add_argument(
        "--report",
        type=Path,
        default=where,
        metavar="FILE",
        help="where to, with all samples beside it in JSON (default: %(default)s)",
    )
    return parser.parse_args(argv)


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
