"""What a controller has counted since it began: plain numbers, for metrics. Nothing is decided by them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.core.actions import Action, Kill, SaveInstance, Start, Terminate
from reconciler.core.history import Instance

QUICK = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds: upper bounds for what takes milliseconds."""
SLOW = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""The same for the loading of models."""
ANSWERS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 5.0, 10.0)
"""The same for answers of servers."""


class Histogram:
    """How many values there were up to each bound, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds`: the upper ones, in order; what is above all of them counts too."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one."""
        self._counts[sum(value > bound for bound in self._bounds)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """Of all."""
        return sum(self._counts)

    def buckets(self) -> Iterator[tuple[str, int]]:
        """Each bound, as Prometheus writes it, with how many were not above it."""
        total = 0
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            total += count
            yield str(bound), total


@dataclass(slots=True)
class Counts:
    """All that is counted."""

    failed_passes: int = 0
    state_errors: int = 0
    """Times that the state could not be written, or read to be mended."""
    passes: Histogram = field(default_factory=lambda: Histogram(QUICK))
    """Seconds that a pass takes."""
    answers: Histogram = field(default_factory=lambda: Histogram(ANSWERS))
    """Seconds until `/health` was answered."""
    watching: Histogram = field(default_factory=lambda: Histogram(QUICK))
    """Seconds from a manifest's change until it was told."""
    starts: Histogram = field(default_factory=lambda: Histogram(SLOW))
    """Seconds from a start until the server was Ready."""
    actions: Counter[str] = field(default_factory=Counter)
    """By `start`, `terminate` and `kill`."""
    probes: Counter[str] = field(default_factory=Counter)
    """By what came of them."""
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Ends that nobody asked for, by server and diagnosis."""
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By type and reason."""

    def note(self, actions: Sequence[Action], before: Mapping[str, Instance]) -> None:
        """Count what a plan does; `before` are the open instances by server that it was made for."""
        saved = {}
        for action in actions:
            match action:
                case Start():
                    self.actions["start"] += 1
                case Terminate():
                    self.actions["terminate"] += 1
                case Kill():
                    self.actions["kill"] += 1
                case SaveInstance(instance):
                    saved[instance.uid] = instance
        for instance in saved.values():
            known = before.get(instance.server)
            self._note_change(instance, known if known and known.uid == instance.uid else None)

    def _note_change(self, now: Instance, before: Instance | None) -> None:
        if before is None:
            return
        if now.first_ready is not None and before.first_ready is None and now.first_ready.boot == now.intent.boot:
            self.starts.observe(now.first_ready.monotonic - now.intent.monotonic)
        if now.ended is not None and (now.stop_reason is None or now.stop_reason.is_failure):
            self.ends[now.server, now.diagnosis or "Unknown"] += 1

    def forget(self, servers: frozenset[str]) -> None:
        """Keep nothing of servers but of these."""
        for key in [key for key in self.ends if key[0] not in servers]:
            del self.ends[key]
