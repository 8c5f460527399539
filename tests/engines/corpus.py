"""The logs by which the diagnosis is judged, each with how it ended and what it is to be called.

`provoked`: made by the real llama-server (see tests/engines/provoke.py). `from texts`: put together from llama.cpp's
own words, for what needs a GPU or another machine.
"""

import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from reconciler.core.causes import Ending
from reconciler.core.model import Exit
from reconciler.core.spec import ServerSpec
from reconciler.engines import llama_server

LOGS = Path(__file__).parent / "logs"
FAILED = Exit(code=1)


def _by(number: signal.Signals) -> Exit:
    return Exit(signal=number)


@dataclass(frozen=True, slots=True)
class Sample:
    """One end."""

    log: str
    """The file's name without its `.log`."""
    cause: str
    """What it truly was; `Unknown` where no name of the list fits, or nothing tells."""
    evidence: str = ""
    """A part of what is to be shown for it."""
    exit: Exit = FAILED
    phase: Literal["Starting", "Ready"] = "Starting"
    spec: Mapping[str, Any] | None = None
    model_missing: bool = False
    model_changed: bool | None = None
    may_not_listen: bool = False
    killed_for_memory: str | None = None
    is_later: bool = False
    """It was added once the patterns had been written for the others: how it is called is what they are worth."""
    called: str = ""
    """What it is called, where that is not what it was: a miss that is known."""
    source: Literal["provoked", "from texts"] = "provoked"

    @property
    def ending(self) -> Ending:
        """As the observer would tell it."""
        return Ending(
            exit=self.exit,
            log_tail=(LOGS / f"{self.log}.log").read_text(errors="replace"),
            phase=self.phase,
            spec=ServerSpec.model_validate({"model": "tiny.gguf", **self.spec}) if self.spec is not None else None,
            model_missing=self.model_missing,
            model_changed=self.model_changed,
            may_not_listen=self.may_not_listen,
            killed_for_memory=self.killed_for_memory,
        )


