"""Which line of a llama-server's log names which cause of a start that failed.

The words are those of llama.cpp's source. What a machine without a GPU can provoke was provoked, and is in
tests/engines/logs; what needs a GPU is from the texts alone, and marked so.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from reconciler.core.spec import CauseName
from reconciler.engines.log_lines import Line, behind_the_last_own, from_the_first_own

Row = tuple[CauseName, str]
_GPU = r"(CUDA|ROCm|HIP|MUSA|Vulkan|SYCL|Metal|MTL|CANN|OpenCL)"
NVIDIA_LIKE = r"(CUDA|ROCm|HIP|MUSA) error( \d+ at \S+)?"
# gdb, which an abort calls for the stack, may itself lack a library.
_NOT_GDB = r"^(?!gdb|lldb)"
_SAID = r"^((srv|cmn|slot) +)?[\w()]+: "
"""The name of a function, with which llama.cpp begins what it says of itself."""
_OF_FILES = r"^((srv|cmn) +)?(gguf|llama|clip|mtmd|ggml|common|load)_\w+: "
_WHAT = r"^(what\(\): +|terminate called after throwing an instance of ')"
_QUOTES = re.compile(
    r"llama_model_loader: - |^(print_info|llm_load_print_meta)\b|example_format|chat template|loading model '"
)
"""Such lines repeat what a model's file, or its name, says."""

PROGRAM: tuple[Row, ...] = (
    ("PermissionDenied", rf"{_NOT_GDB}.*cannot open shared object file: Permission denied"),
    ("SharedLibraryMissing", rf"{_NOT_GDB}.*(error while loading shared libraries|symbol lookup error)"),
    ("SharedLibraryMissing", r"^dyld.*Library not loaded|version `\S+' not found \(required by"),
    ("WrongArchitecture", rf"{_NOT_GDB}.*([Ee]xec format error|CPU ISA level is lower than required)"),
)
"""Before llama-server itself says anything; the second is also what a shell says for it."""
GPU_GONE: tuple[Row, ...] = (
    # From llama.cpp's texts: they need a GPU, or a driver, to be seen.
    ("GpuUnavailable", rf"^{NVIDIA_LIKE}: (no (CUDA|ROCm)-capable device|(CUDA )?driver version is insufficient)"),
    ("GpuUnavailable", rf"^{NVIDIA_LIKE}: (initialization error|invalid device ordinal|system not yet initialized)"),
    ("GpuUnavailable", rf"^{NVIDIA_LIKE}: (no kernel image is|invalid device function|.*busy or unavailable)"),
    ("GpuUnavailable", rf"^{NVIDIA_LIKE}: (system has unsupported display driver|.*PTX was compiled with)"),
    ("GpuUnavailable", rf"^{NVIDIA_LIKE}: uncorrectable ECC error|^rocBLAS error: Cannot read .* for GPU arch"),
)
_DEVICES: tuple[Row, ...] = (
    # From the texts too, but for the first, which was provoked on a machine without a GPU.
    ("GpuUnavailable", rf"^error while handling .*invalid device: {_GPU}\d+"),
    ("GpuUnavailable", rf"{_WHAT}vk::.*(IncompatibleDriver|createDevice\w*: ErrorInitializationFailed)"),
    ("GpuUnavailable", rf"{_SAID}(failed to initialize the context: )?failed to initialize {_GPU}\d* backend"),
    ("GpuUnavailable", rf"{_SAID}invalid value for main_gpu: -?\d+ \(available devices: 0\)"),
)
_ARGUMENTS: tuple[Row, ...] = (
    ("PermissionDenied", r"^error while handling argument .*Permission denied"),
    ("InvalidFlag", r"^(error: invalid argument:|error while handling (argument|environment variable))"),
    ("InvalidFlag", rf"^the argument has been removed|{_SAID}.*requires flash_attn to be enabled"),
    ("InvalidFlag", rf"{_SAID}(the server is built without SSL support|.*static assets path not found)"),
    ("PortInUse", rf"({_SAID}|^)couldn't bind (HTTP server socket|to server socket)"),
)
_GPU_MEMORY: tuple[Row, ...] = (
    # From llama.cpp's texts.
    ("GpuOutOfMemory", rf"^(ggml_\w+: (?!.*pinned memory).*Malloc\w* failed|{NVIDIA_LIKE}): out of memory"),
    ("GpuOutOfMemory", rf"^{NVIDIA_LIKE}: the resource allocation failed"),
    ("GpuOutOfMemory", r"^ggml_vulkan: (Device memory allocation of size \d+ failed|.*ErrorOutOfDeviceMemory)"),
    ("GpuOutOfMemory", rf"({_WHAT}|^)vk::.*OutOfDeviceMemory"),
    ("GpuOutOfMemory", r"^(ggml_metal\w*: )?(error: )?(Insufficient Memory \(|.*CallbackErrorOutOfMemory)"),
    ("GpuOutOfMemory", r"^ggml_metal\w*: .*failed to allocate buffer"),
    ("GpuOutOfMemory", r"^Native API failed.*UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY"),
    # `CUDA_Host` and the like are the machine's own memory, pinned for the GPU.
    ("GpuOutOfMemory", rf"{_SAID}(.*: )?(unable|failed) to allocate {_GPU}(?!_Host)\w* buffer"),
)
_MODEL: tuple[Row, ...] = (
    ("DownloadFailed", rf"({_SAID}|^error).*HTTPS is not supported"),
    ("DownloadFailed", rf"{_SAID}.*(failed to resolve commit|download failed|Download '.*' failed)"),
    ("DownloadFailed", rf"{_SAID}.*(required file is not available in cache|no GGUF files found in repository)"),
    ("DownloadFailed", rf"{_SAID}.*(not found in repository|Failed to (get|download) Docker|failed to load model, '')"),
    ("PermissionDenied", rf"{_OF_FILES}.*(failed to|cannot|can't|could not) open .*Permission denied"),
    ("ModelMissing", rf"{_OF_FILES}.*failed to open .*No such file or directory"),
    # Any other error of opening says nothing of the model: no descriptor left, a disk that fails, another language.
    ("Unknown", rf"{_OF_FILES}.*failed to open (GGUF file )?'.*'(: | \()(?!'?No such file|'?Permission denied)"),
    ("ModelBroken", rf"{_SAID}.*(invalid magic characters|failed to read magic|failed to open GGUF file)"),
    ("ModelBroken", rf"{_SAID}.*(corrupted or incomplete|bad GGUF version|failed to apply lora adapter)"),
    ("ModelBroken", rf"{_SAID}.*(unknown model architecture|not within the file bounds|missing tensor)"),
    ("ModelBroken", rf"{_SAID}.*(wrong number of tensors|has wrong shape|illegal split file|split count)"),
    ("ModelBroken", rf"{_SAID}.*error loading model (hyperparameters|vocabulary)"),
)
_CONTEXT: tuple[Row, ...] = (
    ("ContextTooLarge", rf"{_SAID}.*failed to initialize the context: .*(bad_alloc|allocate)"),
    ("ContextTooLarge", rf"{_SAID}.*failed to allocate (compute|buffer for kv cache)"),
)
_HOST_MEMORY: tuple[Row, ...] = (
    ("HostOutOfMemory", rf"({_WHAT}|{_SAID}.*: )std::bad_alloc|{_SAID}insufficient memory \(attempted"),
    # A model that may not be locked is read all the same.
    ("HostOutOfMemory", rf"{_SAID}(?!.*m(lock|advise)).*Cannot allocate memory"),
    ("HostOutOfMemory", rf"{_SAID}.*(unable|failed) to allocate (CPU\w*|\w+_Host) buffer"),
    ("HostOutOfMemory", rf"({_WHAT}|^)vk::.*OutOfHostMemory"),
)
_MODEL_AT_LAST: tuple[Row, ...] = (
    # What follows from another failure, or is the disk's, says nothing of the model.
    (
        "ModelBroken",
        rf"{_SAID}error loading model: (?!.*(failed to load model|unable to allocate|mmap failed|read error))",
    ),
    ("ModelBroken", rf"{_SAID}.*(failed to load (draft|multimodal) model, '|failed to load lora adapter ')"),
)

