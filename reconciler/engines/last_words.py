"""What a llama-server that served says last, in the very lines that end its log.

Its log repeats what clients send, line breaks included: a grammar that cannot be parsed, a template, with `-v` whole
prompts. So only what is worded as ggml words it, from the beginning of a line on, and what nothing but a crash's own
lines follow, counts here; a server that goes on after a request says something else.
"""

import re
from collections.abc import Iterator, Sequence

from reconciler.core.spec import CauseName
from reconciler.engines.log_causes import GPU_GONE, NVIDIA_LIKE
from reconciler.engines.log_lines import Line

_WHAT = r"(what\(\): +|terminate called after throwing an instance of ')"
_ROWS: tuple[tuple[CauseName, str], ...] = (
    # From llama.cpp's texts, but for the last two: they need a GPU to be seen.
    *GPU_GONE,
    ("GpuOutOfMemory", rf"^{NVIDIA_LIKE}: (out of memory|the resource allocation failed)$"),
    ("GpuOutOfMemory", r"^ggml_\w+: (?!.*pinned memory).*Malloc\w* failed: out of memory$"),
    ("GpuOutOfMemory", r"^ggml_vulkan: (Device memory allocation of size \d+ failed|.*ErrorOutOfDeviceMemory)"),
    ("GpuOutOfMemory", rf"^{_WHAT}?vk::.*(ErrorOutOfDeviceMemory|OutOfDeviceMemoryError)"),
    ("GpuOutOfMemory", r"^(ggml_metal\w*: )?error: Insufficient Memory \(\w+:kIOGPUCommandBufferCallbackError"),
    ("GpuOutOfMemory", r"^Native API failed\. Native API returns: \d+ \(UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY\)"),
    ("HostOutOfMemory", rf"^{_WHAT}?vk::.*(ErrorOutOfHostMemory|OutOfHostMemoryError)"),
    ("HostOutOfMemory", r"^ggml_aligned_malloc: insufficient memory \(attempted to allocate"),
    ("HostOutOfMemory", rf"^{_WHAT}std::bad_alloc'?$"),
)
_CAUSES = tuple((cause, re.compile(pattern)) for cause, pattern in _ROWS)
_CRASH = re.compile(
    rf"^(\S+:\d+: (GGML_ASSERT|\w+ error$)|{NVIDIA_LIKE}: |{_WHAT}|Fatal signal: |Segmentation fault|Aborted)"
)
_ENDS = re.compile(rf"GGML_ASSERT|^{NVIDIA_LIKE}: |^what\(\): ")
_MERE = re.compile(r"^\S+:\d+: \w+ error$")
"""Says no more than that there was an error, which another line tells."""
_NEVER = re.compile(r"got exception:")
"""A request was answered with an error, and the server went on."""
_AROUND = re.compile(
    r"^(current device: \d+|\S+:\d+: \w+ error$|(ggml_)?(cu|hip|mu|nccl)\w*\(.*\)$|terminate called after"
    r"|(ggml|llama|sched)_\w+: |(alloc_tensor_range|graph_\w+|process_ubatch|decode): "
    r"|\[(New LWP|Thread debugging|Inferior|Current thread)|Using host libthread_db|#\d+ |0x[0-9a-f]+ in |warning: "
    r"|(This GDB|Enable debuginfod|Debuginfod|gdb|lldb|BFD|ptrace|Error while reading shared|Can't read symbols)\b"
    r"|Recursive internal|Fatal signal|----- Backtrace|error creating backtrace|Segmentation fault|Aborted"
    r"|\S+: line \d+: +\d+ )"
)
"""What stands beside a cause: more of the same error, the abort's own words, a debugger's, a shell's."""


def causes_at_the_end(words: Sequence[Line]) -> Iterator[tuple[str, str]]:
    """Every cause that the last words name, the most precise first, with the newest such line."""
    for cause, pattern in _CAUSES:
        if text := next((line.text for line in reversed(words) if pattern.search(line.text)), ""):
            yield cause, text


def crash_at_the_end(lines: Sequence[Line]) -> str:
    """The newest line that tells of a crash, in the last words; empty: there is none."""
    told = [line.text for line in _words_back(lines) if _CRASH.search(line.text)]
    return next((text for text in told if not _MERE.search(text)), next(iter(told), ""))


def _words_back(lines: Sequence[Line]) -> Iterator[Line]:
    """The last words, the newest first."""
    for line in reversed(lines):
        text = line.text
        if line.is_news or _NEVER.search(text):
            return
        if not (_AROUND.search(text) or _CRASH.search(text) or any(pattern.search(text) for _, pattern in _CAUSES)):
            return
        yield line


def last_words(lines: Sequence[Line]) -> list[Line]:
    """Those back to the newest crash that is none of the causes: it is what ended it, whatever was said before."""
    found: list[Line] = []
    for line in _words_back(lines):
        is_cause = any(pattern.search(line.text) for _, pattern in _CAUSES)
        if not is_cause and _ENDS.search(line.text):
            break
        found.insert(0, line)
    return found
