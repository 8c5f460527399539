"""Keeping a llama-server off the GPUs: no layers there, no device opened, and no flag that asks for one."""

from collections.abc import Mapping

from reconciler.core.spec import ServerSpec
from reconciler.engines.flags import Value
from reconciler.engines.known_flags import words

HIDING: Mapping[str, str] = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "-1", "GGML_VK_VISIBLE_DEVICES": ""}
"""Variables that hide the GPUs from CUDA, ROCm and Vulkan: a context there would take memory, whatever lies on it.

HIP takes an empty list for none given, and Vulkan's -1 would be an error. Metal and SYCL have none that is safe to
set: there `--device none` must do.
"""
_DROPPED = words(
    "main-gpu tensor-split split-mode override-tensor fit-target mmproj-device spec-draft-override-tensor "
    "override-tensor-draft"
)
"""Flags that speak of devices by number or name: with none of them llama-server refuses some, and the rest are idle."""
_NEUTRAL: Mapping[str, Value] = {
    **dict.fromkeys(("spec-draft-device", "device-draft"), "none"),
    **dict.fromkeys(("spec-draft-ngl", "gpu-layers-draft", "n-gpu-layers-draft"), 0),
}
"""Flags that are given another value where they are written."""
_VARIABLES = frozenset(
    {
        "LLAMA_ARG_DEVICE",
        "LLAMA_ARG_MAIN_GPU",
        "LLAMA_ARG_TENSOR_SPLIT",
        "LLAMA_ARG_SPLIT_MODE",
        "LLAMA_ARG_OVERRIDE_TENSOR",
        "LLAMA_ARG_FIT_TARGET",
        "LLAMA_ARG_N_GPU_LAYERS_DRAFT",
        "MTMD_BACKEND_DEVICE",
    }
)
"""Variables that say what one of those flags says."""
_PROJECTS = frozenset({"mmproj", "mmproj-url", "mmproj-device", "mmproj-offload"})


def without_gpus(spec: ServerSpec) -> ServerSpec:
    """The spec of the same server on the CPU alone, with the GPUs hidden from it."""
    flags = {name: _NEUTRAL.get(name, value) for name, value in spec.flags.items() if name not in _DROPPED}
    if _PROJECTS & spec.flags.keys():
        flags["mmproj-offload"] = False
    flags["device"] = "none"
    env = {name: value for name, value in spec.env.items() if name not in _VARIABLES}
    return spec.model_copy(update={"gpu_layers": 0, "flags": flags, "env": {**env, **HIDING}})
