"""The classifier's rules, on texts; the logs of the real server are judged in test_corpus.py."""

import signal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core import causes
from reconciler.core.causes import Diagnosis, Ending
from reconciler.core.clean import clean
from reconciler.core.model import Exit
from reconciler.core.spec import ServerSpec
from reconciler.engines.diagnosis import diagnose
from reconciler.engines.log_causes import PROGRAM, STARTING

FAILED = Exit(code=1)
ABORTED = Exit(signal=signal.SIGABRT)
KILLED = Exit(signal=signal.SIGKILL)
SEGFAULT = Exit(signal=signal.SIGSEGV)
SERVES = "0.01.000.001 I srv  llama_server: listening on http://127.0.0.1:8001"
BEGUN = "0.02.000.001 I slot launch_slot_: id  {} | task {} | processing task, is_child = 0"
ENDED = "0.03.000.001 I slot      release: id  {} | task {} | stop processing: n_tokens = 86, truncated = 0"


def at_start(end: Exit, *lines: str, **known: Any) -> Diagnosis:
    return diagnose(Ending(end, "\n".join(lines), "Starting", **known))


def while_serving(end: Exit, *lines: str, **known: Any) -> Diagnosis:
    return diagnose(Ending(end, "\n".join(lines), "Ready", **known))


# As llama.cpp's backends word them; they need a GPU to be seen.
CUDA = (
    "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9866.00 MiB on device 1: cudaMalloc failed: out of memory"
)
PINNED = "ggml_cuda_host_malloc: failed to allocate 1900.00 MiB of pinned memory: CUDA error: out of memory"
RETRY = "sched_reserve: compute buffer allocation failed, retrying without pipeline parallelism"


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ([CUDA, "error loading model: unable to allocate CUDA0 buffer"], "GpuOutOfMemory"),
        (["alloc_tensor_range: failed to allocate CUDA0 buffer of size 9", "unable to proceed"], "GpuOutOfMemory"),
        ([CUDA, "failed to initialize the context: failed to allocate compute pp buffers"], "GpuOutOfMemory"),
        (["ggml_vulkan: Device memory allocation of size 118497280 failed."], "GpuOutOfMemory"),
        (["ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory"], "GpuOutOfMemory"),
        (["CUDA error: out of memory", "  current device: 0"], "GpuOutOfMemory"),
        (["CUDA error 2 at /build/ggml-cuda.cu:6301: out of memory"], "GpuOutOfMemory"),
        (["CUDA error: the resource allocation failed"], "GpuOutOfMemory"),
        (["llama_model_load: error loading model: unable to allocate ROCm0 buffer"], "GpuOutOfMemory"),
        (["Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)"], "GpuOutOfMemory"),
        (["CUDA error: no CUDA-capable device is detected"], "GpuUnavailable"),
        (["CUDA error: CUDA driver version is insufficient for CUDA runtime version"], "GpuUnavailable"),
        (["ROCm error: no ROCm-capable device is detected"], "GpuUnavailable"),
        (["ROCm error: invalid device function"], "GpuUnavailable"),
        (["CUDA error 209 at /build/ggml-cuda.cu:6701: no kernel image is available for execution"], "GpuUnavailable"),
        (["CUDA error: the provided PTX was compiled with an unsupported toolchain."], "GpuUnavailable"),
        (
            ["llama_init_from_model: failed to initialize the context: failed to initialize CUDA0 backend"],
            "GpuUnavailable",
        ),
        (["  what():  vk::createInstance: ErrorIncompatibleDriver"], "GpuUnavailable"),
        (["llama_prepare_model_devices: invalid value for main_gpu: 1 (available devices: 0)"], "GpuUnavailable"),
        (["ggml_metal_buffer_init: error: failed to allocate buffer, size = 4096.00 MiB"], "GpuOutOfMemory"),
        (["Native API failed. Native API returns: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"], "GpuOutOfMemory"),
        ([PINNED, "alloc_tensor_range: failed to allocate CPU buffer"], "HostOutOfMemory"),
        (["llama_model_load: error loading model: unable to allocate CUDA_Host buffer"], "HostOutOfMemory"),
        (["vk::Device::allocateMemory: ErrorOutOfHostMemory"], "HostOutOfMemory"),
        (
            ["llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache"],
            "ContextTooLarge",
        ),
        (["terminate called after throwing an instance of 'std::bad_alloc'"], "HostOutOfMemory"),
        (["llama_model_load: error loading model: missing tensor 'blk.0.attn_q.weight'"], "ModelBroken"),
        (["llama_model_load: error loading model: something new"], "ModelBroken"),
        (["common_download_file_single_online: download failed after 3 attempts"], "DownloadFailed"),
        (["CUDA error: an illegal memory access was encountered"], "Crashed"),
        (["ggml.c:1: GGML_ASSERT(x) failed", "#3 main ()"], "Crashed"),
        ([], "Crashed"),
    ],
)
def test_lines_that_were_not_provoked(lines: list[str], cause: str) -> None:
    found = at_start(ABORTED, *lines)
    assert found.cause == cause
    told = {line.strip() for line in lines} | {f"SIGABRT: {line.strip()}" for line in lines} | {"SIGABRT"}
    assert told & set(found.evidence)


