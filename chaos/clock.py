"""Clocks that are stepped and loops that stand still, by chance: nothing acts for it, and nothing is late for it."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from chaos.folder import is_well
from chaos.scenario import Options, Outcome
from chaos.skew import NoCompilerError, Skew
from tests.e2e.installation import Installation, installed

HOUR, DAY = 3600.0, 86400.0
TICK = 1.0
BACKOFF = 2.0
LATE = 2.0
"""Seconds beyond its delay until a crashed server must be back, on a machine that is busy with other things."""
STALL = 22.0
ROUNDS_A_MINUTE = 4
MOST_ROUNDS = 60
NAMES = ("one", "two", "three")
EAGER: dict[str, Any] = {
    "restart": {"initialBackoff": f"{BACKOFF:g}s", "maxBackoff": f"{BACKOFF:g}s", "stabilityWindow": "1s"},
    "probes": {"liveness": {"period": "500ms", "timeout": "1s", "failureThreshold": 1}},
}


class Clocks:
    """Things that happen to the time of a controller."""

    def __init__(self, installation: Installation, skew: Skew, chance: random.Random) -> None:
        self._installation = installation
        self._skew = skew
        self._chance = chance

    def known(self) -> Mapping[str, Callable[[], None]]:
        """All of them, by name."""
        return {
            "steps of an hour or a day": self._step,
            "a storm of steps": self._storm,
            "a jump of the monotonic clock": self._jump,
            "a loop that stood still for 22 s": self._stand_still,
            "a machine that stood still for 22 s": self._suspend,
        }

    def _step(self) -> None:
        self._skew.step(wall=self._chance.choice((-DAY, -HOUR, HOUR, DAY)))

    def _storm(self) -> None:
        for _ in range(200):
            self._skew.step(wall=self._chance.uniform(-HOUR, HOUR))
            time.sleep(0.01)

    def _jump(self) -> None:
        self._skew.step(monotonic=self._chance.choice((5.0, 20.0, HOUR)))

    def _stand_still(self) -> None:
        assert self._installation.controller is not None
        self._installation.controller.send_signal(signal.SIGSTOP)
        time.sleep(STALL)
        self._installation.controller.send_signal(signal.SIGCONT)

    def _suspend(self) -> None:
        pids = list(self._installation.pids().values())
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        self._stand_still()
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def play(options: Options) -> Outcome:
    """Each round: something happens to the time, ticks go on, and a server that crashes is back after its delay."""
    chance, failures, counts, delays = options.random(), list[str](), Counter[str](), list[float]()
    try:
        skew = Skew(options.scratch)
    except NoCompilerError as error:
        return Outcome({"not played": str(error)})
    root = options.scratch / "played"
    root.mkdir()
    with installed(root, options.llama_server, options.model, options.ports) as installation:
        for name in NAMES:
            installation.declare(name, **EAGER)
        installation.start(RECONCILER_TICK=str(TICK), **skew.environ)
        pids = installation.wait_ready(*NAMES)
        clocks = Clocks(installation, skew, chance)
        for number in range(min(MOST_ROUNDS, int(options.minutes * ROUNDS_A_MINUTE) or 1)):
            what = chance.choice(list(clocks.known()))
            options.tell(what)
            clocks.known()[what]()
            counts[what] += 1
            failures += [f"round {number}, {what}: {fault}" for fault in faults(installation, pids)]
            delays.append(seconds_until_back(installation, chance.choice(NAMES), skew, chance))
            pids = installation.wait_ready(*NAMES)
            if options.is_over() or failures:
                break
    if not BACKOFF <= min(delays) <= max(delays) <= BACKOFF + LATE:
        failures.append(f"a delay of {BACKOFF:g} s took between {min(delays):.1f} and {max(delays):.1f} s")
    figures = {"shortest delay of 2 s": round(min(delays), 2), "longest": round(max(delays), 2)}
    return Outcome({**counts, **figures}, failures)


def faults(installation: Installation, pids: Mapping[str, int]) -> list[str]:
    """What should not have come of it."""
    before, began = installation.passes(), time.monotonic()
    while installation.passes() < before + 3:
        if time.monotonic() > began + 5 * TICK:
            return ["the ticks ceased"]
        time.sleep(0.05)
    if (now := installation.pids()) != pids:
        return [f"{sorted(pids.items() ^ now.items())} ended or began"]
    installation.wait_for("all to be well", lambda: is_well(installation, list(NAMES)))
    return [f"{reason}: {message}" for reason, message in installation.events() if reason == "Unhealthy"]


def seconds_until_back(installation: Installation, name: str, skew: Skew, chance: random.Random) -> float:
    """Kill a server, step the clock while its delay runs, and wait for the next process."""
    installation.wait_for("earlier ends to be forgotten", lambda: installation.phases()[name] == "Ready")
    time.sleep(1.5)  # its stability window
    pid = installation.pids()[name]
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    installation.wait_for("the end to be seen", lambda: installation.phases()[name] == "BackOff")
    skew.step(wall=chance.choice((-DAY, -HOUR, HOUR, DAY)))
    installation.wait_for("it to be back", lambda: installation.pids().get(name, pid) != pid)
    return time.monotonic() - began
