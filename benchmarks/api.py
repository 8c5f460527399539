"""How much the interface answers, and what that costs those who are to be restarted meanwhile."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice

import psutil

from benchmarks.fleet import Options, names, running
from benchmarks.respawn import RESTART, respawn_ms
from benchmarks.result import Result, Row
from benchmarks.starts import watched

RATE = 300
"""Requests a second."""
PATHS = ("/api/v1/servers", "/api/v1/summary")
DISTURBED_TARGET = 1.5
SECONDS_A_PATH = 5.0
KILLS_A_ROUND = 8
MOST_SECONDS = 600.0
"""The load ends with the kills, and at last then."""
MILLISECONDS_TARGET = 3.33
"""An answer each, for RATE."""


def api(options: Options) -> Result:
    """As fast as it can, path by path; then crashes beside so many requests a second."""
    with (
        watched(options) as starts,
        running(options, llama_server=starts.llama_server, shown=True, restart=RESTART) as made,
    ):
        assert made.controller is not None
        port, controller = made.ports[-1], psutil.Process(made.controller.pid)
        rows, length = list[Row](), min(SECONDS_A_PATH, options.seconds)
        for path in PATHS:
            before = sum(controller.cpu_times()[:2])
            took = _answer(asking(port, length, 0, [path]))
            cpu = (sum(controller.cpu_times()[:2]) - before) * 1000 / len(took)
            what = f"GET {path}, {options.servers} servers"
            each = length * 1000 / len(took)
            rows.append(Row(f"{what}: one after the other on 4 connections, each", "ms", (each,), MILLISECONDS_TARGET))
            rows.append(Row(f"{what}: CPU of the controller, each", "ms", (cpu,)))
        kills = list(islice(cycle(names(options.servers)), options.rounds * KILLS_A_ROUND))
        alone = tuple(respawn_ms(made, starts, name) for name in kills)
        load, began = asking(port, MOST_SECONDS, RATE, PATHS), time.monotonic()
        beside = tuple(respawn_ms(made, starts, name) for name in kills)
        load.terminate()
        rate = len(_answer(load)) / (time.monotonic() - began)
    rows.append(Row(f"SIGKILL to new process, beside {RATE} requests a second", "ms", beside, DISTURBED_TARGET, alone))
    return Result("api", tuple(rows), f"The start is {starts.way}. The load was {rate:.0f} requests a second.")


def asking(port: int, seconds: float, rate: float, paths: Sequence[str]) -> "subprocess.Popen[str]":
    """Somebody who asks so often, for so long."""
    command = [sys.executable, "-m", "benchmarks.asker", str(port), str(seconds), str(rate), *paths]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _answer(process: "subprocess.Popen[str]") -> list[float]:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError("whoever asked was not answered; see above")
    return list(json.loads(output))
