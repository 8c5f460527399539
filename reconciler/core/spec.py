"""What a `LlamaServer` document may say: the schema, the JSON Schema, and the value the planner reads."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    field_validator,
)
from pydantic.alias_generators import to_camel

from reconciler.core.durations import format_duration, parse_duration

API_VERSION = "llama.reconciler/v1alpha1"
DEFAULT_HOST = "127.0.0.1"
HF_EXAMPLE = "ggml-org/gemma-3-1b-it-GGUF:Q4_K_M"

Duration = Annotated[
    float,
    BeforeValidator(
        lambda value, info: value if isinstance(value, float) and info.mode == "python" else parse_duration(value)
    ),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h))+$", "examples": ["20s", "1500ms", "5m"]}),
]
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
"""A DNS label (RFC 1123): at most 63 of lower-case letters, digits and '-', not at the ends."""
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$")]
"""One line of text: control characters would reach argv, logs and terminals."""
FilePath = Annotated[Text, StringConstraints(min_length=1)]
Scalar = bool | int | float | Text


def _address(value: str) -> str:
    # A zone may hold anything to Python, a comma and a second address too, which llama-server would listen on.
    if not re.fullmatch(r"[^%]*(%[A-Za-z0-9_.-]+)?", value):
        raise ValueError("expected the name of a network interface behind `%`, such as fe80::1%eth0")
    try:
        ipaddress.ip_address(value)
    except ValueError:
        label = r"[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?"
        if not re.fullmatch(rf"{label}(\.{label})*", value) or re.fullmatch(r"[\d.]+", value):
            raise ValueError("expected an IP address or a host name, such as 127.0.0.1") from None
    return value


Host = Annotated[Text, StringConstraints(min_length=1, max_length=253), AfterValidator(_address)]


CauseName = Literal[
    "ModelMissing",
    "ModelBroken",
    "PortInUse",
    "InvalidFlag",
    "GpuOutOfMemory",
    "HostOutOfMemory",
    "OomKilled",
    "ContextTooLarge",
    "GpuUnavailable",
    "SharedLibraryMissing",
    "BinaryMissing",
    "WrongArchitecture",
    "DownloadFailed",
    "PermissionDenied",
    "StartupTimeout",
    "Hung",
    "Unreachable",
    "ModelFileChanged",
    "CrashedInRequest",
    "Crashed",
    "KilledByUser",
    "Exited",
    "Unknown",
]
"""The named causes of ends (see core.causes)."""


class Strict(BaseModel):
    """Unknown fields are errors, values cannot change, names in YAML are camelCase."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class HfModel(Strict):
    """A model that llama-server itself downloads from Hugging Face."""

    hf: Annotated[Text, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+(:[\w.-]+)?$")] = Field(examples=[HF_EXAMPLE])
    """`user/repo` or `user/repo:quant`."""


class FromEnv(Strict):
    """A value taken from the controller's environment at each start."""

    from_env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = Field(examples=["HF_TOKEN"])
    """Name of the variable."""


class FromFile(Strict):
    """A value read from a file at each start (one trailing line break is dropped)."""

    from_file: FilePath = Field(examples=["/etc/reconciler/token"])
    """Path of the file."""


EnvValue = Text | FromEnv | FromFile


class StartupProbe(Strict):
    """How a start is watched until the server is Ready."""

    initial_period: Duration = 0.05
    """First pause between looks, 50ms or longer; each further one is a quarter longer, up to `maxPeriod`."""
    max_period: Duration = 1.0
    """Longest pause between looks."""
    timeout: Duration = 5.0
    """Time one look may take."""
    deadline: Duration = 600.0
    """Time *without progress* (CPU time or bytes read growing) after which the start has failed, 1s or longer."""


class LivenessProbe(Strict):
    """How a Ready server is watched."""

    period: Duration = 5.0
    """Pause between looks, 50ms or longer."""
    timeout: Duration = 15.0
    """Time one look may take, 100ms or longer."""
    failure_threshold: Annotated[int, Field(ge=1, le=1000, examples=[5])] = 3
    """Failures in a row until Unhealthy; as many more until it is restarted."""
    busy_limit: Duration = 600.0
    """Time for which a server that computes, but shows no result, is taken to be busy and not to hang, 1s or longer."""
    stall: Duration = 120.0
    """Time for which slots may be at work with no counter and no CPU time moving, 1s or longer; 0s: not looked at."""
    completion: bool = False
    """true: ask an idle server for one token (or an embedding, a ranking) now and then; a failure counts."""
    completion_period: Duration = 30.0
    """Pause between two such tries, 1s or longer."""

    @field_validator("period", "timeout")
    @classmethod
    def _not_zero(cls, value: float) -> float:
        if value <= 0:
            raise ValueError("must be longer than 0s")
        return value


class Probes(Strict):
    """How the server's health is watched."""

    startup: StartupProbe = StartupProbe()
    """How a start is watched."""
    liveness: LivenessProbe = LivenessProbe()
    """How a Ready server is watched."""


class Restart(Strict):
    """What happens after an exit that nobody asked for."""

    policy: Literal["Always", "OnFailure", "Never"] = "Always"
    """`Always` restarts after exit 0 too."""
    initial_backoff: Duration = 0.5
    """Delay before the first restart; what comes from Git waits 500ms at least."""
    factor: Annotated[float, Field(ge=1, le=100, examples=[1.5])] = 2.0
    """Each further delay is this many times the one before."""
    max_backoff: Duration = 10.0
    """Longest delay."""
    max_restarts: Annotated[int, Field(ge=0, le=1_000_000, examples=[10])] = 3
    """Restarts in a row before the server is Failed."""
    stability_window: Duration = 60.0
    """Time of Ready after which earlier failures are forgotten."""
    retry_failed_after: Duration = 300.0
    """A Failed server is tried once more after this time, 1s or longer; 0s: never."""
    retry_primary_after: Duration = 0.0
    """One that runs on a fallback step is tried as asked for again after this time, while it is idle; 0s: never."""


class Stop(Strict):
    """How the server is stopped."""

    grace_period: Duration = 10.0
    """Time between SIGTERM and SIGKILL."""
    drain: Duration = 0.0
    """Longest wait for idle slots before SIGTERM."""


class FallbackStep(Strict):
    """One safer setting: what of the spec is different in it."""

    model: FilePath | HfModel | None = Field(default=None, examples=["qwen2.5-3b-instruct-q4_k_m.gguf"])
    """Another model, as in `spec.model`."""
    ctx: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(default=None, examples=[4096])
    """Another context size, as in `spec.ctx`."""
    parallel: Annotated[int, Field(ge=1, le=4096)] | None = Field(default=None, examples=[1])
    """Another number of slots, as in `spec.parallel`."""
    gpu_layers: Annotated[int, Field(ge=0, le=2**31 - 1)] | Literal["auto", "all"] | None = Field(
        default=None, examples=[20]
    )
    """Other layers on the GPU, as in `spec.gpuLayers`; with 0 the GPUs are hidden from the server too."""
    threads: Annotated[int, Field(ge=1, le=4096)] | None = Field(default=None, examples=[4])
    """Another number of CPU threads, as in `spec.threads`."""
    flags: Mapping[Annotated[str, StringConstraints(max_length=100)], Scalar | tuple[Scalar, ...]] = Field(
        default_factory=dict, examples=[{"cache-type-k": "q8_0"}]
    )
    """Flags that are set over those of `spec.flags`."""
    on: tuple[CauseName, ...] = Field(default=(), examples=[["GpuOutOfMemory"]])
    """The causes that this step answers; unset: those of memory and of the GPU."""


class Fallback(Strict):
    """Safer settings, in the order in which they are tried."""

    steps: Annotated[tuple[FallbackStep, ...], Field(min_length=1, max_length=16)] = Field(
        examples=[[{"ctx": 4096}, {"gpuLayers": 0}]]
    )
    """Each is tried once, when the one before it ended by a cause that it answers."""


class ServerSpec(Strict):
    """The wanted state of one llama-server."""

    engine: Literal["llama-server"] = "llama-server"
    """The program that serves the model."""
    model: FilePath | HfModel = Field(examples=["qwen2.5-7b-instruct-q4_k_m.gguf", {"hf": HF_EXAMPLE}])
    """Path of a GGUF (absolute, `~`, or relative to the models folder), or `{hf: user/repo:quant}`."""
    ctx: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(default=None, examples=[8192])
    """Context size in tokens over all slots; unset: what the model was trained with."""
    parallel: Annotated[int, Field(ge=1, le=4096)] | None = Field(default=None, examples=[4])
    """Number of slots; unset: llama-server decides."""
    gpu_layers: Annotated[int, Field(ge=0, le=2**31 - 1)] | Literal["auto", "all"] | None = Field(
        default=None, examples=["all", 24]
    )
    """Layers kept on the GPU; unset: llama-server decides."""
    threads: Annotated[int, Field(ge=1, le=4096)] | None = Field(default=None, examples=[8])
    """CPU threads; unset: llama-server decides."""
    host: Host = Field(default=DEFAULT_HOST, examples=["0.0.0.0"])  # noqa: S104 - an address to choose
    """Address to listen on."""
    port: Annotated[int, Field(ge=1, le=65535)] | Literal["auto"] = Field(default="auto", examples=[8001])
    """Port to listen on; `auto` takes a free one and keeps it over restarts."""
    flags: Mapping[Annotated[str, StringConstraints(max_length=100)], Scalar | tuple[Scalar, ...]] = Field(
        default_factory=dict, examples=[{"load-mode": "mlock", "top-k": 40}]
    )
    """More llama-server flags by long name without dashes: scalar, list (repeated), true (bare), false (`--no-…`)."""
    env: Mapping[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], EnvValue] = Field(
        default_factory=dict, examples=[{"CUDA_VISIBLE_DEVICES": "0", "HF_TOKEN": {"fromEnv": "HF_TOKEN"}}]
    )
    """Environment variables: text, `{fromEnv: NAME}`, or `{fromFile: path}`."""
    api_key_file: FilePath | None = Field(default=None, examples=["/etc/reconciler/coder.keys"])
    """File with the keys that clients must send."""
    binary: FilePath | None = Field(default=None, examples=["/opt/llama.cpp/bin/llama-server"])
    """The llama-server to run; it must be allowed in the settings."""
    suspend: bool = False
    """true: declared, but not running."""
    adopt: Literal["IfMatching", "Never"] = "IfMatching"
    """`IfMatching`: a llama-server started by hand with the same model, ctx, host and port is taken over as it is."""
    depends_on: Annotated[tuple[Name, ...], Field(max_length=100, examples=[["embedder"]])] = ()
    """Servers that must be Ready before this one is first started; if one of them is lost later, nothing restarts."""
    probes: Probes = Probes()
    """How the server's health is watched."""
    restart: Restart = Restart()
    """What happens after an exit that nobody asked for."""
    fallback: Literal["auto", "off"] | Fallback | None = Field(
        default=None, examples=["auto", {"steps": [{"ctx": 4096}, {"gpuLayers": 0}]}]
    )
    """Safer settings for when memory or the GPU does not do: `auto`, `off` or `{steps: […]}`; unset: the settings'."""
    stop: Stop = Stop()
    """How the server is stopped."""


class Metadata(Strict):
    """Who the document is about."""

    name: Name = Field(examples=["coder"])
    """Unique over all manifests."""
    labels: Mapping[Text, Text] = Field(default_factory=dict, examples=[{"tier": "front"}])
    """Free key-value pairs for selecting."""
    annotations: Mapping[Text, str] = Field(default_factory=dict, examples=[{"owner": "somebody"}])
    """Free key-value pairs for people and tools."""


class LlamaServer(Strict):
    """One manifest: a llama-server that should run."""

    api_version: Literal["llama.reconciler/v1alpha1"]
    """Version of the manifest's format."""
    kind: Literal["LlamaServer"]
    """What the document declares."""
    metadata: Metadata
    """Who the document is about."""
    spec: ServerSpec
    """The wanted state."""


def dump_spec(spec: ServerSpec) -> dict[str, Any]:
    """The spec as JSON-ready data, only what was written: defaults that nobody wrote are left out."""
    return spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
