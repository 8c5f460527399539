"""Manifests under a policy: the folders that they may and may not reach, and what is said of them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.controller.policy import refusals
from reconciler.controller.preview import check_spec
from reconciler.core.model import Document
from reconciler.core.policy import Denial, together
from reconciler.core.source import GIT
from reconciler.manifests.parse import parse
from reconciler.settings import Settings, load_settings

SCHEMA = "schema"
"""Refused before the policy is asked."""
MODELS = "policy.git.models"


def lay_out(tmp_path: Path) -> Path:
    """A models folder with a model, beside it what must stay out of reach."""
    for name in ("models/sub", "outside", "shared"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("models/a.gguf", "models/sub/b.gguf", "outside/x.gguf", "outside/key", "shared/c.gguf", "models-2"):
        (tmp_path / name).write_bytes(b"GGUF")
    for number in (1, 3):
        (tmp_path / f"models/split-0000{number}-of-00003.gguf").write_bytes(b"GGUF")
    links = {"file.gguf": "../outside/x.gguf", "folder": "../outside", "round.gguf": "sub/b.gguf", "loop": "loop"}
    links["split-00002-of-00003.gguf"] = "../outside/x.gguf"
    for name, target in links.items():
        (tmp_path / "models" / name).symlink_to(target)
    (tmp_path / "reconciler.toml").write_text("")
    return tmp_path


def settings_of(root: Path, text: str = "") -> Settings:
    path = root / "reconciler.toml"
    path.write_text(text if text.startswith("models") else f'models = "models"\n{text}')
    return load_settings({}, str(path))


def document(origin: str = GIT, name: str = "chat", **spec: Any) -> Document:
    """Read as manifests are."""
    (found,) = read(origin, name, **spec)
    return found


def read(origin: str, name: str = "chat", **spec: Any) -> tuple[Document, ...]:
    content = {
        "apiVersion": "llama.reconciler/v1alpha1",
        "kind": "LlamaServer",
        "metadata": {"name": name},
        "spec": {"model": "a.gguf", **spec},
    }
    parsed = parse(json.dumps(content), "chat.yaml", check_spec)
    return () if parsed.problems else tuple(replace(one, origin=origin) for one in parsed.documents)


def denials(
    documents: Sequence[Document], settings: Settings, running: frozenset[str] = frozenset()
) -> dict[str, Denial]:
    """What the gate would say of each document that is refused."""
    found = refusals(documents, settings, running)
    return {name: first for name, every in found.items() if (first := together(every))}


def rule(settings: Settings, origin: str = GIT, **spec: Any) -> str:
    """The rule that refuses a spec; empty when it is allowed."""
    documents = read(origin, **spec)
    if not documents:
        return SCHEMA
    found = denials(documents, settings).get("chat")
    assert found is None or found.message.startswith(f"{found.rule}: ")
    return found.rule if found else ""
