"""`rollback`: what it writes, what it tells, and what it refuses. Without a controller; with one: tests/e2e."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from reconciler.cli.documents import check_spec
from reconciler.cli.generations import manifest_of
from reconciler.cli.going_back import _changes
from reconciler.cli.output import yaml_text
from reconciler.core.kinds import PROFILE, other_document
from reconciler.core.model import Now
from reconciler.core.source import GIT
from reconciler.manifests.changing import respec
from reconciler.manifests.parse import parse
from tests.cli.conftest import Call
from tests.cli.filling import BOOT, COMMIT, START, Filling

NOW = """\
# two servers\r
apiVersion: llama.reconciler/v1alpha1
kind: LlamaServer
metadata: {name: chat, labels: {tier: demo}}
spec: {model: chat.gguf}
---
# the coder of the house
apiVersion: llama.reconciler/v1alpha1
kind: LlamaServer
metadata:
  name: coder
  labels: {tier: demo}
spec:
  model: "tiny.gguf"   # quoted
  ctx: 2048            # over all slots
  stop:
    drain: 5s
"""
BEFORE = NOW.replace("2048", "1024").replace("  stop:\n    drain: 5s\n", "")


@pytest.fixture
def path(filling: Filling, root: Path) -> Path:
    """The file of a server that was changed."""
    filling.document("chat", file="manifests/all.yaml", model="chat.gguf")
    filling.document("coder", file="manifests/all.yaml", ctx=1024)
    filling.document("coder", file="manifests/all.yaml", generation=2, at=10, ctx=2048, stop={"drain": "5s"})
    found = root / "manifests" / "all.yaml"
    found.parent.mkdir()
    found.write_bytes(NOW.encode())
    return found


def text(path: Path) -> str:
    return path.read_bytes().decode()


def test_only_what_differs_is_edited(path: Path, call: Call) -> None:
    called = call("rollback", "coder")
    assert (called.code, text(path)) == (0, BEFORE)
    lines = called.out.splitlines()
    assert lines[0].startswith("server/coder goes back to generation 1, accepted ")
    assert lines[1].startswith("~ coder  ") or lines[1].startswith("+ coder  ")
    assert "    spec.ctx: 2048 → 1024" in lines
    assert "written to manifests/all.yaml" in lines
    assert "reconciler apply coder" in called.err


def test_a_dry_run_only_tells(path: Path, call: Call) -> None:
    called = call("rollback", "server/coder", "--dry-run")
    assert (called.code, text(path)) == (0, NOW)
    assert "    spec.ctx: 2048 → 1024" in called.out
    assert "dry run: nothing was written" in called.out


def test_back_and_forth(path: Path, call: Call) -> None:
    assert call("rollback", "coder", "--to", "1").code == 0
    # The file says what generation 1 said; the newest that says something else is the second.
    assert "generation 2" in call("rollback", "coder").out
    assert text(path) == NOW


def test_what_it_says_already_is_no_edit(path: Path, call: Call) -> None:
    called = call("rollback", "coder", "--to", "2")
    assert (called.code, text(path)) == (0, NOW)
    assert "its file says what generation 2 said already" in called.err
    assert "written" not in called.out


def test_an_edit_that_is_not_in_force_yet_is_what_is_undone(path: Path, call: Call) -> None:
    path.write_bytes(NOW.replace("ctx: 2048", "ctx: 9999").encode())
    assert "generation 2" in call("rollback", "coder").out
    assert text(path) == NOW


@pytest.mark.parametrize("wrong", ["ctx: lots", "cxt: 2048"])
def test_a_refused_edit_is_undone(path: Path, call: Call, wrong: str) -> None:
    path.write_bytes(NOW.replace("ctx: 2048", wrong).encode())
    assert call("rollback", "coder").code == 0
    (chat, coder) = parse(text(path), "a.yaml", check_spec).documents
    assert (chat.name, coder.spec.ctx) == ("chat", 2048)
    assert "# quoted" in text(path)


def test_a_document_that_is_no_yaml_is_exchanged(path: Path, call: Call) -> None:
    path.write_bytes(NOW.replace("ctx: 2048  ", "ctx: [2048").encode())
    called = call("rollback", "coder")
    assert called.code == 0
    assert "manifests/all.yaml:8 is no YAML: the whole document is exchanged" in called.err
    assert text(path).startswith(NOW.partition("kind: LlamaServer\nmetadata:\n  name: coder")[0][:60])
    (chat, coder) = parse(text(path), "a.yaml", check_spec).documents
    assert (chat.name, coder.spec.ctx, coder.labels) == ("chat", 2048, {"tier": "demo"})


def test_labels_go_back_too(filling: Filling, path: Path, call: Call) -> None:
    path.write_bytes(
        NOW.replace("labels: {tier: demo}\n", "labels: {tier: demo, more: x}\n  annotations: {a: b}\n").encode()
    )
    call("rollback", "coder", "--to", "2")
    assert text(path) == NOW


def test_what_durations_are_called_says_nothing(path: Path, call: Call) -> None:
    path.write_bytes(NOW.replace("5s", "5000ms").encode())
    assert "generation 1" in call("rollback", "coder").out


def test_a_document_that_is_gone_is_written_anew(path: Path, call: Call, root: Path) -> None:
    path.write_bytes(NOW.partition("---")[0].encode())
    called = call("rollback", "coder")
    assert called.code == 0
    assert "generation 2" in called.out
    (document,) = parse((root / "manifests" / "coder.yaml").read_text(), "a.yaml", check_spec).documents
    assert (document.spec.ctx, document.spec.stop.drain, document.labels) == (2048, 5.0, {"tier": "demo"})
    assert text(path) == NOW.partition("---")[0]


def test_what_would_be_wrong_now_is_refused(filling: Filling, path: Path, call: Call, root: Path) -> None:
    filling.document("coder", generation=3, port=8001)
    filling.document("coder", generation=4, ctx=2048)
    other = root / "manifests" / "other.yaml"
    other.write_text(
        NOW.partition("---")[0].replace("name: chat,", "name: other,").replace("gguf}", "gguf, port: 8001}")
    )
    called = call("rollback", "coder", "--to", "3")
    assert (called.code, text(path)) == (2, NOW)
    assert "8001" in called.err
    assert "nothing was changed" in called.err


def test_what_comes_from_git_is_put_back_there(filling: Filling, call: Call) -> None:
    filling.source()
    filling.document("coder", file="git:fleet/coder.yaml", origin=GIT, ctx=1024)
    filling.document("coder", file="git:fleet/coder.yaml", origin=GIT, generation=2, ctx=2048)
    called = call("rollback", "coder")
    assert (called.code, called.out) == (2, "")
    assert "server 'coder' comes from Git; change it there: fleet/coder.yaml" in called.err
    assert "reconciler stop coder" in called.err


def test_what_came_from_git_and_is_gone_is_put_back_there_too(filling: Filling, call: Call) -> None:
    filling.source()
    filling.document("coder", file="git:fleet/coder.yaml", origin=GIT)
    filling.remove("coder")
    called = call("rollback", "coder")
    assert called.code == 2
    assert f"server/coder came from Git; put it back there: fleet/coder.yaml as of {COMMIT[:8]}" in called.err
    assert "reconciler rollout history server/coder --generation 1" in called.err


def test_another_kind(filling: Filling, call: Call, root: Path) -> None:
    for number, active in enumerate(("true", "false"), 1):
        spec = f'{{"active": {active}}}'
        profile = other_document(PROFILE, spec, name="day", file="manifests/day.yaml", generation=number, line=1)
        with filling.store.transaction():
            filling.store.save_other(profile, Now(0, START, BOOT))
    path = root / "manifests" / "day.yaml"
    path.parent.mkdir()
    head = "apiVersion: llama.reconciler/v1alpha1\nkind: Profile\nmetadata: {name: day}\n"
    path.write_text(f"{head}spec: {{active: false}}  # now\n")
    assert call("rollback", "profile/day").code == 0
    assert text(path) == f"{head}spec: {{active: true}}  # now\n"


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("codr",), 1, "nothing was accepted of server 'codr', did you mean 'coder'?"),
        (("coder", "--to", "7"), 2, "generation 7 of server/coder is not known; there are: 1, 2"),
        (("chat",), 1, "no generation of server/chat that is kept says something else than its file does"),
    ],
)
def test_mistakes_are_answered(path: Path, call: Call, arguments: tuple[str, ...], code: int, error: str) -> None:
    called: Any = call("rollback", *arguments)
    assert (called.code, text(path)) == (code, NOW)
    assert error in called.err.splitlines()[0]
    assert called.err.splitlines()[1].startswith("hint: ")


FLAGS = st.dictionaries(st.sampled_from(["mlock", "top-k", "alias", "temp"]), st.sampled_from([True, 1, "yes", 0.5]))
SPECS = st.fixed_dictionaries(
    {"model": st.sampled_from(["a.gguf", "b: #.gguf", {"hf": "a/b"}, {"hf": "a/c:Q4"}])},
    optional={
        "ctx": st.integers(1, 9),
        "suspend": st.booleans(),
        "flags": FLAGS,
        "env": st.dictionaries(st.sampled_from(["A", "B"]), st.sampled_from(["1", "x y", {"fromEnv": "C"}])),
        "stop": st.fixed_dictionaries({}, optional={"drain": st.just("5s"), "gracePeriod": st.just("1m")}),
        "probes": st.fixed_dictionaries({}, optional={"liveness": st.just({"period": "2s"})}),
        "dependsOn": st.lists(st.sampled_from(["x", "y"]), unique=True),
    },
)
LABELS = st.dictionaries(st.sampled_from(["a", "b.c/d"]), st.sampled_from(["1", "x"]))


def generation(own: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    return {
        "kind": "LlamaServer",
        "own": own,
        "metadata": {"name": "coder", "labels": labels, "annotations": {}},
    }


@given(now=st.builds(generation, SPECS, LABELS), then=st.builds(generation, SPECS, LABELS))
def test_a_file_says_afterwards_what_the_generation_said(now: dict[str, Any], then: dict[str, Any]) -> None:
    before = f"# first\n{yaml_text(manifest_of(now))}\n# last\n"
    changes = _changes(now, then)
    after = respec(before, "LlamaServer", "coder", changes) if changes else before
    assert YAML(typ="safe", pure=True).load(after) == manifest_of(then)
    assert after.startswith("# first\n")
    assert after.endswith("\n# last\n")
