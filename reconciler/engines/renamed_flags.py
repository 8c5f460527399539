"""Flags that other builds of llama-server call otherwise. Each is used only where the binary's own help has it."""

from collections.abc import Iterator, Mapping

_GROUPS = tuple(
    tuple(line.split())
    for line in """
    spec-draft-n-max draft-max draft draft-n
    spec-draft-n-min draft-min draft-n-min
    spec-draft-model model-draft
    spec-draft-hf hf-repo-draft
    spec-draft-ngl gpu-layers-draft n-gpu-layers-draft
    spec-draft-type-k cache-type-k-draft
    spec-draft-type-v cache-type-v-draft
    spec-draft-p-min draft-p-min
    spec-draft-p-split draft-p-split
    ctx-checkpoints swa-checkpoints
    predict n-predict
    embeddings embedding
    reranking rerank
    verbosity log-verbosity
    verbose log-verbose
    temp temperature
    typical typical-p
    top-nsigma top-n-sigma
    sampler-seq sampling-seq
    """.strip().splitlines()
)
"""Names of one thing, the newest first."""
_PREFIXES = (("ui", "webui"),)
_DRAFT, _SPEC_DRAFT = "-draft", "spec-draft-"
_WITH_VALUE: Mapping[tuple[str, str], tuple[str, str]] = {
    ("mlock", "true"): ("load-mode", "mlock"),
    ("mmap", "true"): ("load-mode", "mmap"),
    ("mmap", "false"): ("load-mode", "none"),
    ("direct-io", "true"): ("load-mode", "dio"),
    ("load-mode", "mlock"): ("mlock", "true"),
    ("load-mode", "mmap"): ("mmap", "true"),
    ("load-mode", "none"): ("mmap", "false"),
    ("load-mode", "dio"): ("direct-io", "true"),
    ("slots-endpoint-disable", "true"): ("slots", "false"),
    ("memory-f32", "true"): ("cache-type-k", "f32"),
}
"""Those that are written with another value too, as a manifest writes it."""


def other_names(name: str) -> Iterator[str]:
    """What other builds call a flag, newer names first; the same value means the same."""
    for group in _GROUPS:
        if name in group:
            yield from (other for other in group if other != name)
    for new, old in _PREFIXES:
        for one, other in ((old, new), (new, old)):
            if name == one or name.startswith(f"{one}-"):
                yield other + name.removeprefix(one)
    if name.endswith(_DRAFT):
        yield _SPEC_DRAFT + name.removesuffix(_DRAFT)
    elif name.startswith(_SPEC_DRAFT):
        yield name.removeprefix(_SPEC_DRAFT) + _DRAFT


def otherwise_written(name: str, value: str) -> tuple[str, str] | None:
    """The flag and value by which other builds are told the same, where both differ."""
    return _WITH_VALUE.get((name, value))
