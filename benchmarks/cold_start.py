"""From nothing to all servers Ready, against the bare loop."""

import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.fleet import Options, count_ready, empty, names, wait_until
from benchmarks.result import Result, Row
from reconciler.controller.launching import Launcher
from reconciler.core.model import Document
from reconciler.core.spec import ServerSpec
from reconciler.settings import Settings
from tests.e2e.installation import SMALL, Installation

TARGET = 1.5
"""Times the bare loop."""


def cold_start(options: Options) -> Result:
    """The rounds of both alternate, so that a change of the machine's mood meets both."""
    bare, ours = [], []
    for _ in range(options.rounds):
        bare.append(_bare_round(options))
        ours.append(_our_round(options))
    what = f"{options.servers} servers to all Ready"
    return Result(
        "cold-start",
        (
            Row(
                f"{what}, from the process's start",
                "s",
                tuple(ready for _, ready in ours),
                TARGET,
                tuple(ready for _, ready in bare),
            ),
            Row(
                f"{what}, from the first log line",
                "s",
                tuple(ready - up for up, ready in ours),
                bare=tuple(ready - up for up, ready in bare),
            ),
            Row("start of Python and imports", "s", tuple(up for up, _ in ours), bare=tuple(up for up, _ in bare)),
        ),
        "The bare loop is a process of its own too: its Popen of all, then polls of /health until each gave 200.",
    )


def _our_round(options: Options) -> tuple[float, float]:
    """Seconds from the controller's start to its first log line, and to all Ready."""
    with empty(options) as made:
        for name in names(options.servers):
            made.declare(name)
        log = made.root / "controller-1.log"
        began = time.monotonic()
        made.start(RECONCILER_LOADS="0")
        up = wait_until("a log line", made, lambda: log.stat().st_size > 0)
        ready = wait_until("all Ready", made, lambda: count_ready(made) == options.servers)
    return up - began, ready - began


def _bare_round(options: Options) -> tuple[float, float]:
    """Seconds from the bare loop's start to its first spawn, and to all healthy."""
    with empty(options) as made:
        file = made.root / "launches.json"
        file.write_text(json.dumps(_launches(made, options)))
        began = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.bare", str(file)]
        done = subprocess.run(
            command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, check=True, timeout=120
        )
    told = json.loads(done.stdout)
    return told["began"] - began, told["ready"] - began


def _launches(made: Installation, options: Options) -> list[dict[str, object]]:
    """The very argv and environment that the controller would use."""
    settings = Settings(models=str(made.models), llama_server=options.llama_server)
    launcher = Launcher(settings, made.environ)
    spec = ServerSpec.model_validate({"model": "tiny.gguf", **SMALL})
    document = Document("LlamaServer", "any", "any.yaml", spec)
    launches = []
    for name, port in zip(names(options.servers), made.ports, strict=False):
        launch = launcher.launch(document, port)
        log = str(made.root / f"{name}.log")
        launches.append({"argv": launch.argv, "environment": dict(launch.environment), "port": port, "log": log})
    return launches
