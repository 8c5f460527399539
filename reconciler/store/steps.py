"""What was asked for and the fallback step in its place, in the words and shapes of `-o json`."""

from collections.abc import Mapping
from typing import Any

Item = dict[str, Any]


def asked_item(spec: Mapping[str, Any]) -> Item:
    """What the manifest asks for of what `effective` tells; None where it leaves that to llama-server."""
    ctx, slots = spec.get("ctx"), spec.get("parallel")
    model = spec.get("model", "")
    return {
        "ctx": ctx,
        # Without a number of slots, all of them share the whole context.
        "ctxPerSlot": ctx // (slots or 1) if ctx else None,
        "slots": slots,
        "gpuLayers": spec.get("gpuLayers"),
        "model": model if isinstance(model, str) else model.get("hf", ""),
    }


def fallback_item(record: Mapping[str, Any], instance: Mapping[str, Any] | None) -> Item | None:
    """The fallback step that runs or is to be tried next, and all that was tried; None where nothing was.

    Step 0 is what was asked for: so it stands while that is tried again, and after the last step.
    """
    tried = [_tried(one) for one in record.get("tried", ())]
    step = instance.get("step", 0) if instance else record.get("step", 0)
    if not (step or tried):
        return None
    return {
        "step": step,
        "told": _told(step, tried, instance),
        "changes": dict(instance.get("changes") or {}) if instance else {},
        "cause": record.get("last_cause", "") or next((one["result"] for one in reversed(tried) if one["result"]), ""),
        "tried": tried,
    }


def _told(step: int, tried: list[Item], instance: Mapping[str, Any] | None) -> str:
    if instance is not None and instance.get("step_told"):
        return str(instance["step_told"])
    return next((one["told"] for one in reversed(tried) if one["step"] == step), "")


def _tried(row: Mapping[str, Any]) -> Item:
    return {
        "step": row["step"],
        "told": row["told"],
        "result": row["result"],
        "evidence": row.get("evidence", ""),
        "readyAfter": None if row.get("ready_after") is None else round(row["ready_after"], 3),
    }