# ---------------------------------------------------------------- precision before recall


@pytest.mark.parametrize(
    "lines",
    [
        ["warning: failed to mlock 5-byte buffer: Cannot allocate memory", "strange trouble"],
        ["E gguf_init_from_file: failed to open GGUF file '/m/a.gguf' (Too many open files)"],
        ["E llama_adapter_lora_init: failed to open '/m/a.gguf': Input/output error"],
        ["E llama_model_load: error loading model: read error: Input/output error"],
        ["E srv load_model: failed to load model, '/m/a.gguf'"],
        ["E llama_model_load: error loading model: unable to allocate RPC0 buffer"],
        ["E ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected", "strange trouble"],
        ["gdb: error while loading shared libraries: libicudata.so.72: failed to map segment from shared object"],
        ["I srv load_model: loading model '/m/out of memory.gguf'"],
    ],
)
def test_what_only_sounds_like_a_cause_is_not_named(lines: list[str]) -> None:
    found = at_start(FAILED, *lines)
    assert found.cause == "Unknown"
    assert lines[-1][2 * lines[-1].startswith(("E ", "I ")) :] in found.evidence[-1]


def test_an_error_that_was_survived_is_not_the_cause() -> None:
    assert at_start(ABORTED, CUDA, RETRY, "model loaded").cause == "Crashed"
    absent = "gguf_init_from_file: failed to open GGUF file '/no/x' (No such file or directory)"
    assert at_start(FAILED, absent, "no valid control vector files passed", "strange trouble").cause == "Unknown"


def test_an_error_in_an_earlier_request_is_not_the_cause() -> None:
    refused = 'srv operator(): got exception: {"error":{"code":500,"message":"std::bad_alloc"}}'
    lines = [SERVES, BEGUN.format(0, 0), refused, ENDED.format(0, 0), BEGUN.format(0, 9), ENDED.format(0, 9)]
    assert while_serving(SEGFAULT, *lines).cause == "Crashed"
    assert while_serving(SEGFAULT, *lines[:3]).cause == "CrashedInRequest"


def test_the_failures_of_a_start_are_not_looked_for_in_one_that_served() -> None:
    lines = ["gguf_init: failed to open x: No such file or directory", "unknown trouble"]
    assert while_serving(FAILED, *lines) == Diagnosis("Unknown", ("unknown trouble",))
    assert at_start(FAILED, *lines).cause == "ModelMissing"


def test_memory_can_run_out_while_serving() -> None:
    assert while_serving(ABORTED, SERVES, CUDA) == Diagnosis(
        "GpuOutOfMemory", ("cudaMalloc failed: out of memory, allocating 9.6 GiB", CUDA)
    )


