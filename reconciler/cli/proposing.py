"""What a manifest for a model could say, proposed from the model's own file."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from reconciler.cli.failure import BAD_INPUT, Failure, did_you_mean
from reconciler.cli.models import in_bytes
from reconciler.core.clean import clean
from reconciler.runtimes.models import Model, model_files, model_of

MOST_CTX = 32_768
"""Tokens of context that are proposed at most; more is the user's to want."""
LEAST_CTX = 4096
MOST_EMBEDDED = 8192
"""Tokens of context for embeddings and rankings: an input must fit into one batch, whose buffers grow with it."""
MOST_CACHE = 2 * 1024**3
"""Bytes of memory for the context that are proposed at most."""
BATCH, MICRO_BATCH = 2048, 512
"""Tokens, as llama-server has them where nobody says otherwise."""
LONGEST_NAME = 63
_TAIL = re.compile(
    r"(-\d{5}-of-\d{5})?\.gguf$|[-._](ud-)?(i?q\d(_?[k0-9])?(_(xxs|xs|s|m|l|xl|nl))*|bf16|f16|f32|mxfp4(_moe)?|nvfp4)$",
    re.IGNORECASE,
)
"""What files are called by their parts, suffix and quantisation."""
_CANNOT = {
    "projector": "it lets a model see or hear, and is named beside that model: spec.flags.mmproj",
    "adapter": "it changes a model, and is named beside that model: spec.flags.lora",
    "other": "it holds no weights that could be served",
}


@dataclass(frozen=True)
class Proposal:
    """A server's name and spec, with what to say beside each field."""

    name: str
    spec: Mapping[str, Any]
    """As a manifest has it, in the order in which it should stand there."""
    comments: Mapping[str, str] = field(default_factory=dict)
    """By dotted path below `spec`: one line each, without `#`."""
    about: str = ""
    """One line on the model, in words of its own file."""


def proposed(file: str, folder: Path) -> Proposal:
    """A proposal for a model: a path as people type it, or relative to the models folder. Raises Failure."""
    name = _in_folder(file, folder)
    model = model_of(folder, name)
    if model.problem:
        raise Failure(f"{file} cannot be served: {model.problem}", "see: reconciler models", exit_code=BAD_INPUT)
    if model.kind in _CANNOT:
        raise Failure(f"{file} is no model: {_CANNOT[model.kind]}", "see: reconciler models", exit_code=BAD_INPUT)
    return propose(model, _projectors(folder, model.file))


def propose(model: Model, projectors: Iterable[Model] = ()) -> Proposal:
    """A proposal for a model, with the projector that fits it, if one does."""
    spec: dict[str, Any] = {"model": model.file}
    comments: dict[str, str] = {}
    flags: dict[str, Any] = {}
    ctx = context_for(model)
    if ctx:
        spec["ctx"] = ctx
        comments["ctx"] = _about_context(model, ctx)
    if model.kind in ("embedding", "reranking"):
        flags |= _for_vectors(model, ctx, comments)
    elif found := _fitting(model, projectors):
        flags["mmproj"] = found.file
        comments["flags.mmproj"] = "lets it see or hear; found beside the model, and made for its width"
    return Proposal(name_for(model.file), spec | ({"flags": flags} if flags else {}), comments, _about(model))


def name_for(file: str) -> str:
    """A server's name after a model's file: a DNS label, without parts and quantisation."""
    stem = file.rpartition("/")[2]
    while (shorter := _TAIL.sub("", stem)) not in (stem, ""):
        stem = shorter
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:LONGEST_NAME].rstrip("-") or "model"


def context_for(model: Model) -> int:
    """Tokens of context to begin with; 0 where the model does not tell what it was trained with."""
    if model.kind != "text":
        return min(model.context, MOST_EMBEDDED)
    ctx = min(model.context, MOST_CTX)
    while ctx // 2 >= LEAST_CTX and ctx * cache_per_token(model) > MOST_CACHE:
        ctx //= 2
    return ctx


