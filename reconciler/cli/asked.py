"""What runs beside what was asked for, in one cell: `16384 (asked 32768)` where they differ."""

from collections.abc import Mapping
from typing import Any

from reconciler.store.items import running_spec

Item = Mapping[str, Any]
UNSET = "auto"
DEGRADED = "Ready,Degraded"
"""The phase of a Ready server that does not run as asked, in the manner of kubectl's nodes."""


def shown_phase(item: Item) -> str:
    """The phase; of one that is Ready, but not as asked, both."""
    is_degraded = any(one["type"] == "Degraded" and one["status"] == "True" for one in item["status"]["conditions"])
    phase = str(item["status"]["phase"])
    return DEGRADED if phase == "Ready" and is_degraded else phase


def runs_with_less(item: Item) -> bool:
    """Whether it serves with less than was asked for, or, seen without a controller, began on a fallback step."""
    status = item["status"]
    is_on_step = bool(status["instance"] and (status.get("fallback") or {}).get("step"))
    return shown_phase(item) == DEGRADED or is_on_step


def context_size(spec: Item, effective: Item | None) -> str:
    """Tokens of context over all slots, as the server reports them, else as asked.

    llama-server reports them for one slot: its share where `parallel` is written, else the whole, which slots share.
    """
    asked, slots = spec.get("ctx"), spec.get("parallel") or 1
    per_slot = (effective or {}).get("ctxPerSlot")
    if per_slot is None:
        return str(asked or UNSET)
    return str(per_slot if asked and per_slot >= asked else per_slot * slots)


def gpu_layers(spec: Item, effective: Item | None) -> str:
    """`N/M` where the server tells so, 0 where it is known to have none of those it was to have; else as asked."""
    told = effective or {}
    if told.get("gpuLayers"):
        return str(told["gpuLayers"])
    written = spec.get("gpuLayers")
    return "0" if written is not None and told.get("device") == "CPU" else _text(written)


def slot_count(spec: Item, effective: Item | None) -> str:
    """Slots as the server reports them, else as asked."""
    return str((effective or {}).get("slots") or spec.get("parallel") or UNSET)


def device(effective: Item | None) -> str:
    """Where the model is kept; empty where that is not told."""
    return str((effective or {}).get("device") or "")


def with_asked(running: str, asked: str, *, is_less: bool) -> str:
    """What runs, with what was asked for where it is something else."""
    return f"{running} (asked {asked})" if is_less else running


def context_cell(item: Item) -> str:
    """The context, and what was asked for where it is more."""
    running, asked = context_size(running_spec(item), _effective(item)), item["spec"].get("ctx")
    is_less = asked is not None and running.isdigit() and not _is_as_asked(item, int(running), asked)
    return with_asked(running, _text(asked), is_less=is_less)


def _is_as_asked(item: Item, running: int, asked: int) -> bool:
    """llama-server rounds up to a block; more than that, and what runs was started with more."""
    started_with = running_spec(item).get("ctx")
    return running >= asked and (started_with is None or started_with <= asked)


def slots_cell(item: Item) -> str:
    """The slots, and how many were asked for."""
    running, asked = slot_count(running_spec(item), _effective(item)), _text(item["spec"].get("parallel"))
    return with_asked(running, asked, is_less=asked not in (UNSET, running))


def gpu_layers_cell(item: Item) -> str:
    """The layers on the GPU, and how many were asked for where the server has not got them all."""
    running, asked = gpu_layers(running_spec(item), _effective(item)), item["spec"].get("gpuLayers")
    on_gpu, _, layers = running.partition("/")
    if asked in (None, UNSET):
        return running
    if not layers:
        return with_asked(running, _text(asked), is_less=running != _text(asked))
    most = int(layers) if asked == "all" else min(int(asked), int(layers))
    return with_asked(running, _text(asked), is_less=int(on_gpu) != most)


def _effective(item: Item) -> Item | None:
    found: Item | None = item["status"]["effective"]
    return found


def _text(value: Any) -> str:
    return UNSET if value is None else str(value)
