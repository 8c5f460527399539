"""What defaults bring, in the history of a server and when going back: told with their name."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.kinds import DEFAULTS, PROFILE, other_document
from reconciler.core.model import Document, Now
from reconciler.core.spec import ServerSpec
from tests.cli.conftest import Call
from tests.cli.filling import BOOT, START, Filling

HEAD = "apiVersion: llama.reconciler/v1alpha1\n"
OWN = {"model": "tiny.gguf", "parallel": 1}


def accept(filling: Filling, generation: int, own: dict[str, Any], ctx: int | None) -> None:
    """The server as its file says it, with a context that defaults give."""
    written = ServerSpec.model_validate(own)
    document = Document("LlamaServer", "coder", "manifests/coder.yaml", written, {}, {}, generation, 1)
    if ctx is not None:
        merged = ServerSpec.model_validate({**own, "ctx": ctx})
        document = replace(document, spec=merged, own=written, came_from={"spec.ctx": "all"})
    with filling.store.transaction():
        filling.store.save_document(document, Now(0, START + generation, BOOT))


def accept_other(filling: Filling, kind: str, name: str, generation: int, spec: dict[str, Any]) -> None:
    about = {"name": name, "file": f"manifests/{name}.yaml", "line": 1, "generation": generation}
    with filling.store.transaction():
        filling.store.save_other(other_document(kind, json.dumps(spec), **about), Now(0, START + generation, BOOT))


@pytest.fixture
def folder(filling: Filling, root: Path) -> Path:
    """A server whose defaults were changed from 128 to 256."""
    for generation, ctx in enumerate((128, 256), 1):
        accept(filling, generation, OWN, ctx)
        accept_other(filling, DEFAULTS, "all", generation, {"template": {"ctx": ctx}})
    found = root / "manifests"
    found.mkdir()
    write(found, "LlamaServer", "coder", OWN)
    write(found, "LlamaServerDefaults", "all", {"template": {"ctx": 256}})
    return found


def write(folder: Path, kind: str, name: str, spec: dict[str, Any]) -> None:
    (folder / f"{name}.yaml").write_text(f"{HEAD}kind: {kind}\nmetadata: {{name: {name}}}\nspec: {json.dumps(spec)}\n")


def changed(call: Call, name: str) -> list[str]:
    return [re.split(r" {2,}", line)[4] for line in call("rollout", "history", name, "-o", "wide").out.splitlines()[1:]]


def test_the_history_names_the_defaults(folder: Path, filling: Filling, call: Call) -> None:
    accept(filling, 3, {**OWN, "ctx": 256}, None)
    accept(filling, 4, OWN, 256)
    accept(filling, 5, OWN, None)
    accept(filling, 6, {**OWN, "ctx": 512}, None)
    assert changed(call, "coder") == [
        "declared",
        "ctx 128→256 (from LlamaServerDefaults all)",
        "ctx now its own, not from LlamaServerDefaults all",
        "ctx now from LlamaServerDefaults all",
        "-ctx (from LlamaServerDefaults all)",
        "+ctx=512",
    ]
    items = json.loads(call("rollout", "history", "coder", "-o", "json").out)["items"]
    assert items[1]["fromDefaults"] == {"spec.ctx": "all"}
    assert items[1]["changes"] == [{"path": "spec.ctx", "old": 128, "new": 256, "source": "all"}]
    assert (
        "changed: ctx 128→256 (from LlamaServerDefaults all)"
        in call("rollout", "history", "coder", "--generation", "2").out
    )


def test_documents_of_other_kinds_have_a_history(folder: Path, filling: Filling, call: Call) -> None:
    accept_other(filling, PROFILE, "day", 1, {"servers": ["coder"]})
    accept_other(filling, PROFILE, "day", 2, {"servers": ["coder"], "active": True})
    assert changed(call, "profile/day") == ["declared", "+active=true"]
    assert changed(call, "defaults/all") == ["declared", "template.ctx 128→256"]


def test_going_back_where_only_defaults_changed_says_where(folder: Path, call: Call) -> None:
    code, _, err = call("rollback", "coder")
    assert code == 1
    assert "what changed comes from LlamaServerDefaults all; go back there: reconciler rollback defaults/all" in err
    assert call("rollback", "defaults/all").code == 0
    assert '"ctx": 128' in (folder / "all.yaml").read_text()


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({"ctx": 256}, "ctx 128→256, by LlamaServerDefaults all"),
        ({"ctx": 256, "threads": 2}, "ctx 128→256, +threads=2, by LlamaServerDefaults all"),
        (None, "-ctx, by LlamaServerDefaults all"),
        ({"ctx": 128}, ""),
    ],
    ids=["another value", "more of them", "they are gone", "they are as they were"],
)
def test_what_the_file_alone_does_not_bring_back_is_told(
    folder: Path, filling: Filling, call: Call, now: dict[str, Any] | None, words: str
) -> None:
    accept(filling, 3, {**OWN, "parallel": 2}, 256)
    write(folder, "LlamaServer", "coder", {**OWN, "parallel": 2})
    if now is None:
        (folder / "all.yaml").unlink()
    else:
        write(folder, "LlamaServerDefaults", "all", {"template": now})
    code, _, err = call("rollback", "coder", "--to", "1")
    assert code == 0
    told = f"generation 1 is not all back by that: {words}; go back there too: reconciler rollback defaults/all --to 1"
    assert (told in err) is bool(words)
    assert ("is not all back" in err) is bool(words)
    # The second time its file says it already, and that is no more than before.
    assert ("is not all back" in call("rollback", "coder", "--to", "1").err) is bool(words)