def test_a_gpu_can_go_while_serving() -> None:
    for text in ("CUDA error: no CUDA-capable device is detected", "CUDA error: uncorrectable ECC error encountered"):
        assert while_serving(ABORTED, SERVES, text) == Diagnosis("GpuUnavailable", (text,))
    assert while_serving(ABORTED, SERVES, "CUDA error: unspecified launch failure").cause == "Crashed"


def test_the_newest_of_equal_lines_is_the_evidence() -> None:
    found = at_start(FAILED, "gguf_init: invalid magic characters: 'old'", "gguf_init: invalid magic characters: 'new'")
    assert found == Diagnosis("ModelBroken", ("gguf_init: invalid magic characters: 'new'",))


def test_a_model_that_was_seen_missing() -> None:
    assert at_start(FAILED, "gguf_init: invalid magic characters: ''", model_missing=True).cause == "ModelMissing"
    assert at_start(FAILED, "failed to load model, '/m/a'", model_missing=True) == Diagnosis(
        "ModelMissing", ("failed to load model, '/m/a'",)
    )
    assert at_start(FAILED, model_missing=True).cause == "ModelMissing"
    assert while_serving(FAILED, model_missing=True).cause == "Unknown"


# ---------------------------------------------------------------- signals


@pytest.mark.parametrize(
    ("evidence", "cause", "told"),
    [
        ("the kernel killed it: its memory cgroup /x was full", "OomKilled", "its memory cgroup /x was full"),
        ("", "KilledByUser", "the kernel killed nobody for memory"),
        (None, "Unknown", "cannot be read"),
    ],
)
@pytest.mark.parametrize("end", [KILLED, Exit(code=137)])
def test_sigkill_is_named_by_what_the_kernel_says(end: Exit, evidence: str | None, cause: str, told: str) -> None:
    for found in (
        at_start(end, CUDA, killed_for_memory=evidence),
        while_serving(end, SERVES, killed_for_memory=evidence),
    ):
        assert found.cause == cause
        assert told in found.evidence[0]


def test_the_kernels_word_names_an_end_of_which_only_the_parent_knew() -> None:
    assert while_serving(Exit(), SERVES, killed_for_memory="the kernel killed it").cause == "OomKilled"
    assert while_serving(Exit(), SERVES).cause == "Unknown"
    assert while_serving(Exit(), SERVES, "I srv operator(): cleaning up before exit...").cause == "KilledByUser"


def test_what_the_kernel_says_of_another_end_is_not_asked() -> None:
    assert while_serving(SEGFAULT, SERVES, killed_for_memory="x").cause == "Crashed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_by_which_people_end_processes(number: signal.Signals) -> None:
    expected = Diagnosis("KilledByUser", (f"{number.name}, not sent from here",))
    assert at_start(Exit(signal=number)) == while_serving(Exit(code=128 + number), SERVES) == expected


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGXCPU, signal.SIGXFSZ, signal.SIGPIPE, signal.SIGRTMIN])
def test_a_signal_that_may_come_from_anybody(number: int) -> None:
    found = while_serving(Exit(signal=number), SERVES)
    assert found.cause == "Unknown"
    assert "not sent from here" in found.evidence[0]


def test_sigbus_means_a_changed_file_where_it_was_seen_to_have_changed() -> None:
    end = Exit(signal=signal.SIGBUS)
    unseen = Diagnosis("Crashed", ("SIGBUS: whether a file in use was changed cannot be told",))
    assert while_serving(end, SERVES) == at_start(end) == unseen
    assert while_serving(end, SERVES, model_changed=True).cause == "ModelFileChanged"
    assert while_serving(end, SERVES, model_changed=False) == Diagnosis("Crashed", ("SIGBUS",))


