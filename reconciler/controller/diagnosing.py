"""Puts together what is known of an end, for the engine to name its cause."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from signal import SIGKILL

from pydantic import ValidationError

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
        self._is_ready = False
        """What names causes is imported."""

    def look(self, processes: Iterable[Process], *, fresh: bool) -> None:
        """Note what is to be compared with once one of these has ended."""
        alive = [process for process in processes if process.alive]
        if alive and not self._is_ready:
            # The first end is not to wait for it, nor the first start.
            from reconciler.engines import diagnosis  # noqa: F401, PLC0415

            self._is_ready = True
        leaders = {process.uid: process.identity.pid for process in alive if process.leader}
        children = {
            process.identity.pid: leaders[process.uid]
            for process in alive
            if not process.leader and process.uid in leaders
        }
        self._kills.look({process.identity.pid for process in alive}, fresh=fresh, children=children)

    def diagnosed(self, process: Process, instance: Instance | None, spec: ServerSpec, now: Now) -> Process:
        """The process with the cause of its end. `spec` is what it was started with; `instance`, its row, if known."""
        if process.exit is None:
            return process
        exit_ = process.exit
        process = self.without_secrets(process, instance, spec)
        was_ready = instance is not None and instance.first_ready is not None
        # An adopted one repeats its model's path as somebody wrote it, wherever that one stood.
        model = None if instance is not None and instance.adopted else self._launcher.model_path(spec)
        ending = Ending(
            exit_,
            process.log_tail,
            "Ready" if was_ready else "Starting",
            spec=spec,
            model_missing=model is not None and not os.path.exists(model),  # noqa: PTH110 - any text may be a path
            model_changed=_any_changed(part_paths(model), instance, now) if model and instance else None,
            may_not_listen=not may_listen(process.port),
            killed_for_memory=self._killed_for_memory(process.identity.pid, exit_),
        )
        found = engine_of(spec).diagnose(ending)
        return replace(process, diagnosis=found.cause, evidence="; ".join(found.evidence))

    def without_secrets(self, process: Process, instance: Instance | None, *specs: ServerSpec) -> Process:
        """The process with the end of its log as it may be stored and told."""
        written = list(specs)
        with suppress(ValidationError):  # of another version
            written += [ServerSpec.model_validate(dict(instance.spec))] if instance and instance.spec else []
        told = self._launcher.secrets.without(process.log_tail, *written)
        return process if told == process.log_tail else replace(process, log_tail=told)

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
