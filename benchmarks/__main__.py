"""`python -m benchmarks [NAME…] [--json FILE] [--servers N] [--rounds N] [--seconds S]`."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.api import api
from benchmarks.cold_start import cold_start
from benchmarks.command_line import command_line
from benchmarks.first_paint import first_paint
from benchmarks.fleet import Options
from benchmarks.idle import idle, stop_all
from benchmarks.idle_pass import idle_pass
from benchmarks.machine import describe_machine
from benchmarks.readers import readers
from benchmarks.respawn import crash_respawn, manifest_to_process
from benchmarks.result import Result, to_data, to_table
from benchmarks.syncing import sync_to_process
from reconciler.demo.models import write_model
from reconciler.discovery import find_llama_server

BENCHMARKS: dict[str, Callable[[Options], Result]] = {
    "cold-start": cold_start,
    "stop-all": stop_all,
    "crash-respawn": crash_respawn,
    "manifest-to-process": manifest_to_process,
    "sync-to-process": sync_to_process,
    "idle": idle,
    "idle-pass": idle_pass,
    "cli": command_line,
    "api": api,
    "readers": readers,
    "first-paint": first_paint,
}
RESULTS = Path(__file__).parent / "results"
"""Ignored by Git, and on the checkout's disk, as a state folder would be."""


def main() -> int:
    """Run, print the table, and write the JSON. Exit code 1 when a target is missed."""
    arguments = _parse(sys.argv[1:])
    found = find_llama_server(os.environ)
    if found is None:
        sys.exit("error: no llama-server: `make bench` builds one, or set LLAMA_SERVER to yours")
    RESULTS.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=RESULTS, prefix="run-") as scratch:
        model = write_model(Path(scratch, "tiny.gguf"))
        options = Options(found[0], model, Path(scratch), arguments.servers, arguments.rounds, arguments.seconds)
        machine = describe_machine(found[0], options.scratch)
        print(machine, flush=True)
        results = [_run(name, options) for name in arguments.names or BENCHMARKS]
    print("\n" + to_table(results))
    if arguments.json:
        _write(arguments.json, machine, options, results)
    return int(any(row.holds is False for result in results for row in result.rows))


def _run(name: str, options: Options) -> Result:
    print(f"{name} …", file=sys.stderr, flush=True)
    return BENCHMARKS[name](options)


def _write(path: Path, machine: str, options: Options, results: list[Result]) -> None:
    settings = {"servers": options.servers, "rounds": options.rounds, "seconds": options.seconds}
    data = {"machine": machine, "options": settings, "results": [to_data(result) for result in results]}
    path.write_text(json.dumps(data, indent=2) + "\n")


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, with many real llama-servers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which (default: all): {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there too")
    parser.add_argument("--servers", type=int, default=100, metavar="N", help="servers (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="of idling (default %(default)s)")
    arguments = parser.parse_args(argv)
    if unknown := [name for name in arguments.names if name not in BENCHMARKS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
