"""The models in a folder: found by their files, told by their headers."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from reconciler.runtimes.ggml_types import BLOCKS, FILE_TYPES
from reconciler.runtimes.gguf_header import Fact, Header, HeaderError
from reconciler.runtimes.header_cache import HeaderCache

SUFFIX = ".gguf"
MOST_FILES = 10_000
DEEPEST = 8
"""Folders below the models folder."""
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_RANK = 4
"""LLAMA_POOLING_TYPE_RANK in llama.h; 1 to 3 make embeddings."""
_EMBEDDERS = re.compile(r".*bert.*|t5encoder|gemma-embedding", re.ASCII)
"""Architectures that only make embeddings; for others `pooling_type` tells."""
_MAY_THINK = re.compile(r"enable_thinking|thinking_budget|detailed thinking|\bthinking\s*(is|==|%})|if thinking\b")
_THINKS = re.compile(
    r"<think|</think|\[THINK\]|<seed:think>|<\|channel\|>analysis|<\|START_THINKING\|>|reasoning_content|◁think▷"
)

Kind = Literal["text", "embedding", "reranking", "projector", "adapter", "other", "broken"]
Thinking = Literal["", "no", "yes", "optional"]


@dataclass(frozen=True)
class Model:
    """A model in the models folder."""

    file: str
    """Relative to the models folder, as `spec.model` takes it; of one in parts, the first part."""
    kind: Kind
    size: int
    """Bytes of all its files that are there."""
    parts: Sequence[str] = ()
    """All its files that are there, relative to the models folder."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """Its metadata."""
    parameters: int = 0
    """In all its tensors; 0 where that is not known."""
    quantization: str = ""
    problem: str = ""
    """Why it cannot be loaded, and what to do."""

    @property
    def architecture(self) -> str:
        """As llama.cpp names it; empty where it is not told."""
        return self.text("general.architecture")

    @property
    def context(self) -> int:
        """Tokens of context that it was trained with; 0 where that is not told."""
        return self.number("context_length")

    @property
    def thinking(self) -> Thinking:
        """Whether its chat template has it think."""
        return thinking(self.text("tokenizer.chat_template"))

    def text(self, key: str) -> str:
        """A text of the metadata."""
        found = self.facts.get(key)
        return found if isinstance(found, str) else ""

    def number(self, key: str) -> int:
        """A number of the architecture's metadata; the largest where there is one for each layer; 0: not told."""
        found = self.facts.get(f"{self.architecture}.{key}", 0)
        numbers = found if isinstance(found, tuple) else (found,)
        return max((int(one) for one in numbers if isinstance(one, int)), default=0)


def thinking(template: str) -> Thinking:
    """Whether a chat template has a model think: always, or where it is asked to; empty without a template."""
    if not template:
        return ""
    if _MAY_THINK.search(template):
        return "optional"
    return "yes" if _THINKS.search(template) else "no"


def model_files(folder: Path) -> list[str]:
    """The GGUF files in a folder and below it, relative to it, links followed; hidden ones are left out."""
    found = []
    for path in _walk(folder):
        found.append(path)
        if len(found) == MOST_FILES:
            break
    return sorted(found)


def _walk(root: Path) -> Iterator[str]:
    seen = set()
    for here, folders, files in os.walk(root, followlinks=True):
        with suppress(OSError):
            there = os.stat(here)  # noqa: PTH116 - as os.walk gives it
            if (there.st_dev, there.st_ino) in seen:
                folders.clear()
                continue
            seen.add((there.st_dev, there.st_ino))
        below = os.path.relpath(here, root)
        if below.count("/") + 1 >= DEEPEST:
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if name.lower().endswith(SUFFIX) and not name.startswith("."):
                yield os.path.normpath(f"{below}/{name}")


def first_files(folder: Path) -> list[str]:
    """The file of each model, without a look into any."""
    return sorted(_expected(parts)[0] for parts in _together(model_files(folder)))


