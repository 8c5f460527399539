"""Puts together what is known of an end, for the engine to name its cause."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from signal import SIGKILL

from reconciler.controller.launching import Launcher
from reconciler.core.causes import Ending
from reconciler.core.gate import part_paths
from reconciler.core.history import Instance, Trigger
from reconciler.core.model import Exit, Now, Process
from reconciler.core.spec import ServerSpec
from reconciler.engines import engine_of
from reconciler.runtimes.low_ports import may_listen
from reconciler.runtimes.oom import MemoryKills

KILLED_BY_SHELL = 128 + SIGKILL
MOST_PARTS = 64
"""Files of one model that are looked at."""
SETTLING = 1.0
"""Seconds by which the time of a file's change may be off."""


class Diagnoser:
    """Names the cause of each end, once."""

    def __init__(self, launcher: Launcher, kills: MemoryKills | None = None) -> None:
        self._launcher = launcher
        self._kills = kills or MemoryKills()

    def look(self, processes: Iterable[Process], *, fresh: bool) -> None:
        """Note what is to be compared with once one of these has ended."""
        self._kills.look({process.identity.pid for process in processes if process.alive}, fresh=fresh)

    def diagnosed(self, process: Process, instance: Instance | None, spec: ServerSpec, now: Now) -> Process:
        """The process with the cause of its end. `spec` is what it was started with; `instance`, its row, if known."""
        if process.exit is None:
            return process
        was_ready = instance is not None and instance.first_ready is not None
        # An adopted one repeats its model's path as somebody wrote it, wherever that one stood.
        model = None if instance is not None and instance.adopted else self._launcher.model_path(spec)
        ending = Ending(
            process.exit,
            process.log_tail,
            "Ready" if was_ready else "Starting",
            spec=spec,
            model_missing=model is not None and not os.path.exists(model),  # noqa: PTH110 - any text may be a path
            model_changed=_any_changed(part_paths(model), instance, now) if model and instance else None,
            may_not_listen=not may_listen(process.port),
            killed_for_memory=self._killed_for_memory(process.identity.pid, process.exit),
        )
        found = engine_of(spec).diagnose(ending)
        return replace(process, diagnosis=found.cause, evidence="; ".join(found.evidence))

    def _killed_for_memory(self, pid: int, exit_: Exit) -> str | None:
        if exit_ == Exit():
            return self._kills.named(pid)
        if exit_.signal == SIGKILL or exit_.code == KILLED_BY_SHELL:
            return self._kills.evidence(pid, is_itself=exit_.signal is not None)
        return None

    def close(self) -> None:
        """Look no more."""
        self._kills.close()


def _any_changed(paths: Iterator[str], instance: Instance, now: Now) -> bool | None:
    """Whether a file was changed since the instance's start; None where its time cannot be compared with that."""
    start = instance.intent
    if start.boot != now.boot or instance.trigger is Trigger.ADOPTED:
        return None
    if abs((now.wall - now.monotonic) - (start.wall - start.monotonic)) > SETTLING:
        return None
    found = [_changed_at(path) for path in islice(paths, MOST_PARTS)]
    if any(at is not None and at > start.wall - SETTLING for at in found):
        return True
    return None if None in found else False


def _changed_at(path: str) -> float | None:
    with suppress(OSError, ValueError):
        return os.stat(path).st_ctime  # noqa: PTH116 - as above
    return None
