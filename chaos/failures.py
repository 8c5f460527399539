"""The failures that are provoked, as they were fixed before anything was measured.

Named: where it stays down, what its status says is `cause`; where it came back, the diagnosis of the first end is
(for what is no end, the event).
Back: the server is Ready again, or for the first time, with nothing typed. It is asked of those that a safer setting
or another try can help, and not of the rest, where a person has to mend something.
"""

from dataclasses import dataclass
from typing import Literal

SETTING: Literal["setting"] = "setting"
RETRY: Literal["retry"] = "retry"
STAND_IN: Literal["stand-in"] = "stand-in"


@dataclass(frozen=True, slots=True)
class Failure:
    """One way in which a server fails."""

    name: str
    cause: str
    """What it is to be called."""
    how: str
    """What is done, in a few words."""
    helps: Literal["setting", "retry", ""] = ""
    """What can help without a person: a safer setting, or another try; empty: neither."""
    by: Literal["real", "stand-in"] = "real"
    """`stand-in`: a script in llama-server's place plays what this machine's cannot, and else runs the real one."""


FAILURES = (
    # ------------------------------------------------------------ files
    Failure("model missing", "ModelMissing", "no file is where spec.model says"),
    Failure("model cut short", "ModelBroken", "the first half of a model: a download that broke off"),
    Failure("model is a web page", "ModelBroken", "an HTML page under the model's name"),
    Failure("model empty", "ModelBroken", "a file of 0 bytes"),
    Failure("model of an unknown kind", "ModelBroken", "a GGUF whose architecture this build does not know"),
    Failure("model without its tensors", "ModelBroken", "the magic and nothing but zeros behind it"),
    Failure("part of a split model missing", "ModelMissing", "the first of two files"),
    Failure("model not readable", "PermissionDenied", "a file of mode 000, and a server that is not root"),
    Failure("adapter missing", "ModelMissing", "flag `lora` names no file"),
    Failure("adapter broken", "ModelBroken", "flag `lora` names a text"),
    Failure("projector missing", "ModelMissing", "flag `mmproj` names no file"),
    Failure("draft model missing", "ModelMissing", "flag `spec-draft-model` names no file"),
    Failure("model gone while it ran", "ModelMissing", "the file is removed, then the process killed by SIGSEGV"),
    Failure("model overwritten", "ModelFileChanged", "cut to nothing in use, asked, and written whole again", RETRY),
    # ------------------------------------------------------------ ports and addresses
    Failure("port held by a stranger", "PortInUse", "another program listens on spec.port"),
    Failure("port taken at the last moment", "PortInUse", "somebody binds it after the gate, for 3 s", RETRY),
    Failure("address of another machine", "PortInUse", "spec.host is none of this machine: the bind fails"),
    # ------------------------------------------------------------ flags
    Failure("flag unknown", "InvalidFlag", "flags: {ctx-siez: 4096}"),
    Failure("flag removed", "InvalidFlag", "flags: {draft-max: 16}, which this build has no longer"),
    Failure("flag with a wrong value", "InvalidFlag", "flags: {flash-attn: maybe}"),
    Failure("flags that exclude each other", "InvalidFlag", "a quantized V cache without flash attention"),
    Failure("flag unknown to a binary without help", "InvalidFlag", "a script that answers --help with nothing"),
    # ------------------------------------------------------------ memory
    Failure("context beyond a limit", "ContextTooLarge", "ctx 65536 (256 MiB) under ulimit -v 300000", SETTING),
    Failure("context beyond a limit, four slots", "ContextTooLarge", "the same with parallel 4", SETTING),
    Failure("context beyond a limit, written steps", "ContextTooLarge", "the same; steps: [{ctx: 4096}]", SETTING),
    Failure("context beyond a limit, no ladder", "ContextTooLarge", "the same with fallback: off"),
    Failure("context beyond a limit for a moment", "ContextTooLarge", "fallback: off; the limit ends after 1 s", RETRY),
    Failure("context beyond a memory cgroup", "OomKilled", "ctx 65536 in a cgroup of 128 MiB", SETTING),
    Failure("weights beyond a limit", "HostOutOfMemory", "a model of 300 MiB under ulimit -v 300000"),
    Failure("weights beyond a limit, smaller model", "HostOutOfMemory", "the same; steps: [{model: …}]", SETTING),
    Failure("memory eaten by another", "OomKilled", "Ready in a cgroup that another program then fills", RETRY),
    Failure("no more threads for a moment", "Crashed", "no thread may be begun at the first start", RETRY),
    # ------------------------------------------------------------ the program
    Failure("binary missing", "BinaryMissing", "no file is where spec.binary says"),
    Failure("binary not executable", "PermissionDenied", "a file without its x"),
    Failure("binary for another machine", "WrongArchitecture", "the real one, its ELF header says another machine"),
    Failure("binary is a script without #!", "WrongArchitecture", "text that may be executed"),
    Failure("interpreter missing", "BinaryMissing", "a script whose #! names no program"),
    Failure("instruction unknown", "WrongArchitecture", "SIGILL at the start", by=STAND_IN),
    Failure("shared library missing", "SharedLibraryMissing", "the real one, copied without its libraries"),
    Failure("binary gone while it ran", "BinaryMissing", "removed, then the process killed by SIGSEGV"),
    # ------------------------------------------------------------ downloads
    Failure("download without HTTPS", "DownloadFailed", "model: {hf: …} from an https address that nobody serves"),
    Failure("download offline", "DownloadFailed", "model: {hf: …} with the flag `offline`, and nothing cached"),
    # ------------------------------------------------------------ signals and hangs
    Failure("killed", "KilledByUser", "SIGKILL by a person", RETRY),
    Failure("killed while it loads", "KilledByUser", "SIGKILL before it was Ready", RETRY),
    Failure("terminated", "KilledByUser", "SIGTERM by a person", RETRY),
    Failure("interrupted", "KilledByUser", "SIGINT by a person", RETRY),
    Failure("crash while idle", "Crashed", "SIGSEGV", RETRY),
    Failure("crash in a request", "CrashedInRequest", "SIGSEGV during a completion", RETRY),
    Failure("abort in a request", "CrashedInRequest", "SIGABRT during a completion", RETRY),
    Failure("stands still", "Hung", "SIGSTOP", RETRY),
    Failure("stands still in a request", "Hung", "SIGSTOP during a completion", RETRY),
    Failure("listens no more", "Unreachable", "its listening socket is shut; it runs on", RETRY),
    Failure("loads for ever", "StartupTimeout", "a loader without progress, at every start", by=STAND_IN),
    Failure("loads for ever once", "StartupTimeout", "a loader without progress, at the first start", RETRY, STAND_IN),
    # ------------------------------------------------------------ what says nothing
    Failure("ends with an unknown error", "Unknown", "a script that says `tea is out` and exits with 3", by=STAND_IN),
    Failure("ends with 0 at once", "Exited", "a script that exits with 0, without a word", by=STAND_IN),
    # ------------------------------------------------------------ GPUs, on a machine that has none
    Failure("GPU memory for weights", "GpuOutOfMemory", "CUDA's words and SIGABRT above 10 layers", SETTING, STAND_IN),
    Failure("GPU memory for the context", "GpuOutOfMemory", "CUDA's words, exit 1 above ctx 8192", SETTING, STAND_IN),
    Failure("GPU gone", "GpuUnavailable", "CUDA's words and SIGABRT until the GPUs are hidden", SETTING, STAND_IN),
    # ------------------------------------------------------------ what is no end
    Failure("request too large", "RequestTooLarge", "a prompt of 300 tokens for a slot of 256"),
    Failure("key file missing", "SecretMissing", "spec.apiKeyFile names no file"),
)
"""One is not left out because it turned out badly."""