_READY: Mapping[str, Any] = {"phase": "Ready"}
_CHANGED: Mapping[str, Any] = {"phase": "Ready", "model_changed": True}
_KMSG = "Memory cgroup out of memory: Killed process 4711 (llama-server) total-vm:612124kB, anon-rss:130212kB"
PROVOKED = (
    # files
    Sample("model-missing", "ModelMissing", "'/models/none.gguf' (No such file or directory)"),
    Sample("model-missing-jsonl", "ModelMissing", "'/models/none.gguf' (No such file or directory)"),
    Sample("model-missing", "ModelMissing", "No such file", exit=Exit()),
    Sample("model-junk", "ModelMissing", exit=FAILED, model_missing=True),
    Sample("draft-missing", "ModelMissing", "'/models/absent' (No such file or directory)"),
    Sample("projector-missing", "ModelMissing", "'/models/absent' (No such file or directory)"),
    Sample("lora-missing", "ModelMissing", "failed to open '/models/absent': No such file"),
    Sample("model-junk", "ModelBroken", "invalid magic characters: 'this'"),
    Sample("model-empty", "ModelBroken", "failed to read magic"),
    Sample("model-zeros", "ModelBroken", "bad GGUF version: 0"),
    Sample("model-truncated", "ModelBroken", "is not within the file bounds"),
    Sample("model-architecture", "ModelBroken", "unknown model architecture: 'lxama'"),
    Sample("lora-junk", "ModelBroken", "invalid magic characters: 'this'"),
    Sample("lora-is-a-model", "ModelBroken", "expect general.type to be 'adapter'"),
    Sample("projector-junk", "ModelBroken", "invalid magic characters: 'this'"),
    Sample("model-unreadable", "PermissionDenied", "(Permission denied)"),
    Sample("lora-unreadable", "PermissionDenied", "Permission denied"),
    Sample("model-overwritten", "ModelFileChanged", "SIGBUS", exit=_by(signal.SIGBUS), **_CHANGED),
    Sample("model-overwritten", "ModelFileChanged", "SIGBUS", exit=Exit(code=128 + signal.SIGBUS), **_CHANGED),
    # ports
    Sample("port-taken", "PortInUse", "couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8951"),
    Sample("host-unknown", "PortInUse", "hostname: models.invalid"),
    Sample("host-elsewhere", "PortInUse", "hostname: 192.0.2.1"),
    Sample("port-privileged", "PermissionDenied", "port: 80", may_not_listen=True),
    # flags
    Sample("flag-unknown", "InvalidFlag", "error: invalid argument: --no-such-flag"),
    Sample("flag-value", "InvalidFlag", "unknown value for --flash-attn: 'maybe'"),
    Sample("flag-number", "InvalidFlag", '"--ctx-size": stoi'),
    Sample("flag-without-value", "InvalidFlag", "expected value for argument"),
    Sample("flag-swallowed", "InvalidFlag", "unknown value for --flash-attn: '--metrics'"),
    Sample("flag-removed", "InvalidFlag", "use --spec-draft-n-max or"),
    Sample("template-missing", "InvalidFlag", '"--chat-template-file": error: failed to open file'),
    Sample("grammar-missing", "InvalidFlag", '"--grammar-file": error: failed to open file'),
    Sample("slots-folder-missing", "InvalidFlag", "not a directory: /models/absent"),
    Sample("certificate", "InvalidFlag", "the server is built without SSL support"),
    Sample("environment-value", "InvalidFlag", 'environment variable "LLAMA_ARG_CTX_SIZE"'),
    Sample("cache-needs-flash-attention", "InvalidFlag", "quantized V cache requires flash_attn"),
    # memory
    Sample("context-too-large", "ContextTooLarge", "failed to initialize the context: std::bad_alloc"),
    Sample("context-buffer", "ContextTooLarge", spec={"ctx": 65536, "parallel": 1}),
    Sample("host-memory", "HostOutOfMemory", "insufficient memory (attempted", exit=_by(signal.SIGABRT)),
    Sample("weights-mapped", "HostOutOfMemory", "mmap failed: Cannot allocate memory"),
    Sample("weights-read", "HostOutOfMemory", "300.49 MB"),
    Sample("loading", "OomKilled", "out of memory", exit=_by(signal.SIGKILL), killed_for_memory=_KMSG),
    Sample("loading", "OomKilled", "out of memory", exit=Exit(code=137), killed_for_memory=_KMSG),
    Sample("killed", "OomKilled", "out of memory", exit=_by(signal.SIGKILL), killed_for_memory=_KMSG, **_READY),
    # the program
    Sample("shared-library-missing", "SharedLibraryMissing", "libllama-server-impl.so", exit=Exit(code=127)),
    Sample("said-nothing", "WrongArchitecture", "SIGILL", exit=_by(signal.SIGILL)),
    Sample("device-unknown", "GpuUnavailable", "invalid device: CUDA0"),
    # downloads
    Sample("download-no-https", "DownloadFailed", "HTTPS is not supported"),
    Sample("download-offline", "DownloadFailed", "failed to load model, ''"),
    # signals
    Sample("killed", "KilledByUser", "SIGKILL", exit=_by(signal.SIGKILL), killed_for_memory="", **_READY),
    Sample("loading", "KilledByUser", "SIGKILL", exit=_by(signal.SIGKILL), killed_for_memory=""),
    Sample("killed", "Unknown", "SIGKILL", exit=_by(signal.SIGKILL), killed_for_memory=None, **_READY),
    Sample("loading", "KilledByUser", "SIGTERM", exit=_by(signal.SIGTERM)),
    Sample("terminated", "KilledByUser", exit=Exit(code=0), **_READY),
    Sample("interrupted", "KilledByUser", exit=Exit(code=0), **_READY),
    Sample("interrupted-twice", "KilledByUser", exit=Exit(code=1), **_READY),
    Sample("aborted", "Crashed", "SIGABRT", exit=_by(signal.SIGABRT), **_READY),
    Sample("killed", "Crashed", "SIGSEGV", exit=_by(signal.SIGSEGV), **_READY),
    Sample("request-done", "Crashed", "SIGSEGV", exit=_by(signal.SIGSEGV), **_READY),
    Sample("request-cancelled", "Crashed", "SIGSEGV", exit=_by(signal.SIGSEGV), **_READY),
    Sample("request-at-work", "CrashedInRequest", "SIGSEGV", exit=_by(signal.SIGSEGV), **_READY),
    Sample("request-aborted", "CrashedInRequest", "SIGABRT", exit=_by(signal.SIGABRT), **_READY),
    Sample("grammar-forged", "Crashed", "SIGSEGV", exit=_by(signal.SIGSEGV), **_READY),
    Sample("loading", "Crashed", "SIGBUS: whether a file", exit=_by(signal.SIGBUS)),
    Sample("no-more-threads", "Crashed", "Resource temporarily unavailable", exit=_by(signal.SIGABRT)),
    Sample("too-many-threads", "Crashed", "SIGSEGV", exit=_by(signal.SIGSEGV)),
    # what has no name
    Sample("no-more-descriptors", "Unknown", "Too many open files"),
    Sample("said-nothing", "Unknown", "exit code 3", exit=Exit(code=3)),
    Sample("said-nothing", "Exited", "exit code 0", exit=Exit(code=0)),
)