def cache_per_token(model: Model) -> int:
    """Bytes of memory that one token of context takes at most, in f16; 0 where that is not told."""
    heads = model.number("attention.head_count")
    width = model.number("embedding_length") // heads if heads else 0
    lengths = [model.number(f"attention.{which}_length") or width for which in ("key", "value")]
    of_layers = model.facts.get(f"{model.architecture}.attention.head_count_kv", heads)
    if isinstance(of_layers, tuple):
        shared = sum(int(one) for one in of_layers)
    else:
        shared = model.number("block_count") * (model.number("attention.head_count_kv") or heads)
    return 2 * sum(lengths) * shared


def _about_context(model: Model, ctx: int) -> str:
    trained = f"trained with {model.context}" if ctx < model.context else "all that it was trained with"
    if model.kind != "text" or not cache_per_token(model):
        return trained
    size = ctx * cache_per_token(model) / 2**20
    return f"{trained}; takes at most {f'{size / 1024:.1f} GiB' if size >= 1024 else f'{size:.0f} MiB'} of memory"


def _for_vectors(model: Model, ctx: int, comments: dict[str, str]) -> Mapping[str, Any]:
    """Flags without which it would refuse what it is for."""
    flag = "reranking" if model.kind == "reranking" else "embeddings"
    comments[f"flags.{flag}"] = f"what the model is made for; it answers at {_ROUTES[flag]}"
    flags: dict[str, Any] = {flag: True}
    sizes = {name: ctx for name, usual in (("batch-size", BATCH), ("ubatch-size", MICRO_BATCH)) if ctx > usual}
    if sizes:
        comments[f"flags.{next(iter(sizes))}"] = "an input must fit into one batch"
    return flags | sizes


_ROUTES = {"reranking": "/v1/rerank", "embeddings": "/v1/embeddings"}


def _about(model: Model) -> str:
    thinks = {"yes": "it thinks before it answers", "optional": "it thinks where a request asks for it"}
    facts = [
        model.text("general.name") or model.architecture,
        model.quantization,
        in_bytes(model.size),
        thinks.get(model.thinking, ""),
    ]
    return clean(", ".join(fact for fact in facts if fact))


def _fitting(model: Model, projectors: Iterable[Model]) -> Model | None:
    """The projector made for models of this width whose name is most like the model's."""
    fits = [one for one in projectors if not one.problem and _width(one) == model.number("embedding_length") > 0]
    return max(fits, key=lambda one: SequenceMatcher(None, one.file, model.file).ratio(), default=None)


def _width(projector: Model) -> int:
    """The width of the models that a projector is made for."""
    found = projector.number("vision.projection_dim") or projector.number("audio.projection_dim")
    return found or projector.number("projection_dim")


def _projectors(folder: Path, file: str) -> Sequence[Model]:
    """Projectors in a model's own folder, by the names that llama.cpp gives them."""
    beside = Path(folder, file).parent
    names = [path.name for path in sorted(beside.glob("*.gguf")) if "mmproj" in path.name.lower()]
    found = (model_of(folder, str(Path(file).with_name(name))) for name in names)
    return [model for model in found if model.kind == "projector"]


def _in_folder(file: str, folder: Path) -> str:
    """The path as `spec.model` takes it: relative to the models folder where it lies below it. Raises Failure."""
    for path in (Path(file).expanduser(), folder / file):
        if path.is_file():
            whole = os.path.abspath(path)
            for root in (os.path.abspath(folder), os.path.realpath(folder)):
                if whole.startswith(root.rstrip("/") + "/"):
                    return os.path.relpath(whole, root)
            return whole
    known = did_you_mean(file, model_files(folder)) if folder.is_dir() else ""
    raise Failure(f"no model '{file}'{known}", "see which there are with: reconciler models", exit_code=BAD_INPUT)
