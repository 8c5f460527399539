"""What supervising costs when nothing happens, and how long stopping everything takes."""

import time

import psutil

from benchmarks.fleet import PATIENCE, Options, open_pids, running, wait_for_ends
from benchmarks.result import Result, Row

CPU_TARGET_PERCENT = 3.0
RSS_TARGET_MIB = 72.0
STOP_TARGET_S = 5.0
SETTLE = 5.0
"""Seconds until the imports' and first probes' work is surely done."""
MIB = 1024 * 1024


def idle(options: Options) -> Result:
    """CPU time of the controller over a while, and its memory at the end of it."""
    with running(options) as made:
        assert made.controller is not None
        controller = psutil.Process(made.controller.pid)
        time.sleep(min(SETTLE, options.seconds))
        began, before = time.monotonic(), controller.cpu_times()
        time.sleep(options.seconds)
        after, took = controller.cpu_times(), time.monotonic() - began
        memory = controller.memory_full_info()
    percent = max(0.0, after.user + after.system - before.user - before.system) / took * 100
    what = f"{options.servers} servers Ready, default probes"
    return Result(
        "idle",
        (
            Row(f"{what}: CPU, share of a core over {options.seconds:g} s", "%", (percent,), CPU_TARGET_PERCENT),
            Row(f"{what}: RSS of the controller", "MiB", (memory.rss / MIB,), RSS_TARGET_MIB),
            Row(f"{what}: PSS of the controller", "MiB", (memory.pss / MIB,)),
        ),
    )


def stop_all(options: Options) -> Result:
    """From the command's start until no process is left."""
    return Result(
        "stop-all",
        (
            Row(
                f"`reconciler stop --all` of {options.servers} idle servers, until no process is left",
                "s",
                tuple(_stop_round(options) for _ in range(options.rounds)),
                STOP_TARGET_S,
            ),
        ),
    )


def _stop_round(options: Options) -> float:
    with running(options) as made:
        pids = open_pids(made).values()
        began = time.monotonic()
        made.cli("stop", "--all")
        wait_for_ends(pids, PATIENCE)
        took = time.monotonic() - began
        assert not list(made.processes())
    return took