_ABORTED = _by(signal.SIGABRT)
_TEXTS = (
    Sample("cuda-weights", "GpuOutOfMemory", "cudaMalloc failed: out of memory"),
    Sample("cuda-context", "GpuOutOfMemory", spec={"ctx": 131072, "parallel": 4, "gpuLayers": 99}),
    Sample("cuda-compute", "GpuOutOfMemory", "cudaMalloc failed: out of memory"),
    Sample("cuda-while-serving", "GpuOutOfMemory", "CUDA error: out of memory", exit=_ABORTED, **_READY),
    Sample("rocm-weights", "GpuOutOfMemory", "out of memory"),
    Sample("vulkan-weights", "GpuOutOfMemory", "memory allocation"),
    Sample("metal-memory", "GpuOutOfMemory", "Insufficient Memory", exit=_ABORTED, **_READY),
    Sample("sycl-context", "GpuOutOfMemory", "SYCL0 buffer"),
    Sample("cuda-no-kernel", "GpuUnavailable", "no kernel image is available", exit=_ABORTED),
    Sample("cuda-busy", "GpuUnavailable", "busy or unavailable", exit=_ABORTED),
    Sample("cuda-driver-old", "GpuUnavailable", "CUDA driver version is insufficient"),
    Sample("rocm-unsupported", "GpuUnavailable", "gfx1031", exit=_ABORTED),
    Sample("vulkan-driver", "GpuUnavailable", "ErrorIncompatibleDriver", exit=_ABORTED),
    Sample("cuda-illegal-access", "Crashed", "CUDA error", exit=_ABORTED, **_READY),
    Sample("vulkan-lost", "Crashed", "ErrorDeviceLost", exit=_ABORTED, **_READY),
    Sample("cuda-survived", "Crashed", "SIGSEGV", exit=_by(signal.SIGSEGV), **_READY),
    Sample("pipeline-retried", "Crashed", "SIGSEGV", exit=_by(signal.SIGSEGV), **_READY),
    Sample("assertion", "CrashedInRequest", "GGML_ASSERT", exit=_ABORTED, **_READY),
    Sample("pinned-memory", "HostOutOfMemory", "CPU buffer"),
    Sample("cuda-library-missing", "SharedLibraryMissing", "libcuda.so.1", exit=Exit(code=127)),
    Sample("mac-library-missing", "SharedLibraryMissing", "libllama.dylib", exit=_ABORTED),
    Sample("download-broken-off", "DownloadFailed", "download failed after 3 attempts"),
    Sample("tensor-missing", "ModelBroken", "missing tensor"),
)
_TERMINATED_WRAPPER = Exit(code=128 + signal.SIGTERM)
LATER = tuple(
    replace(sample, is_later=True)
    for sample in (
        Sample("draft-beyond-memory", "HostOutOfMemory"),
        Sample("context-buffer-jsonl", "ContextTooLarge", "kv cache"),
        Sample("context-buffer-verbose", "ContextTooLarge", "kv cache"),
        Sample("context-buffer-coloured", "ContextTooLarge", "kv cache"),
        Sample("context-buffer-terse", "ContextTooLarge", "kv cache"),
        Sample("context-buffer-silent", "ContextTooLarge", "exit code 1", called="Unknown"),
        Sample("request-at-work-jsonl", "CrashedInRequest", "SIGSEGV", exit=_by(signal.SIGSEGV), **_READY),
        Sample("request-at-work-coloured", "CrashedInRequest", "SIGSEGV", exit=_by(signal.SIGSEGV), **_READY),
        Sample("request-at-work-terse", "CrashedInRequest", exit=_by(signal.SIGSEGV), called="Crashed", **_READY),
        Sample("request-at-work-silent", "CrashedInRequest", exit=_by(signal.SIGSEGV), called="Crashed", **_READY),
        Sample("killed", "KilledByUser", "SIGTERM", exit=_TERMINATED_WRAPPER, **_READY),
        Sample("killed", "Crashed", "SIGSEGV", exit=Exit(code=128 + signal.SIGSEGV), **_READY),
        Sample("loading", "KilledByUser", "SIGHUP", exit=_by(signal.SIGHUP)),
        Sample("model-truncated", "ModelFileChanged", "SIGBUS", exit=_by(signal.SIGBUS), model_changed=True),
    )
)
_FOOLING = (
    # What only looks like a cause: a client's words, a script's, a file's, and errors that were survived.
    Sample("json-cut", "Unknown"),
    Sample("wrapper-lacks-library", "ModelBroken", "invalid magic characters"),
    Sample("wrapper-not-permitted", "Unknown", "nobody has heard of"),
    Sample("wrapper-opens-nothing", "Unknown", "nobody has heard of"),
    Sample("wrapper-flag", "Unknown", "nobody has heard of"),
    Sample("wrapper-around-old", "ModelBroken", "invalid magic characters"),
    Sample("old-metadata", "Unknown", "nobody has heard of"),
    Sample("old-template", "Unknown", "nobody has heard of"),
    Sample("old-path", "Unknown", "nobody has heard of"),
    Sample("german-open", "Unknown", "Keine Berechtigung"),
    Sample("grammar-unprefixed", "Crashed", "SIGSEGV", exit=_by(signal.SIGSEGV), **_READY),
    Sample("grammar-then-assertion", "Crashed", "GGML_ASSERT", exit=_ABORTED, **_READY),
    Sample("prompt-unprefixed", "Unknown", "nobody has heard of", **_READY),
    Sample("exception-handled", "Crashed", "GGML_ASSERT", exit=_ABORTED, **_READY),
    Sample("exception-last", "CrashedInRequest", "SIGSEGV", exit=_by(signal.SIGSEGV), **_READY),
    Sample("cuda-memory-then-access", "Crashed", "illegal memory access", exit=_ABORTED, **_READY),
    Sample("cuda-trap", "GpuOutOfMemory", "out of memory", exit=_by(signal.SIGILL)),
    Sample("loaded-then-trap", "Crashed", "SIGILL", exit=_by(signal.SIGILL)),
    Sample("threads-without-memory", "HostOutOfMemory", "Resource temporarily unavailable", exit=_ABORTED),
    Sample("cuda-with-stack", "GpuOutOfMemory", "CUDA error: out of memory", exit=_ABORTED, **_READY),
)
_LATER_TEXTS = (
    Sample("old-flag", "InvalidFlag", "--no-such-flag", called="Unknown"),
    Sample("old-port", "PortInUse", "8080"),
    Sample("old-port-older", "PortInUse", "8080"),
    Sample("old-model-missing", "ModelMissing", "No such file"),
    Sample("old-cuda-context", "GpuOutOfMemory", "cudaMalloc failed"),
    Sample("old-context", "ContextTooLarge", "kv cache"),
    Sample("prompt-with-errors", "Crashed", "SIGSEGV", exit=_by(signal.SIGSEGV), **_READY),
    Sample("bad-alloc-in-request", "HostOutOfMemory", "bad_alloc", exit=_ABORTED, **_READY),
    Sample("path-with-errors", "Unknown", "nobody has heard of"),
    Sample("cuda-lost", "Crashed", "CUDA error", exit=_ABORTED, **_READY),
    Sample("glibc-too-old", "SharedLibraryMissing", "GLIBC_2.38"),
    Sample("interrupted-by-wrapper", "KilledByUser", exit=Exit(code=137), killed_for_memory="", **_READY),
    Sample("docker-missing-gpu", "HostOutOfMemory", "mmap failed"),
    Sample("no-space", "DownloadFailed", "failed to load model"),
)
FROM_TEXTS = tuple(
    replace(sample, log=f"texts/{sample.log}", source="from texts", is_later=sample in _LATER_TEXTS)
    for sample in (*_TEXTS, *_FOOLING, *_LATER_TEXTS)
)
SAMPLES = (*PROVOKED, *LATER, *FROM_TEXTS)


def called(sample: Sample) -> str:
    """What the diagnosis calls it."""
    return llama_server.diagnose(sample.ending).cause


def confusion() -> Counter[tuple[str, str]]:
    """How often what was truly the first was called the second."""
    return Counter((sample.cause, called(sample)) for sample in SAMPLES)
