"""Why a llama-server ended: from its exit and its log's last lines to a named cause.

llama-server exits with 1 for every failure of a start, so only the log tells them apart. The lines are those of
llama.cpp's source; the ones that could be provoked are in tests/engines/logs.
"""

import re
import signal
from collections.abc import Iterable, Mapping

from reconciler.core.model import Exit

_AT_START = (
    # gdb, which an abort calls for the stack, may itself lack a library.
    ("SharedLibraryMissing", r"^(?!gdb|lldb).*(error while loading shared libraries|symbol lookup error)"),
    ("SharedLibraryMissing", r"^dyld.*Library not loaded"),
    ("InvalidFlag", r"error: invalid argument:|error while handling (argument|environment variable)"),
    ("InvalidFlag", r"the argument has been removed|requires flash_attn to be enabled"),
    ("PortInUse", r"couldn't bind (HTTP server socket|to server socket)"),
)
_AT_ANY_TIME = (
    ("GpuOutOfMemory", r"^(?!.*pinned memory).*(Malloc\w* failed|(CUDA|ROCm|HIP|MUSA) error): out of memory"),
    ("GpuOutOfMemory", r"Device memory allocation of size \d+ failed|ErrorOutOfDeviceMemory"),
    ("GpuOutOfMemory", r"Insufficient Memory|CallbackErrorOutOfMemory"),
    ("GpuOutOfMemory", r"(unable|failed) to allocate (CUDA|ROCm|Vulkan|SYCL|Metal|MTL|MUSA|CANN)\w* buffer"),
)
_LATER_AT_START = (
    ("DownloadFailed", r"HTTPS is not supported"),
    ("DownloadFailed", r"failed to resolve commit|download failed|Download '.*' failed"),
    ("DownloadFailed", r"required file is not available in cache|no GGUF files found in repository"),
    ("DownloadFailed", r"not found in repository|Failed to (get|download) Docker|failed to load model, ''"),
    ("ModelMissing", r"failed to open .*No such file or directory"),
    ("ModelBroken", r"invalid magic characters|failed to read magic|failed to open GGUF file|corrupted or incomplete"),
    ("ModelBroken", r"unknown model architecture|not within the file bounds|missing tensor|wrong number of tensors"),
    ("ModelBroken", r"has wrong shape|error loading model (hyperparameters|vocabulary)|illegal split file|split count"),
    ("ContextTooLarge", r"failed to initialize the context: .*(bad_alloc|allocate)|failed to allocate compute"),
    ("ContextTooLarge", r"failed to allocate buffer for kv cache"),
)
_LAST_AT_ANY_TIME = (
    ("HostOutOfMemory", r"std::bad_alloc|insufficient memory \(attempted|Cannot allocate memory"),
    ("HostOutOfMemory", r"(unable|failed) to allocate CPU\w* buffer"),
)
_LAST_AT_START = (
    ("ModelBroken", r"error loading model: (?!.*failed to load model from)"),
    ("ModelBroken", r"failed to load (model|draft model|multimodal model), '|failed to load lora adapter '"),
)

_Causes = tuple[tuple[str, re.Pattern[str]], ...]


def _compiled(*tables: tuple[tuple[str, str], ...]) -> _Causes:
    return tuple((cause, re.compile(pattern)) for table in tables for cause, pattern in table)


# In this order: what is precise before what merely follows from it.
_STARTING = _compiled(_AT_START, _AT_ANY_TIME, _LATER_AT_START, _LAST_AT_ANY_TIME, _LAST_AT_START)
_RUNNING = _compiled(_AT_ANY_TIME, _LAST_AT_ANY_TIME)

_OVERCOME = re.compile(r"\bmodel loaded\b|listening on http|retrying without pipeline parallelism")
"""Errors before such a line were survived."""
_CRASH = re.compile(r"GGML_ASSERT|(CUDA|ROCm|HIP|MUSA) error|what\(\):|Fatal signal|DeviceLost|terminate called")
_LEVEL_ERROR = re.compile(r"^[\d.]+ E |\"level\":\"error\"")
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_EVIDENCE_LENGTH = 300

_CRASHES = frozenset(
    {signal.SIGABRT, signal.SIGSEGV, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP, signal.SIGSYS, signal.SIGBUS}
)