def test_an_unknown_instruction_is_the_programs_fault_at_the_start_alone() -> None:
    end = Exit(signal=signal.SIGILL)
    assert at_start(end).cause == "WrongArchitecture"
    assert at_start(end, "I srv load_model: loading model '/m/a.gguf'").cause == "WrongArchitecture"
    assert while_serving(end, SERVES).cause == "Crashed"


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (["I srv llama_server: model loaded", "warming up"], "Crashed"),
        (["ggml.c:1: GGML_ASSERT(x) failed"], "Crashed"),
        (["CUDA error: an illegal memory access was encountered"], "Crashed"),
        (["CUDA error: out of memory"], "GpuOutOfMemory"),
    ],
)
def test_an_abort_that_ends_in_an_unknown_instruction(lines: list[str], cause: str) -> None:
    assert at_start(Exit(signal=signal.SIGILL), *lines).cause == cause


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ([BEGUN.format(0, 4)], "CrashedInRequest"),
        ([BEGUN.format(0, 4), ENDED.format(0, 4)], "Crashed"),
        ([BEGUN.format(0, 4), BEGUN.format(1, 5), ENDED.format(1, 5)], "CrashedInRequest"),
        ([BEGUN.format(0, 4), ENDED.format(0, 4), BEGUN.format(0, 9)], "CrashedInRequest"),
        ([ENDED.format(0, 4)], "Crashed"),
        ([], "Crashed"),
    ],
)
def test_a_crash_within_a_request(lines: list[str], cause: str) -> None:
    assert while_serving(SEGFAULT, SERVES, *lines).cause == cause
    failed = "ggml.c:1: GGML_ASSERT(x) failed"
    assert while_serving(ABORTED, SERVES, *lines, failed).cause == cause
    assert while_serving(ABORTED, SERVES, *lines, failed).evidence[0] == f"SIGABRT: {failed}"
    assert at_start(SEGFAULT, *lines).cause == "Crashed"


# ---------------------------------------------------------------- exit codes


def test_an_end_by_itself_and_one_that_somebody_asked_for() -> None:
    assert while_serving(Exit(code=0), SERVES).cause == "Exited"
    assert while_serving(Exit(code=0), SERVES, "I srv operator(): cleaning up before exit...").cause == "KilledByUser"
    twice = "Received second interrupt, terminating immediately."
    assert while_serving(FAILED, SERVES, twice).cause == "KilledByUser"
    # A start that fails cleans up too.
    assert at_start(FAILED, "I cleaning up before exit...", "E exiting due to model loading error").cause == "Unknown"


@pytest.mark.parametrize(
    ("code", "line", "cause"),
    [
        (127, "/opt/run.sh: 2: exec: /opt/none: not found", "BinaryMissing"),
        (126, "/opt/run.sh: 2: exec: /opt/llama-server: Permission denied", "PermissionDenied"),
        (126, "run.sh: line 2: /opt/llama-server: cannot execute binary file: Exec format error", "WrongArchitecture"),
        (2, "/opt/run.sh: 2: exec: /opt/llama-server: Exec format error", "WrongArchitecture"),
        (127, "x: error while loading shared libraries: libx.so: cannot open: No such file", "SharedLibraryMissing"),
        (127, "x: l.so: cannot open shared object file: Permission denied", "PermissionDenied"),
        (1, "x: /lib/libc.so.6: version `GLIBC_2.38' not found (required by x)", "SharedLibraryMissing"),
        (127, "strange trouble", "Unknown"),
        (1, "/opt/run.sh: 2: x: not found", "Unknown"),
    ],
)  # fmt: skip
def test_what_a_script_in_its_place_says(code: int, line: str, cause: str) -> None:
    assert at_start(Exit(code=code), line) == Diagnosis(cause, (line,))


# ---------------------------------------------------------------- evidence