def find_models(folder: Path, cache: HeaderCache) -> list[Model]:
    """All models of a folder, by file. Only headers are read; a file that cannot be is told as broken."""
    models = [look(folder, parts, cache) for parts in _together(model_files(folder))]
    cache.save()
    return sorted(models, key=lambda model: model.file)


def model_of(folder: Path, file: str) -> Model:
    """One model, by its file or one of its parts, which `folder` need not hold."""
    cache = HeaderCache()
    here = Path(folder, file)
    found = _PART.fullmatch(here.name)
    if found is None:
        return look(folder, [file], cache)
    beside = [path.name for path in here.parent.glob("*") if _same(_PART.fullmatch(path.name), found)]
    return look(folder, sorted(str(Path(file).with_name(name)) for name in beside) or [file], cache)


def _same(one: re.Match[str] | None, other: re.Match[str]) -> bool:
    return one is not None and (one["stem"], one["count"]) == (other["stem"], other["count"])


def _together(files: Sequence[str]) -> list[list[str]]:
    """The files of each model."""
    models: dict[tuple[str, str], list[str]] = {}
    for file in files:
        part = _PART.fullmatch(file)
        models.setdefault((part["stem"], part["count"]) if part else (file, ""), []).append(file)
    return list(models.values())


def look(folder: Path, parts: Sequence[str], cache: HeaderCache) -> Model:
    """A model, by its files."""
    first, missing = _expected(parts)
    size = sum(_size(folder / part) for part in parts)
    headers = []
    for part in parts:
        try:
            headers.append(_whole(cache.header(folder / part)))
        except (HeaderError, OSError) as error:
            why = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            return Model(first, "broken", size, parts, problem=f"{part}: {why}")
    model = _told(first, size, parts, headers)
    return replace(model, kind="broken", problem=missing) if missing else model


def _expected(parts: Sequence[str]) -> tuple[str, str]:
    """A model's first file, and which of them are missing, in words."""
    part = _PART.fullmatch(parts[0])
    if part is None:
        return parts[0], ""
    count = int(part["count"])
    there = {int(found["number"]) for each in parts if (found := _PART.fullmatch(each))}
    missing = [number for number in range(1, min(count, MOST_FILES) + 1) if number not in there]
    first = parts[0] if 1 in there else f"{part['stem']}-00001-of-{part['count']}.gguf"
    if not missing:
        return first, ""
    shown = ", ".join(map(str, missing[:5])) + (" …" if len(missing) > 5 else "")
    return first, f"{first}: {len(missing)} of its {count} parts are missing ({shown}); fetch them into the same folder"


def _whole(header: Header) -> Header:
    if header.size < header.least_size:
        short = f"it has {header.size} bytes, and its weights take {header.least_size}"
        raise HeaderError(f"{short}; fetch it again, or wait until it is fetched")
    return header


def _told(file: str, size: int, parts: Sequence[str], headers: Sequence[Header]) -> Model:
    facts = headers[0].facts
    weights: dict[int, int] = {}
    for header in headers:
        for kind, numbers in header.weights.items():
            weights[kind] = weights.get(kind, 0) + numbers
    model = Model(file, "other", size, parts, facts, sum(weights.values()), _quantization(facts, weights))
    return replace(model, kind=_kind(model))


def _kind(model: Model) -> Kind:
    told = model.text("general.type")
    if told == "mmproj" or model.architecture == "clip":
        return "projector"
    if told not in ("", "model") or not model.parameters:
        return "adapter" if told == "adapter" else "other"
    pooling = model.number("pooling_type")
    if pooling == _RANK:
        return "reranking"
    return "embedding" if pooling or _EMBEDDERS.fullmatch(model.architecture) else "text"


def _quantization(facts: Mapping[str, Fact], weights: Mapping[int, int]) -> str:
    """As the file tells, else the type of most of its weights."""
    told = facts.get("general.file_type")
    if isinstance(told, int) and told in FILE_TYPES:
        return FILE_TYPES[told]
    most = max(weights, key=lambda kind: weights[kind], default=-1)
    return BLOCKS[most][0] if most in BLOCKS else ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
