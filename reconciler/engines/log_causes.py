"""Which line of a llama-server's log names which cause, and at which time of its life.

The words are those of llama.cpp's source. What a machine without a GPU can provoke was provoked, and is in
tests/engines/logs; what needs a GPU is from the texts alone, and marked so.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from reconciler.core.spec import CauseName
from reconciler.engines.log_lines import Line

Row = tuple[CauseName, str]
_GPU = r"(CUDA|ROCm|HIP|MUSA|Vulkan|SYCL|Metal|MTL|CANN|OpenCL)"
_NVIDIA_LIKE = r"(CUDA|ROCm|HIP|MUSA) error( \d+ at \S+)?"
# gdb, which an abort calls for the stack, may itself lack a library.
_NOT_GDB = r"^(?!gdb|lldb)"

_PROGRAM: tuple[Row, ...] = (
    ("PermissionDenied", rf"{_NOT_GDB}.*cannot open shared object file: Permission denied"),
    ("SharedLibraryMissing", rf"{_NOT_GDB}.*(error while loading shared libraries|symbol lookup error)"),
    ("SharedLibraryMissing", r"^dyld.*Library not loaded|version `\S+' not found \(required by"),
    ("WrongArchitecture", rf"{_NOT_GDB}.*([Ee]xec format error|CPU ISA level is lower than required)"),
)
"""Before llama-server itself says anything; the second is also what a shell says for it."""
_GPU_GONE: tuple[Row, ...] = (
    # From llama.cpp's texts: they need a GPU, or a driver, to be seen.
    ("GpuUnavailable", rf"{_NVIDIA_LIKE}: (no (CUDA|ROCm)-capable device|(CUDA )?driver version is insufficient)"),
    ("GpuUnavailable", rf"{_NVIDIA_LIKE}: (initialization error|invalid device ordinal|system not yet initialized)"),
    ("GpuUnavailable", rf"{_NVIDIA_LIKE}: (no kernel image is|invalid device function|.*busy or unavailable)"),
    ("GpuUnavailable", rf"{_NVIDIA_LIKE}: (system has unsupported display driver|.*PTX was compiled with)"),
    ("GpuUnavailable", rf"{_NVIDIA_LIKE}: uncorrectable ECC error|rocBLAS error: Cannot read .* for GPU arch"),
)
_DEVICES: tuple[Row, ...] = (
    # From the texts too, but for the first, which was provoked on a machine without a GPU.
    ("GpuUnavailable", rf"invalid device: {_GPU}\d+"),
    ("GpuUnavailable", r"ErrorIncompatibleDriver|createDevice\w*: ErrorInitializationFailed"),
    ("GpuUnavailable", rf"failed to initialize {_GPU}\d* backend"),
    ("GpuUnavailable", r"invalid value for main_gpu: -?\d+ \(available devices: 0\)"),
)
_ARGUMENTS: tuple[Row, ...] = (
    ("PermissionDenied", r"error while handling argument .*Permission denied"),
    ("InvalidFlag", r"error: invalid argument:|error while handling (argument|environment variable)"),
    ("InvalidFlag", r"the argument has been removed|requires flash_attn to be enabled"),
    ("InvalidFlag", r"the server is built without SSL support|static assets path not found"),
    ("PortInUse", r"couldn't bind (HTTP server socket|to server socket)"),
)
_GPU_MEMORY: tuple[Row, ...] = (
    # From llama.cpp's texts.
    ("GpuOutOfMemory", rf"^(?!.*pinned memory).*(Malloc\w* failed|{_NVIDIA_LIKE}): out of memory"),
    ("GpuOutOfMemory", rf"{_NVIDIA_LIKE}: the resource allocation failed"),
    ("GpuOutOfMemory", r"Device memory allocation of size \d+ failed|ErrorOutOfDeviceMemory"),
    ("GpuOutOfMemory", r"Insufficient Memory|CallbackErrorOutOfMemory|ggml_metal\w*: .*failed to allocate buffer"),
    ("GpuOutOfMemory", r"UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY"),
    # `CUDA_Host` and the like are the machine's own memory, pinned for the GPU.
    ("GpuOutOfMemory", rf"(unable|failed) to allocate {_GPU}(?!_Host)\w* buffer"),
)
_MODEL: tuple[Row, ...] = (
    ("DownloadFailed", r"HTTPS is not supported"),
    ("DownloadFailed", r"failed to resolve commit|download failed|Download '.*' failed"),
    ("DownloadFailed", r"required file is not available in cache|no GGUF files found in repository"),
    ("DownloadFailed", r"not found in repository|Failed to (get|download) Docker|failed to load model, ''"),
    ("PermissionDenied", rf"{_NOT_GDB}.*(failed to|cannot|can't|could not) open .*Permission denied"),
    ("ModelMissing", r"failed to open .*No such file or directory"),
    # Any other error of opening says nothing of the model: no descriptor left, a disk that fails.
    ("Unknown", r"failed to open (GGUF file )?'.*'(: | \()(?!No such file|Permission denied)[A-Z]"),
    ("ModelBroken", r"invalid magic characters|failed to read magic|failed to open GGUF file|corrupted or incomplete"),
    ("ModelBroken", r"bad GGUF version|failed to apply lora adapter"),
    ("ModelBroken", r"unknown model architecture|not within the file bounds|missing tensor|wrong number of tensors"),
    ("ModelBroken", r"has wrong shape|error loading model (hyperparameters|vocabulary)|illegal split file|split count"),
)
_CONTEXT: tuple[Row, ...] = (
    ("ContextTooLarge", r"failed to initialize the context: .*(bad_alloc|allocate)|failed to allocate compute"),
    ("ContextTooLarge", r"failed to allocate buffer for kv cache"),
)
_HOST_MEMORY: tuple[Row, ...] = (
    ("HostOutOfMemory", r"std::bad_alloc|insufficient memory \(attempted"),
    # A model that may not be locked is read all the same.
    ("HostOutOfMemory", r"^(?!.*m(lock|advise)).*Cannot allocate memory"),
    ("HostOutOfMemory", r"(unable|failed) to allocate (CPU\w*|\w+_Host) buffer|ErrorOutOfHostMemory"),
)
_MODEL_AT_LAST: tuple[Row, ...] = (
    # What follows from another failure, or is the disk's, says nothing of the model.
    (
        "ModelBroken",
        r"error loading model: (?!.*(failed to load model|unable to allocate|mmap failed|read error))",
    ),
    ("ModelBroken", r"failed to load (draft|multimodal) model, '|failed to load lora adapter '"),
)

# In this order: what is precise before what merely follows from it.
STARTING = (
    *_PROGRAM,
    *_GPU_GONE,
    *_DEVICES,
    *_ARGUMENTS,
    *_GPU_MEMORY,
    *_MODEL,
    *_CONTEXT,
    *_HOST_MEMORY,
    *_MODEL_AT_LAST,
)
"""What can end a start."""
RUNNING = (*_GPU_GONE, *_GPU_MEMORY, *_HOST_MEMORY)
"""What can end one that served: the failures of a start are not looked for, a request may quote them."""
_TABLES = {
    phase: tuple((cause, re.compile(pattern)) for cause, pattern in rows)
    for phase, rows in (("Starting", STARTING), ("Ready", RUNNING))
}
_SUPPORTING = {"GpuUnavailable": re.compile(r"ggml_\w+: (failed to initialize \w+: |No devices found)")}
"""Lines that are no cause, for a server goes on without a GPU, but tell why."""
_CRASH = re.compile(rf"GGML_ASSERT|{_NVIDIA_LIKE}: |what\(\):|Fatal signal|DeviceLost|terminate called")


def causes_in(phase: Literal["Starting", "Ready"], lines: Sequence[Line]) -> Iterator[tuple[str, str]]:
    """Every cause that a line names, the most precise first, with the newest such line."""
    told = [line.text for line in lines if not line.is_news]
    for cause, pattern in _TABLES[phase]:
        if text := last(text for text in told if pattern.search(text)):
            yield cause, text


def support_for(cause: str, lines: Sequence[Line]) -> str:
    """The line that tells more about a cause that was found, if any."""
    pattern = _SUPPORTING.get(cause)
    return last(line.text for line in lines if pattern and pattern.search(line.text))


def crash_in(lines: Sequence[Line]) -> str:
    """The newest line that tells of a crash; empty: there is none."""
    return last(line.text for line in lines if _CRASH.search(line.text))


def last(texts: Iterable[str]) -> str:
    """The last, if any."""
    *_, newest = ("", *texts)
    return newest
