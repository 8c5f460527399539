"""A controller that gets no time for long between two of its steps blames no server for it."""

import random
import signal
import time
from typing import Any

from tests.e2e.installation import SMALL, Installation

PROBES = {"liveness": {"period": "50ms", "failureThreshold": 1}}
"""At the first failure a server is Unhealthy, at the second it is restarted."""
LIGHT: dict[str, Any] = {**SMALL, "probes": PROBES}
IDLE_LIMIT = 5.0
"""Seconds after which llama-server hangs up on who has connected and asks nothing."""


def test_nobody_is_unhealthy_because_the_controller_asks_late(installation: Installation) -> None:
    names = [f"s{number}" for number in range(12)]
    for name in names:
        installation.declare(name, model="tiny.gguf", port="auto", **LIGHT)
    installation.start()
    pids = installation.wait_ready(*names)
    assert installation.controller is not None
    moments = random.Random(4)
    for _ in range(3):
        # It stops amid its looks: the first are made right when it goes on.
        time.sleep(moments.uniform(0.002, 0.03))
        installation.controller.send_signal(signal.SIGSTOP)
        time.sleep(IDLE_LIMIT + 0.5)
        installation.controller.send_signal(signal.SIGCONT)
    installation.reconcile()
    assert {reason for reason, _ in installation.events()} == {"Started", "Ready"}
    assert installation.wait_ready(*names) == pids
