"""Settings with less that may do where memory or the GPU does not suffice for what was asked for."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.core.trouble import EASED, Facts, OnGpu, Trouble, setting, unsetting

EASED_BY_CTX = EASED - {"GpuUnavailable"}
GPU_CAUSES = frozenset({"GpuOutOfMemory", "GpuUnavailable"})
LEAST_CTX = 256
"""Tokens of context that are of no use to anybody."""
USUAL_CTX = 16384
"""Tokens that are taken to be asked for where nobody knows."""
MOST_HOLDERS = 2
GIB = 1024**3
CPU_ALONE: Mapping[str, Any] = {"gpuLayers": 0, "flags.device": "none", "env.CUDA_VISIBLE_DEVICES": ""}
"""What keeps a server off the GPUs: fewer layers alone would still open the driver."""
_OF_GPUS = frozenset({"main-gpu", "tensor-split", "split-mode", "override-tensor", "fit-target", "device"})
"""Flags that go ill with that."""
_CTX = re.compile(r"\bctx (\d+)")


def safer_settings(trouble: Trouble, facts: Facts) -> Iterator[str]:
    """With its own numbers, the most usual one first; never what was tried already, and ended."""
    if trouble.reason not in EASED:
        return
    if trouble.spec.get("fallback") == "off":
        yield f"let safer settings be tried: {unsetting(trouble, 'fallback')}"
    keeps = _keeping(trouble) if trouble.state == "Degraded" else {}
    is_all_there_is = bool(keeps and trouble.changes) and not ({"gpuLayers", "model"} & trouble.changes.keys())
    if trouble.reason in EASED_BY_CTX and not is_all_there_is and (ctx := _less_context(trouble)):
        yield setting(trouble, {"ctx": ctx})
    if keeps:
        told = setting(trouble, keeps)
        yield told if is_all_there_is else f"keep what runs: {told}"
    elif trouble.reason in GPU_CAUSES:
        yield from _fewer_layers(trouble)
    if trouble.reason in GPU_CAUSES:
        holders = sorted((one for one in facts.on_gpu if one.server != trouble.name), key=lambda one: -one.taken)
        yield from (_freeing(one) for one in holders[:MOST_HOLDERS])


def _keeping(trouble: Trouble) -> dict[str, Any]:
    """All that makes what runs now what is asked for; nothing where that cannot be said."""
    if not trouble.changes:
        return _layers_that_run(trouble)
    found: dict[str, Any] = {}
    for field, value in trouble.changes.items():
        if field == "flags":
            found |= {f"flags.{flag}": one for flag, one in value.items()}
        else:
            found[field] = value
    if found.get("gpuLayers") != 0:
        return found
    return {} if _OF_GPUS & (trouble.spec.get("flags") or {}).keys() else {**found, **CPU_ALONE}


def _layers_that_run(trouble: Trouble) -> dict[str, Any]:
    effective = trouble.item["status"]["effective"] or {}
    layers = str(effective.get("gpuLayers") or ("0" if effective.get("device") == "CPU" else "")).partition("/")[0]
    return {"gpuLayers": int(layers)} if layers.isdigit() else {}


def _less_context(trouble: Trouble) -> int:
    """Tokens of context that are likely to do; 0: none that would be of use."""
    effective = trouble.item["status"]["effective"] or {}
    asked = trouble.spec.get("ctx") or effective.get("trainedContext") or USUAL_CTX
    failed = [int(found[1]) for one in trouble.tried if one["result"] and (found := _CTX.search(one["told"]))]
    half = int(min([asked, *failed]) // 2)
    return half if half >= LEAST_CTX else 0


def _fewer_layers(trouble: Trouble) -> Iterator[str]:
    """Where neither fewer layers nor the CPU alone were tried in vain."""
    tried = " ".join(one["told"] for one in trouble.tried if one["step"])
    layers = trouble.spec.get("gpuLayers")
    if "CPU only" in tried:
        return
    if trouble.reason == "GpuOutOfMemory" and isinstance(layers, int) and layers > 1 and "gpuLayers" not in tried:
        yield setting(trouble, {"gpuLayers": layers // 2})
    elif trouble.reason == "GpuUnavailable" and layers != 0:
        yield f"run it on the CPU: {setting(trouble, CPU_ALONE)}"


def _freeing(holder: OnGpu) -> str:
    held = f"holds {holder.taken / GIB:.1f} GiB"
    if holder.server:
        return f"free the GPU: reconciler stop {holder.server}   (it {held})"
    return f"free the GPU: pid {holder.pid} {holder.program} {held}"
