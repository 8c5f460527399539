"""What is known of llama-server's flags, by `llama-server --help`; a test holds these tables to the real one."""

import re
from collections.abc import Mapping


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


def _pairs(text: str) -> dict[str, str]:
    return {left: right for left, _, right in (word.partition("=") for word in text.split())}


FIELD_OF: Mapping[str, str] = {
    "model": "model",
    "model-url": "model",
    "docker-repo": "model",
    "hf-repo": "model",
    "hf-file": "model",
    "ctx-size": "ctx",
    "parallel": "parallel",
    "n-gpu-layers": "gpuLayers",
    "gpu-layers": "gpuLayers",
    "threads": "threads",
    "host": "host",
    "port": "port",
    "api-key-file": "apiKeyFile",
}
"""Flags that a field of the spec owns."""

BLINDING = frozenset({"log-disable", "log-file"})
EXITING = frozenset({"help", "usage", "version", "license", "cache-list", "completion-bash", "list-devices"})

BARE = words(
    "cpu-moe check-tensors embedding embeddings ignore-eos lora-init-without-apply metrics offline props rerank "
    "reranking reuse-port special spec-default spm-infill swa-full verbose log-verbose backend-sampling"
)
"""Flags without a value that have no `--no-…` form."""

PATHS = words(
    "mmproj lora lora-scaled control-vector control-vector-scaled spec-draft-model model-draft grammar-file "
    "json-schema-file chat-template-file lookup-cache-static lookup-cache-dynamic slot-save-path media-path path "
    "models-dir models-preset ui-config-file webui-config-file mcp-servers-config ssl-key-file ssl-cert-file "
    "log-prompts-dir video-ffmpeg-dir"
)
"""Flags whose value is a path."""
PATH_LISTS = frozenset({"lora", "lora-scaled", "control-vector", "control-vector-scaled"})
"""Those that take several paths, separated by commas (`path:scale` for the scaled ones)."""
TWO_VALUES = frozenset({"control-vector-layer-range"})
"""Flags that take two values at once: a list of two is not a repetition."""

SHORT: Mapping[str, str] = _pairs(
    """
    h=help cl=cache-list t=threads tb=threads-batch C=cpu-mask Cr=cpu-range Cb=cpu-mask-batch Crb=cpu-range-batch
    c=ctx-size n=predict b=batch-size ub=ubatch-size fa=flash-attn e=escape kvo=kv-offload nkvo=no-kv-offload
    nr=no-repack ctk=cache-type-k ctv=cache-type-v dt=defrag-thold lm=load-mode lzm=lazy-mode dev=device
    ot=override-tensor cmoe=cpu-moe ncmoe=n-cpu-moe ncffn=n-cpu-ffn ngl=n-gpu-layers sm=split-mode ts=tensor-split
    mg=main-gpu fitt=fit-target fitc=fit-ctx m=model mu=model-url dr=docker-repo hf=hf-repo hfr=hf-repo hff=hf-file
    hft=hf-token v=verbose lv=verbosity ctkd=spec-draft-type-k ctvd=spec-draft-type-v s=seed l=logit-bias
    j=json-schema jf=json-schema-file bs=backend-sampling hfd=spec-draft-hf hfrd=spec-draft-hf td=spec-draft-threads
    tbd=spec-draft-threads-batch Cd=spec-draft-cpu-mask Crd=spec-draft-cpu-range Cbd=spec-draft-cpu-mask-batch
    otd=spec-draft-override-tensor cmoed=spec-draft-cpu-moe ncmoed=spec-draft-n-cpu-moe devd=spec-draft-device
    ngld=spec-draft-ngl md=spec-draft-model lcs=lookup-cache-static lcd=lookup-cache-dynamic ctxcp=ctx-checkpoints
    cms=checkpoint-min-step cram=cache-ram kvu=kv-unified no-kvu=no-kv-unified r=reverse-prompt sp=special
    np=parallel cb=cont-batching nocb=no-cont-batching mm=mmproj mmu=mmproj-url mmdev=mmproj-device a=alias ag=agent
    no-ag=no-agent to=timeout rea=reasoning sps=slot-prompt-similarity
    """
)
"""Short names, which llama-server takes with one dash, and their long ones."""

PRESET = re.compile(r"(fim|gpt-oss|vision|embd|tts)-.*(default|spec)")
"""Flags such as `fim-qwen-7b-spec`: each chooses a model, a port and a context of its own."""
