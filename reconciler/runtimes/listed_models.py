"""Models as `models -o json` shows them, and the servers that use each."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.runtimes.models import Model

_FILE = re.compile(r"[^,]+?\.gguf(?=$|[,:])", re.IGNORECASE)


def used_by(specs: Iterable[tuple[str, Mapping[str, Any]]], folder: Path) -> Mapping[str, Sequence[str]]:
    """The servers that name each file, by its real path."""
    users: dict[str, set[str]] = {}
    for name, spec in specs:
        for path in _paths(spec):
            users.setdefault(os.path.realpath(folder / Path(path).expanduser()), set()).add(name)
    return {path: sorted(names) for path, names in users.items()}


def _paths(spec: Mapping[str, Any]) -> Iterator[str]:
    """The models that a spec names, its fallback steps included."""
    if isinstance(spec.get("model"), str):
        yield spec["model"]
    # Projectors, adapters and draft models are flags, the last two perhaps several, and `PATH:SCALE`.
    for value in spec.get("flags", {}).values():
        for text in value if isinstance(value, list) else [value]:
            yield from _FILE.findall(text) if isinstance(text, str) else ()
    fallback = spec.get("fallback")
    for step in fallback["steps"] if isinstance(fallback, Mapping) else ():
        yield from _paths(step)


def model_item(model: Model, folder: Path, users: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A model as `-o json` has it; what its file does not tell is null."""
    paths = {os.path.realpath(folder / file) for file in (model.file, *model.parts)}
    return {
        "file": model.file,
        "path": str(folder / model.file),
        "kind": model.kind,
        "title": model.text("general.name") or None,
        "architecture": model.architecture or None,
        "size": model.size,
        "quantization": model.quantization or None,
        "parameters": model.parameters or None,
        "ctxTrained": model.context or None,
        "thinking": model.thinking or None,
        "parts": list(model.parts),
        "usedBy": sorted({name for path in paths for name in users.get(path, ())}),
        "problem": model.problem,
    }
