import signal
from pathlib import Path

import pytest

from reconciler.core.model import Exit
from reconciler.engines.diagnosis import CAUSES, diagnose, remedy

LOGS = Path(__file__).parent / "logs"
FAILED = Exit(code=1)
ABORTED = Exit(signal=signal.SIGABRT)


@pytest.mark.parametrize(
    ("log", "end", "cause", "evidence"),
    [
        ("port-taken", FAILED, "PortInUse", "couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8951"),
        ("host-unknown", FAILED, "PortInUse", "hostname: models.invalid"),
        ("model-missing", FAILED, "ModelMissing", "'/models/none.gguf' (No such file or directory)"),
        ("model-missing-jsonl", FAILED, "ModelMissing", "'/models/none.gguf' (No such file or directory)"),
        ("draft-missing", FAILED, "ModelMissing", "'/models/absent' (No such file or directory)"),
        ("projector-missing", FAILED, "ModelMissing", "'/models/absent' (No such file or directory)"),
        ("lora-missing", FAILED, "ModelMissing", "failed to open '/models/absent': No such file"),
        ("model-junk", FAILED, "ModelBroken", "invalid magic characters: 'this'"),
        ("model-empty", FAILED, "ModelBroken", "failed to read magic"),
        ("model-truncated", FAILED, "ModelBroken", "is not within the file bounds"),
        ("model-architecture", FAILED, "ModelBroken", "unknown model architecture: 'lxama'"),
        ("lora-junk", FAILED, "ModelBroken", "invalid magic characters: 'this'"),
        ("flag-unknown", FAILED, "InvalidFlag", "error: invalid argument: --no-such-flag"),
        ("flag-value", FAILED, "InvalidFlag", "unknown value for --flash-attn: 'maybe'"),
        ("flag-swallowed", FAILED, "InvalidFlag", "unknown value for --flash-attn: '--metrics'"),
        ("flag-removed", FAILED, "InvalidFlag", "use --spec-draft-n-max or"),
        ("template-missing", FAILED, "InvalidFlag", '"--chat-template-file": error: failed to open file'),
        ("environment-value", FAILED, "InvalidFlag", 'environment variable "LLAMA_ARG_CTX_SIZE"'),
        ("cache-needs-flash-attention", FAILED, "InvalidFlag", "quantized V cache requires flash_attn"),
        ("download-no-https", FAILED, "DownloadFailed", "HTTPS is not supported"),
        ("download-offline", FAILED, "DownloadFailed", "failed to load model, ''"),
        ("context-too-large", FAILED, "ContextTooLarge", "failed to initialize the context: std::bad_alloc"),
        ("host-memory", ABORTED, "HostOutOfMemory", "insufficient memory (attempted to allocate  19.73 MB)"),
        ("no-more-threads", ABORTED, "Crashed", "SIGABRT: what():  Resource temporarily unavailable"),
        ("shared-library-missing", Exit(code=127), "SharedLibraryMissing", "libllama-server-impl.so"),
        ("killed", Exit(signal=signal.SIGKILL), "Killed", "SIGKILL, not sent from here"),
        ("killed", Exit(code=137), "Killed", "SIGKILL, not sent from here"),
        ("killed", Exit(signal=signal.SIGTERM), "Killed", "SIGTERM, not sent from here"),
        ("terminated", Exit(code=0), "Exited", "exit code 0"),
        ("model-overwritten", Exit(signal=signal.SIGBUS), "ModelFileChanged", "SIGBUS"),
        ("aborted", ABORTED, "Crashed", "SIGABRT"),
        ("model-missing", Exit(), "ModelMissing", "No such file"),
    ],
)
def test_logs_of_the_real_server(log: str, end: Exit, cause: str, evidence: str) -> None:
    name, told = diagnose(end, (LOGS / f"{log}.log").read_text(), was_ready=False)
    assert name == cause
    assert evidence in told


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
        (["error loading model: unable to allocate ROCm0 buffer"], "GpuOutOfMemory"),
        (["Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)"], "GpuOutOfMemory"),
        ([PINNED, "failed to allocate CPU buffer"], "HostOutOfMemory"),
        (["failed to initialize the context: failed to allocate buffer for kv cache"], "ContextTooLarge"),
        (["terminate called after throwing an instance of 'std::bad_alloc'"], "HostOutOfMemory"),
        (["error loading model: missing tensor 'blk.0.attn_q.weight'"], "ModelBroken"),
        (["error loading model: something new"], "ModelBroken"),
        (["common_download_file_single_online: download failed after 3 attempts"], "DownloadFailed"),
        (["CUDA error: an illegal memory access was encountered"], "Crashed"),
        (["ggml.c:1: GGML_ASSERT(x) failed", "#3 main ()"], "Crashed"),
        ([], "Crashed"),
    ],
)
def test_lines_that_were_not_provoked(lines: list[str], cause: str) -> None:
    name, evidence = diagnose(ABORTED, "\n".join(lines), was_ready=False)
    assert name == cause
    assert evidence.removeprefix("SIGABRT: ") in [*lines, "SIGABRT"]