# In this order: what is precise before what merely follows from it.
STARTING = (*GPU_GONE, *_DEVICES, *_ARGUMENTS, *_GPU_MEMORY, *_MODEL, *_CONTEXT, *_HOST_MEMORY, *_MODEL_AT_LAST)
"""What llama-server says of a start that it gives up."""
_BY_ITSELF = tuple((cause, re.compile(pattern)) for cause, pattern in STARTING)
_AROUND_IT = tuple((cause, re.compile(pattern)) for cause, pattern in PROGRAM)
_SUPPORTING = {"GpuUnavailable": re.compile(r"ggml_\w+: (failed to initialize \w+: |No devices found)")}
"""Lines that are no cause, for a server goes on without a GPU, but tell why."""
_CRASH = re.compile(rf"GGML_ASSERT|{NVIDIA_LIKE}: |what\(\):|Fatal signal|DeviceLost|terminate called")
_NO_THREAD = re.compile(rf"{_WHAT}Resource temporarily unavailable$")
_NO_ROOM = re.compile(r"^gdb: .*failed to map segment|^error creating backtrace: mmap: 12$|: memory exhausted$")
_PATH = re.compile(r"'[^']*/[^']*'")


def causes_in(lines: Sequence[Line]) -> Iterator[tuple[str, str]]:
    """Every cause that a line names, the most precise first, with the newest such line."""
    around = [line.text for line in behind_the_last_own(lines)]
    own = [line.text for line in from_the_first_own(lines) if not line.is_news and not _QUOTES.search(line.text)]
    for table, texts in ((_AROUND_IT, around), (_BY_ITSELF, own)):
        # What a file is called tells nothing.
        told = [(text, _PATH.sub("'/'", text)) for text in texts]
        for cause, pattern in table:
            if text := last(text for text, bare in told if pattern.search(bare)):
                yield cause, text
    if text := _thread_without_memory([line.text for line in lines]):
        yield "HostOutOfMemory", text


def _thread_without_memory(texts: Sequence[str]) -> str:
    """That a thread could not be begun for want of memory; empty: it was for something else, or nobody knows.

    By itself the error may as well be a limit of threads. But then the debugger that an abort calls could not be begun
    either, while one that was begun, and had no room, tells what was lacking.
    """
    text = last(text for text in texts if _NO_THREAD.search(text))
    return text if text and any(_NO_ROOM.search(other) for other in texts) else ""


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
