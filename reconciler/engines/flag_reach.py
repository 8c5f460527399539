"""What each flag of llama-server reaches. A test holds the tables to the real `--help`; what is in none is unknown.

Names of one flag are joined by `/`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

_HARMLESS_SWITCHES = """
    swa-full perf escape kv-offload repack no-host cpu-moe check-tensors op-offload offline ignore-eos
    backend-sampling spec-draft-cpu-moe/cpu-moe-draft spec-draft-backend-sampling kv-unified cache-idle-slots
    context-shift special warmup spm-infill cont-batching mmproj-auto mmproj-offload ui/webui
    embedding/embeddings rerank/reranking cache-prompt metrics slots models-autoload jinja reasoning-preserve
    skip-chat-parsing prefill-assistant lora-init-without-apply spec-default
"""
"""Without a value."""
_HARMLESS_VALUES = """
    threads-batch cpu-mask cpu-range cpu-strict prio poll cpu-mask-batch cpu-range-batch cpu-strict-batch prio-batch
    poll-batch predict/n-predict batch-size ubatch-size keep flash-attn rope-scaling rope-scale rope-freq-base
    rope-freq-scale yarn-orig-ctx yarn-ext-factor yarn-attn-factor yarn-beta-slow yarn-beta-fast cache-type-k
    cache-type-v defrag-thold load-mode lazy-mode numa device override-tensor n-cpu-moe n-cpu-ffn split-mode
    tensor-split main-gpu fit fit-target fit-ctx control-vector-layer-range
    spec-draft-type-k/cache-type-k-draft spec-draft-type-v/cache-type-v-draft samplers seed sampler-seq/sampling-seq
    temp/temperature top-k top-p min-p top-nsigma/top-n-sigma xtc-probability xtc-threshold typical/typical-p
    repeat-last-n repeat-penalty presence-penalty frequency-penalty dry-multiplier dry-base dry-allowed-length
    dry-penalty-last-n dry-sequence-breaker adaptive-target adaptive-decay dynatemp-range dynatemp-exp mirostat
    mirostat-lr mirostat-ent logit-bias grammar json-schema spec-draft-threads/threads-draft
    spec-draft-threads-batch/threads-batch-draft spec-draft-cpu-mask/cpu-mask-draft
    spec-draft-cpu-range/cpu-range-draft spec-draft-cpu-strict/cpu-strict-draft spec-draft-prio/prio-draft
    spec-draft-poll/poll-draft spec-draft-cpu-mask-batch/cpu-mask-batch-draft
    spec-draft-cpu-strict-batch/cpu-strict-batch-draft spec-draft-prio-batch/prio-batch-draft
    spec-draft-poll-batch/poll-batch-draft spec-draft-override-tensor/override-tensor-draft
    spec-draft-n-cpu-moe/spec-draft-ncmoe/n-cpu-moe-draft spec-draft-n-max spec-draft-n-min spec-synth-len
    spec-synth-rates spec-draft-p-split/draft-p-split spec-draft-p-min/draft-p-min spec-draft-sampling
    spec-draft-device/device-draft spec-draft-ngl/gpu-layers-draft/n-gpu-layers-draft spec-type spec-ngram-mod-n-min
    spec-ngram-mod-n-max spec-ngram-mod-n-match spec-ngram-simple-size-n spec-ngram-simple-size-m
    spec-ngram-simple-min-hits spec-ngram-map-k-size-n spec-ngram-map-k-size-m spec-ngram-map-k-min-hits
    spec-ngram-map-k4v-size-n spec-ngram-map-k4v-size-m spec-ngram-map-k4v-min-hits draft/draft-n/draft-max
    draft-min/draft-n-min spec-ngram-size-n spec-ngram-size-m spec-ngram-min-hits kv-unified-per-slot
    ctx-checkpoints/swa-checkpoints checkpoint-min-step cache-ram reverse-prompt pooling mmproj-device
    image-min-tokens image-max-tokens mtmd-batch-max-tokens video-fps video-timestamp-interval alias tags
    embd-normalize api-prefix ui-config/webui-config chat-template-kwargs
    timeout sse-ping-interval threads-http cache-reuse models-max reasoning-format reasoning reasoning-effort
    reasoning-budget reasoning-budget-message chat-template slot-prompt-similarity sleep-idle-seconds
"""
"""With a value, from which nothing is read, written, run or sent."""
_READING = """
    lora lora-scaled control-vector control-vector-scaled grammar-file json-schema-file
    spec-draft-model/model-draft lookup-cache-static mmproj ui-config-file/webui-config-file chat-template-file
"""
"""Paths of files that are read: allowed within the folders of models."""
_DOWNLOADING = "model-url docker-repo hf-repo hf-file hf-token spec-draft-hf/hf-repo-draft mmproj-url"
_FAR: Mapping[str, str] = {
    "writes files": "slot-save-path lookup-cache-dynamic log-prompts-dir log-file",
    "serves files of this machine": "path media-path",
    "serves models that no manifest names": "models-dir models-preset",
    "runs programs": "tools tools-runtime mcp-servers-config mcp-servers-json agent video-ffmpeg-dir",
    "opens this machine's network to web pages": "ui-mcp-proxy/webui-mcp-proxy",
    "lets web pages of others ask the server": "cors-origins cors-methods cors-headers cors-credentials",
    "sends the model to other machines": "rpc",
    "reads keys": "ssl-key-file ssl-cert-file api-key api-key-file",
    "lets clients change the server's settings": "props",
    "lets others listen on the same port": "reuse-port",
    "changes what the model's file says of itself": "override-kv",
    "changes the log, from which the causes of ends are read": (
        "log-disable log-jsonl log-colors log-prefix log-timestamps"
    ),
    "writes what is asked to the log": "verbose/log-verbose verbosity/log-verbosity",
    "says what a field of the spec says": "model ctx-size parallel gpu-layers/n-gpu-layers threads host port",
    "makes llama-server print something and exit": (
        "help/usage version license cache-list completion-bash list-devices"
    ),
}
"""Flags that reach further than a model's server needs, by what is wrong with them."""


class Takes(Enum):
    """What stands behind a flag on the command line."""

    NOTHING = "nothing"
    VALUE = "value"
    FILE = "file"
    """Something that is read, within the folders of models."""
    DOWNLOAD = "download"
    """What is to be downloaded."""
    UNSAID = "unsaid"
    """A flag that is refused anyway."""


@dataclass(frozen=True, slots=True)
class Flag:
    """What is known of a flag."""

    takes: Takes
    aliases: tuple[str, ...]
    """All its names."""
    why: str = ""
    """What is wrong with it; empty for a harmless one."""


def _flags(takes: Takes, groups: str, why: str = "") -> Iterator[tuple[str, Flag]]:
    for group in groups.split():
        aliases = tuple(group.split("/"))
        for name in aliases:
            yield name, Flag(takes, aliases, why)


KNOWN: Mapping[str, Flag] = {
    **dict(_flags(Takes.NOTHING, _HARMLESS_SWITCHES)),
    **dict(_flags(Takes.VALUE, _HARMLESS_VALUES)),
    **dict(_flags(Takes.FILE, _READING)),
    **dict(_flags(Takes.DOWNLOAD, _DOWNLOADING)),
    **{name: flag for why, groups in _FAR.items() for name, flag in _flags(Takes.UNSAID, groups, why)},
}
"""Every flag by each of its names."""