@pytest.mark.parametrize(
    ("spec", "lines", "told"),
    [
        (
            {"ctx": 32768, "parallel": 4, "gpuLayers": 99},
            [
                "ggml_cuda_alloc: allocating 5324.80 MiB on device 0: cudaMalloc failed: out of memory",
                "llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache",
            ],
            "cudaMalloc failed: out of memory, allocating 5.2 GiB for the KV cache (ctx 32768 × 4 slots)",  # noqa: RUF001 - times
        ),
        (
            {"ctx": 32768, "parallel": 1},
            ["ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 536870912", "for kv cache",
             "llama_kv_cache_init: failed to allocate buffer for kv cache"],
            "out of memory, allocating 512.0 MiB for the KV cache (ctx 32768)",
        ),
        (
            {"gpuLayers": 99},
            [CUDA, "llama_model_load: error loading model: unable to allocate CUDA0 buffer"],
            "cudaMalloc failed: out of memory, allocating 9.6 GiB for the model's weights (gpuLayers 99)",
        ),
        ({}, ["llama_init: failed to initialize the context: std::bad_alloc"], "out of memory, allocating the context"),
        (None, ["ggml_a: insufficient memory (attempted to allocate  19.73 MB)"], "out of memory, allocating 19.7 MiB"),
    ],
)  # fmt: skip
def test_sizes_are_put_into_words(spec: dict[str, Any] | None, lines: list[str], told: str) -> None:
    known = None if spec is None else ServerSpec.model_validate({"model": "a.gguf", **spec})
    found = at_start(FAILED, *lines, spec=known)
    assert found.evidence[0] == told
    assert set(found.evidence[1:]) <= set(lines)
    assert len(found.evidence) > 1


def test_a_missing_device_shows_why_it_is_missing() -> None:
    why = "ggml_cuda_init: failed to initialize CUDA: CUDA driver version is insufficient for CUDA runtime version"
    wanted = 'error while handling argument "--device": invalid device: CUDA0'
    assert at_start(FAILED, why, wanted) == Diagnosis("GpuUnavailable", (why, wanted))


@pytest.mark.parametrize(
    ("end", "lines", "is_start", "evidence"),
    [
        (FAILED, [], True, ("exit code 1",)),
        (Exit(), ["", " "], True, ("exit status unknown",)),
        (FAILED, ["one", "two", ""], True, ("two",)),
        (FAILED, ["0.01.002 I well", "0.01.003 E the root", "0.01.004 E what follows"], True,
         ("the root", "what follows")),
        (FAILED, ["0.01.003 E an old one", "0.09.004 I the last"], False, ("the last",)),
        (FAILED, ['{"type":"log","time":1,"level":"error","msg":"the root\\n"}', "{"], True, ("the root", "{")),
    ],
)  # fmt: skip
def test_unknown_shows_the_most_telling_lines(
    end: Exit, lines: list[str], *, is_start: bool, evidence: tuple[str, ...]
) -> None:
    assert (at_start if is_start else while_serving)(end, *lines) == Diagnosis("Unknown", evidence)


def test_evidence_has_neither_colours_nor_control_characters_nor_the_time() -> None:
    (told,) = at_start(FAILED, "\x1b[34m0.1.2\x1b[0m \x1b[31mE \x1b[0mbad\x07\x1b[2Jthing" + "x" * 1000).evidence
    assert told.startswith("bad thing")
    assert len(told) == 300


_EXITS = st.one_of(
    st.builds(Exit, code=st.integers(0, 255)), st.builds(Exit, signal=st.integers(1, 64)), st.just(Exit())
)
_LINES = st.lists(st.one_of(st.text(max_size=80), st.sampled_from([CUDA, PINNED, RETRY, SERVES, BEGUN.format(0, 1)])))


@given(end=_EXITS, lines=_LINES, phase=st.sampled_from(["Starting", "Ready"]), kernel=st.sampled_from([None, "", "x"]))
def test_every_end_is_called_by_a_name_of_the_list(end: Exit, lines: list[str], phase: Any, kernel: str | None) -> None:
    found = diagnose(Ending(end, "\n".join(lines), phase, killed_for_memory=kernel))
    assert found.cause in causes.CAUSES
    assert 1 <= len(found.evidence) <= 3
    assert all(line and clean(line) == line and len(line) <= 300 for line in found.evidence)
    assert len(set(found.evidence)) == len(found.evidence)


def test_the_tables_name_causes_of_the_list() -> None:
    assert {cause for cause, _ in (*PROGRAM, *STARTING)} <= set(causes.CAUSES)