def test_an_error_that_was_survived_is_not_the_cause() -> None:
    log = f"{CUDA}\n{RETRY}\nmodel loaded\n"
    assert diagnose(ABORTED, log, was_ready=False)[0] == "Crashed"


def test_the_failures_of_a_start_are_not_looked_for_in_one_that_served() -> None:
    log = "prompt: why does it say failed to open x: No such file or directory?\nunknown trouble\n"
    assert diagnose(FAILED, log, was_ready=True) == ("Unknown", "unknown trouble")
    assert diagnose(FAILED, log, was_ready=False)[0] == "ModelMissing"


def test_memory_can_run_out_while_serving() -> None:
    assert diagnose(ABORTED, f"listening on http://x\n{CUDA}\n", was_ready=True) == ("GpuOutOfMemory", CUDA)


def test_the_newest_of_equal_lines_is_the_evidence() -> None:
    log = "invalid magic characters: 'old'\ninvalid magic characters: 'new'\n"
    assert diagnose(FAILED, log, was_ready=False) == ("ModelBroken", "invalid magic characters: 'new'")


def test_a_model_that_was_seen_missing() -> None:
    assert diagnose(FAILED, "failed to load model, '/models/a'", was_ready=False, model_missing=True) == (
        "ModelMissing",
        "failed to load model, '/models/a'",
    )
    assert diagnose(FAILED, "", was_ready=False, model_missing=True)[0] == "ModelMissing"
    assert diagnose(FAILED, "", was_ready=True, model_missing=True)[0] == "Unknown"


@pytest.mark.parametrize(
    ("end", "log", "was_ready", "evidence"),
    [
        (FAILED, "", False, "exit code 1"),
        (Exit(), "\n \n", False, "exit status unknown"),
        (FAILED, "one\ntwo\n\n", False, "two"),
        (FAILED, "0.01.002 I all well\n0.01.003 E the root\n0.01.004 E what follows\n", False, "0.01.003 E the root"),
        (FAILED, "0.01.003 E an old one\n0.09.004 I the last\n", True, "0.09.004 I the last"),
    ],
)
def test_unknown_shows_the_most_telling_line(end: Exit, log: str, was_ready: bool, evidence: str) -> None:
    assert diagnose(end, log, was_ready=was_ready) == ("Unknown", evidence)


def test_evidence_is_one_short_line_without_control_characters() -> None:
    _, evidence = diagnose(
        FAILED, "\x1b[34m0.1\x1b[0m \x1b[31mE \x1b[0mbad\x07\x1b[2Jthing" + "x" * 1000, was_ready=False
    )
    assert evidence.startswith("0.1 E bad thing")
    assert len(evidence) == 300


@pytest.mark.parametrize("cause", sorted(CAUSES))
def test_each_cause_has_its_remedy_with_the_server_in_its_commands(cause: str) -> None:
    told = remedy(cause, "coder")
    assert told.endswith((".", "`."))
    assert "{server}" not in told
    assert all(verb in ("logs", "restart", "describe", "validate", "stop") for verb in _verbs(told))


def _verbs(text: str) -> list[str]:
    return [part.split()[0] for part in text.split("`reconciler ")[1:]]


def test_an_unheard_of_cause_leads_to_the_log() -> None:
    assert remedy("Novel", "coder") == "Read the end of its log: `reconciler logs coder`."
