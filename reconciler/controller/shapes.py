"""What models say of their size, for servers in trouble: a fallback step may depend on it."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from reconciler.controller.launching import Launcher
from reconciler.core.causes import cause_of
from reconciler.core.history import History, ServerRecord
from reconciler.core.model import Desired, GateFacts, Process, Wanted
from reconciler.runtimes.gguf_header import HeaderError, read_header

Shape = tuple[int, int]
"""Tokens of context that a model was trained with, and its layers; 0: not known."""
UNKNOWN: Shape = (0, 0)


class Shapes:
    """Of the models of servers in trouble, each read once: the others' starts need not wait for it."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._known: dict[str, tuple[tuple[int, int, int], Shape]] = {}
        """By path, as of which file."""

    def add(
        self,
        gates: Mapping[str, GateFacts],
        due: Iterable[Wanted],
        processes: Mapping[str, tuple[Process, ...]],
        desired: Desired,
        history: History,
    ) -> dict[str, GateFacts]:
        """The gates, with the shapes of those for which a step may be chosen now."""
        found = dict(gates)
        for wanted in due:
            name = wanted.document.name
            default = desired.limits.fallback
            if not _asks(wanted, default) or not _is_in_trouble(processes.get(name, ()), history.servers.get(name)):
                continue
            trained, layers = self._shape(self._launcher.model_path(wanted.spec))
            found[name] = replace(found[name], trained=trained, layers=layers)
        return found

    def _shape(self, path: str | None) -> Shape:
        if path is None:
            return UNKNOWN
        try:
            seen = os.stat(path)  # noqa: PTH116 - any text may be a path
            identity = seen.st_ino, seen.st_size, seen.st_mtime_ns
            before = self._known.get(path)
            shape = before[1] if before is not None and before[0] == identity else _read(path)
        except (OSError, ValueError):
            return UNKNOWN
        self._known[path] = identity, shape
        return shape


def _asks(wanted: Wanted, default: str) -> bool:
    """Whether the steps of this spec depend on its model."""
    spec = wanted.spec
    return (spec.fallback or default) == "auto" and (spec.ctx is None or not isinstance(spec.gpu_layers, int))


def _is_in_trouble(processes: Iterable[Process], record: ServerRecord | None) -> bool:
    if any(process.step > 0 or cause_of(process.diagnosis).eases for process in processes):
        return True
    if record is None:
        return False
    return bool(record.step or record.ready_step or record.tried) or cause_of(record.last_cause).eases


def _read(path: str) -> Shape:
    try:
        facts = read_header(Path(path)).facts
    except HeaderError:
        return UNKNOWN
    kind = facts.get("general.architecture")
    context, layers = (facts.get(f"{kind}.{name}") for name in ("context_length", "block_count"))
    return (context if isinstance(context, int) else 0, layers if isinstance(layers, int) else 0)
