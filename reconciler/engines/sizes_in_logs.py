"""What a llama-server had no room for, in words: how much, for what, and at which settings."""

import re
from collections.abc import Sequence

from reconciler.core.spec import ServerSpec
from reconciler.engines.log_lines import Line

_MIB = 1024 * 1024
_SIZES = (
    (re.compile(r"allocating (\d+(?:\.\d+)?) MiB on device|failed to allocate (\d+(?:\.\d+)?) MiB"), _MIB),
    (re.compile(r"failed to allocate buffer, size = +(\d+(?:\.\d+)?) MiB"), _MIB),
    (re.compile(r"attempted to allocate +(\d+(?:\.\d+)?) MB"), _MIB),
    (re.compile(r"(?:buffer|allocation) of size (\d+)"), 1),
)
"""How a line tells a size, and its unit in bytes."""
_WORDS = re.compile(
    r"\w*Malloc\w* failed: out of memory|(?:CUDA|ROCm|HIP|MUSA) error(?: \d+ at \S+)?: out of memory"
    r"|ErrorOutOfDeviceMemory|Insufficient Memory"
)
_CACHE, _COMPUTE, _CONTEXT, _WEIGHTS = "the KV cache", "the compute buffers", "the context", "the model's weights"
_PURPOSES = (
    (re.compile(r"for kv cache"), _CACHE),
    (re.compile(r"failed to allocate compute"), _COMPUTE),
    (re.compile(r"failed to initialize the context|failed to create_?.?context"), _CONTEXT),
    (re.compile(r"error loading model|failed to load model"), _WEIGHTS),
)
"""What follows the failure tells what the memory was for; the first that fits."""


def shortfall(lines: Sequence[Line], spec: ServerSpec | None, *, of_gpu: bool) -> str:
    """One sentence; empty where the log tells nothing beyond its own words."""
    size = next((told for line in reversed(lines) if (told := _size(line.text))), "")
    purpose = next((whose for pattern, whose in _PURPOSES if any(pattern.search(line.text) for line in lines)), "")
    wanted = " for ".join(part for part in (size, purpose) if part)
    if not wanted:
        return ""
    words = [found[0] for line in lines if (found := _WORDS.search(line.text))] if of_gpu else []
    return f"{(words or ['out of memory'])[-1]}, allocating {wanted}{_settings(purpose, spec)}"


def _size(text: str) -> str:
    for pattern, unit in _SIZES:
        if found := pattern.search(text):
            return _told(float(found[found.lastindex or 1]) * unit)
    return ""


def _told(size: float) -> str:
    mebibytes = size / _MIB
    return f"{mebibytes / 1024:.1f} GiB" if mebibytes >= 1024 else f"{mebibytes:.1f} MiB"


def _settings(purpose: str, spec: ServerSpec | None) -> str:
    """The settings on which that much depends."""
    if spec is None:
        return ""
    if purpose == _WEIGHTS:
        return "" if spec.gpu_layers in (None, 0) else f" (gpuLayers {spec.gpu_layers})"
    if not purpose or spec.ctx is None:
        return ""
    slots = f" × {spec.parallel} slots" if spec.parallel and spec.parallel > 1 else ""  # noqa: RUF001 - times
    return f" (ctx {spec.ctx}{slots})"
