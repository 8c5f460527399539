"""How long people wait for an answer on the command line."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from benchmarks.fleet import Options, names, running
from benchmarks.result import Result, Row
from tests.e2e.installation import Installation

READING_MS = 150.0
"""For a verb that reads, from its start to its end."""
HELP_MS = 100.0
CALLS_A_ROUND = 4


def command_line(options: Options) -> Result:
    """Verbs that read, beside a running controller, the help, and Python's own start for comparison."""
    calls = options.rounds * CALLS_A_ROUND
    with running(options) as made:
        name = names(options.servers)[0]
        reading = [
            ("get", "servers"),
            ("get", "servers", "-o", "json"),
            ("get", "events"),
            ("describe", "server", name),
            ("logs", name),
        ]
        rows = [_row(made, words, calls, READING_MS) for words in reading]
        rows += [_row(made, words, calls, HELP_MS) for words in (("--help",), ("get", "--help"))]
        python = _wall_ms(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), calls)
    return Result("cli", (*rows, Row("`python -c pass`", "ms", python)))


def _row(made: Installation, words: Sequence[str], calls: int, target: float) -> Row:
    return Row(f"`reconciler {' '.join(words)}`", "ms", _wall_ms(lambda: made.cli(*words), calls), target)


def _wall_ms(call: Callable[[], object], times: int) -> tuple[float, ...]:
    call()  # so that no sample pays for compiling to bytecode
    samples = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        samples.append((time.perf_counter() - began) * 1000)
    return tuple(samples)
