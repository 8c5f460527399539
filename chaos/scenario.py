"""What every scenario is given, and what it returns."""

import os
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


def own_ports() -> range:
    """More than a thousand ports above those that the kernel hands to outgoing connections, elsewhere for each process.

    Tests and benchmarks keep below them, so that none of these games disturbs another.
    """
    first = 61000 + os.getpid() % 4 * 1130
    return range(first, first + 1130)


@dataclass(frozen=True)
class Options:
    """How long and how hard to play, and with what."""

    name: str
    """The scenario's."""
    seed: int
    kills: int
    """Random kills of the controller."""
    manifests: int
    """Generated and mutated manifests."""
    servers: int
    """Servers in scenarios that are about many."""
    minutes: float
    """Longest time of one scenario."""
    llama_server: str
    """Absolute path of a real one."""
    model: Path
    """A tiny real model, not to be changed."""
    scratch: Path
    """An empty folder, for this scenario alone."""
    ports: range = field(default_factory=own_ports)
    began: float = field(default_factory=time.monotonic)

    def random(self, about: str = "") -> random.Random:
        """Chance that the seed, the scenario's name and `about` decide."""
        return random.Random(f"{self.seed} {self.name} {about}")

    def is_over(self) -> bool:
        """Whether its time is spent."""
        return time.monotonic() - self.began > self.minutes * 60

    def tell(self, line: str) -> None:
        """Say how it goes."""
        sys.stderr.write(f"{self.name}: {line}\n")
        sys.stderr.flush()


@dataclass(frozen=True)
class Outcome:
    """What was seen."""

    figures: Mapping[str, int | float | str]
    """By what they count or measure, with the unit in the name."""
    failures: Sequence[str] = ()
    """Promises that were not kept."""

    @property
    def held(self) -> bool:
        """Whether every promise was kept."""
        return not self.failures
