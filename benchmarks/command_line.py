"""How long people wait for an answer on the command line."""

import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.fleet import Options, running
from benchmarks.result import Result, Row

TARGET_MS = 200.0
CALLS_A_ROUND = 4


def command_line(options: Options) -> Result:
    """`get servers` beside a running controller, `--help`, and Python's own start for comparison."""
    calls = options.rounds * CALLS_A_ROUND
    with running(options) as made:
        got = _wall_ms(lambda: made.cli("get", "servers"), calls)
        helped = _wall_ms(lambda: made.cli("--help"), calls)
        python = _wall_ms(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), calls)
    return Result(
        "cli",
        (
            Row(f"`reconciler get servers` with {options.servers} servers", "ms", got, TARGET_MS),
            Row("`reconciler --help`", "ms", helped),
            Row("`python -c pass`", "ms", python),
        ),
    )


def _wall_ms(call: Callable[[], object], times: int) -> tuple[float, ...]:
    call()  # so that no sample pays for compiling to bytecode
    samples = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        samples.append((time.perf_counter() - began) * 1000)
    return tuple(samples)