def diagnose(exit_: Exit, log_tail: str, *, was_ready: bool, model_missing: bool = False) -> tuple[str, str]:
    """Name of the cause of an end nobody asked for, and the evidence for it.

    `was_ready`: whether it ever served; the failures of a start are then not looked for.
    `model_missing`: whether the model's file was seen to be missing.
    """
    number = _signal(exit_)
    if certain := _by_status(exit_, number):
        return certain
    lines = _lines_since_overcome(log_tail)
    if found := _first_cause(_RUNNING if was_ready else _STARTING, lines):
        cause, evidence = found
        return ("ModelMissing" if model_missing and cause == "ModelBroken" else cause), evidence
    if model_missing and not was_ready:
        return "ModelMissing", _last(lines)
    if number is not None:
        return "Crashed", _crash(number, lines)
    return "Unknown", _root_error(lines, was_ready) or str(exit_)


def _by_status(exit_: Exit, number: int | None) -> tuple[str, str] | None:
    """The cause where the log has no say: it may tell of older, survived troubles."""
    if exit_.code == 0:
        return "Exited", "exit code 0, which nobody here asked for"
    if number == signal.SIGBUS:
        return "ModelFileChanged", "SIGBUS: a file in use was overwritten or cut short"
    if number is not None and number not in _CRASHES:
        return "Killed", _killed(number)
    return None


def _signal(exit_: Exit) -> int | None:
    """The signal, also when a shell script around llama-server reports it as 128 + n."""
    if exit_.signal is not None:
        return exit_.signal
    number = (exit_.code or 0) - 128
    return number if number in signal.valid_signals() else None


def _killed(number: int) -> str:
    hint = "; often the kernel, when memory ran out (see `dmesg`)" if number == signal.SIGKILL else ""
    return f"{_name(number)}, not sent from here{hint}"


def _crash(number: int, lines: list[str]) -> str:
    telling = next((line for line in reversed(lines) if _CRASH.search(line)), _last(lines))
    return f"{_name(number)}: {telling}" if telling else _name(number)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _lines_since_overcome(log_tail: str) -> list[str]:
    lines = [clean for line in log_tail.splitlines() if (clean := _clean(line))]
    overcome = max((index for index, line in enumerate(lines) if _OVERCOME.search(line)), default=-1)
    return lines[overcome + 1 :]


def _clean(line: str) -> str:
    return _CONTROL.sub(" ", _COLOUR.sub("", line)).strip()[:_EVIDENCE_LENGTH]


def _first_cause(causes: _Causes, lines: list[str]) -> tuple[str, str] | None:
    for cause, pattern in causes:
        if line := _last(line for line in lines if pattern.search(line)):
            return cause, line
    return None


def _root_error(lines: list[str], was_ready: bool) -> str:
    """The first error of a start, from which the others follow; else the last line."""
    errors = [] if was_ready else [line for line in lines if _LEVEL_ERROR.search(line)]
    return errors[0] if errors else _last(lines)


def _last(lines: Iterable[str]) -> str:
    *_, last = ("", *lines)
    return last


_REMEDIES: Mapping[str, str] = {
    "PortInUse": "Free the port (`ss -ltnp` names its owner), or write `port: auto`; a host must be an address of "
    "this machine.",
    "ModelMissing": "Put the file named in the evidence in its place, or correct its path in the manifest.",
    "ModelBroken": "Copy or download the model again, or use a newer llama-server if it does not know its kind.",
    "GpuOutOfMemory": "Lower `gpuLayers`, `ctx` or `parallel` in the manifest, or stop what else uses the GPU.",
    "HostOutOfMemory": "Lower `ctx` or `parallel` in the manifest, or use a smaller model.",
    "ContextTooLarge": "Lower `ctx` or `parallel` in the manifest.",
    "InvalidFlag": "Correct the flag under `spec.flags`; `llama-server --help` lists those of this build.",
    "DownloadFailed": "Check the network, the name under `model: {hf: …}` and HF_TOKEN, or download the file and "
    "write its path as `model`.",
    "SharedLibraryMissing": "Install the library named in the evidence, or name its folder in the controller's "
    "environment: `export LD_LIBRARY_PATH=<folder>`, and run the controller again.",
    "ModelFileChanged": "Replace model files by renaming the new one into place, never by overwriting.",
    "Killed": "If memory ran out, lower `ctx` or `parallel` in the manifest; "
    "`reconciler describe server {server}` shows how often.",
    "Crashed": "Read the end of its log (`reconciler logs {server}`); a newer llama-server or other flags may help.",
    "Exited": "Somebody stopped it from outside; to have it stopped, run `reconciler stop {server}`.",
    "Unknown": "Read the end of its log: `reconciler logs {server}`.",
}
CAUSES: frozenset[str] = frozenset(_REMEDIES)
"""All the names that `diagnose` gives."""


def remedy(cause: str, server: str) -> str:
    """One sentence of what to do about a cause."""
    return _REMEDIES.get(cause, _REMEDIES["Unknown"]).replace("{server}", server)
