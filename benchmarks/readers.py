"""Many who follow the stream: whether each sees every change, and what they cost in memory."""

import json
import subprocess
import sys
import time

import psutil

from benchmarks.fleet import Options, kill, names, open_pids, ready_again, running, wait_until
from benchmarks.respawn import RESTART
from benchmarks.result import Result, Row
from tests.e2e.installation import Installation

READERS = 200
RSS_TARGET_MIB = 40.0
MIB = 1024 * 1024
PAUSE = 0.25
SETTLE = 2.0
"""Seconds until the last change is with everybody."""


def readers(options: Options) -> Result:
    """Kill one after the other for a while, and count who saw each restart."""
    with running(options, shown=True, restart=RESTART) as made:
        assert made.controller is not None
        controller = psutil.Process(made.controller.pid)
        before = peak = controller.memory_info().rss
        known = _uids(made)
        command = [sys.executable, "-m", "benchmarks.follower", str(made.ports[-1]), str(READERS)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as follower:
            assert follower.stdout is not None
            if follower.stdout.readline() != "ready\n":
                raise RuntimeError("the stream cannot be read; see above")
            until, number = time.monotonic() + options.seconds, 0
            while time.monotonic() < until:
                _restart(made, names(options.servers)[number % options.servers])
                number, peak = number + 1, max(peak, controller.memory_info().rss)
            begun = _uids(made) - known
            time.sleep(SETTLE)
            peak = max(peak, controller.memory_info().rss)
            output, _ = follower.communicate()
        told = json.loads(output)
    missed = sum(told["alive"] - told["seen"].get(uid, 0) for uid in begun) + READERS - told["alive"]
    what = f"{READERS} readers of the stream, {len(begun)} restarts among {options.servers} servers"
    return Result(
        "readers",
        (
            Row(f"{what}: restarts that one of them did not see, and readers that were dropped", "", (missed,), 0.0),
            Row(f"{what}: RSS that they add to the controller", "MiB", ((peak - before) / MIB,), RSS_TARGET_MIB),
        ),
    )


def _restart(made: Installation, name: str) -> None:
    pid = open_pids(made)[name]
    kill(made, name, pid)
    wait_until(f"{name} Ready again", made, lambda: ready_again(made, name, pid))
    time.sleep(PAUSE)


def _uids(made: Installation) -> set[str]:
    return {str(uid) for (uid,) in made.query("select uid from instances")}
