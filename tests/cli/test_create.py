"""`create server`: the manifest that it writes, and when it refuses."""

import os
import re
from pathlib import Path

import pytest

from reconciler.cli.documents import check_spec
from reconciler.core.spec import dump_spec
from reconciler.demo.models import write_model
from reconciler.manifests.parse import parse
from tests.cli.conftest import Call
from tests.cli.filling import START, Filling
from tests.cli.test_diff_and_validate import manifest


def written(path: Path) -> tuple[dict[str, str], dict[str, object]]:
    """Labels and spec of a file's only document, in which nothing is wrong."""
    parsed = parse(path.read_bytes(), path.name, check_spec)
    assert parsed.problems == ()
    (document,) = parsed.documents
    return dict(document.labels), dump_spec(document.spec)


def test_a_manifest_is_written_and_commented(root: Path, call: Call) -> None:
    code, out, err = call("create", "server", "coder", "--model", "coder.gguf", "--ctx", "8192")
    assert (code, err) == (0, "no controller is running: put it in force with: reconciler apply coder\n")
    assert out.startswith("+ coder  start: new\n    spec.ctx: (unset) → 8192\n    spec.model: (unset) → coder.gguf\n")
    assert out.endswith("written to manifests/coder.yaml\n")
    path = root / "manifests" / "coder.yaml"
    assert written(path) == ({}, {"model": "coder.gguf", "ctx": 8192})
    text = path.read_text()
    assert "  ctx: 8192             # tokens over all slots" in text
    # What is not given stands there to be taken up.
    path.write_text(re.sub("^  # ", "  ", text, flags=re.MULTILINE))
    assert set(written(path)[1]) == {"model", "ctx", "parallel", "gpuLayers", "port", "flags"}


def test_every_option_has_its_field(root: Path, call: Call) -> None:
    options = [
        *("--model", "hf:ggml-org/gemma-3-1b-it-GGUF", "--parallel", "2", "--gpu-layers", "all", "--port", "8080"),
        *("--label", "team=search", "--label", "version=1.0", "--flag", "jinja", "--flag", "threads=4"),
        *("--set", "restart.maxRestarts=7", "--set", "env.A=1", "--set", "metadata.annotations.note=a: b"),
    ]
    assert call("create", "server", "chat", *options).code == 0
    labels, spec = written(root / "manifests" / "chat.yaml")
    assert labels == {"team": "search", "version": "1.0"}
    assert spec == {
        "model": {"hf": "ggml-org/gemma-3-1b-it-GGUF"},
        "parallel": 2,
        "gpuLayers": "all",
        "port": 8080,
        "threads": 4,
        "flags": {"jinja": True},
        "restart": {"maxRestarts": 7},
        "env": {"A": "1"},
    }


@pytest.mark.parametrize("name", ["true", "123", "1e3", "null", "0x1", "a"])
def test_a_name_is_text_however_it_looks(root: Path, call: Call, name: str) -> None:
    assert call("create", "server", name, "--model", "on").code == 0
    assert written(root / "manifests" / f"{name}.yaml")[1] == {"model": "on"}


def test_a_models_file_proposes_and_what_is_given_wins(root: Path, call: Call) -> None:
    (root / "models").mkdir()
    write_model(root / "models" / "Qwen2.5-Coder-Q4_K_M.gguf", context=512)
    assert call("create", "server", "--from-model", "Qwen2.5-Coder-Q4_K_M.gguf").code == 0
    path = root / "manifests" / "qwen2-5-coder.yaml"
    assert written(path) == ({}, {"model": "Qwen2.5-Coder-Q4_K_M.gguf", "ctx": 512})
    assert "  ctx: 512              # all that it was trained with" in path.read_text()
    options = ("--from-model", "models/Qwen2.5-Coder-Q4_K_M.gguf", "--ctx", "64", "--label", "a=b")
    assert call("create", "server", "coder", *options).code == 0
    assert written(root / "manifests" / "coder.yaml")[0] == {"a": "b"}
    assert written(root / "manifests" / "coder.yaml")[1]["ctx"] == 64
    assert call("create", "server", "--from-model", "nosuch.gguf").code == 2


def test_a_dry_run_prints_the_manifest_and_beside_it_what_would_happen(root: Path, call: Call) -> None:
    code, out, err = call("create", "server", "coder", "--model", "x.gguf", "--dry-run")
    assert (code, err.splitlines()[0]) == (0, "+ coder  start: new")
    assert f"    blocked: no file at {root}/models/x.gguf; " in err
    quiet = call("create", "server", "-q", "coder", "--model", "x.gguf", "--dry-run")
    assert (quiet.out, quiet.err) == (out, "")
    assert not (root / "manifests").exists()
    (root / "manifests").mkdir()
    (root / "manifests" / "coder.yaml").write_text(out)
    assert written(root / "manifests" / "coder.yaml")[1] == {"model": "x.gguf"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("coder",), "name the model: --model FILE, or --from-model FILE"),
        (("coder", "--model", "a", "--from-model", "b"), "give one of --model and --from-model, not both"),
        (("coder", "--model", "x", "--label", "foo"), "hint: give it as --label foo=VALUE\n"),
        (("coder", "--model", "x", "--set", "ctx"), "hint: give it as --set ctx=VALUE\n"),
        (("coder", "--model", "x", "--ctx", ""), "hint: leave it out, or "),
        (("--model", "a"), "name the server: "),
        (("coder", "--model", "x", "--ctx", "many"), "spec.ctx: "),
        (("Coder", "--model", "x"), "metadata.name: "),
        (("coder", "--model", "x", "--flag", "help"), "flags.help: "),
        (("coder", "--model", "x", "--set", "cxt=1"), "spec.cxt: unknown field, did you mean 'ctx'?"),
        (("coder", "--model", "x", "--set", "model.a.b=1"), "error: spec.model is not a mapping"),
    ],
)
def test_what_would_be_wrong_is_refused(root: Path, call: Call, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = call("create", "server", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert not list(root.glob("manifests/*"))


def test_a_port_that_is_taken_is_refused(root: Path, call: Call) -> None:
    (root / "manifests").mkdir()
    (root / "manifests" / "chat.yaml").write_text(manifest("chat", "port: 8080"))
    code, _, err = call("create", "server", "coder", "--model", "x", "--port", "8080")
    assert code == 2
    assert "8080" in err
    assert not (root / "manifests" / "coder.yaml").exists()


def test_a_name_that_is_there_is_refused(filling: Filling, root: Path, call: Call) -> None:
    (root / "manifests").mkdir()
    (root / "manifests" / "all.yaml").write_text(manifest("chat"))
    called = call("create", "server", "chat", "--model", "x")
    assert (called.code, called.out) == (1, "")
    assert called.err.startswith("error: server 'chat' is there already: manifests/all.yaml\nhint: change it with: ")
    filling.ready("held")
    said = call("create", "server", "held", "--model", "x").err
    assert "its document is gone" in said
    assert "have it back with: reconciler rollback held, or let it go first: reconciler delete server held\n" in said
    filling.ready("theirs", origin="git", file="git:prod/theirs.yaml")
    said = call("create", "server", "theirs", "--model", "x").err
    assert "server 'theirs' is there already, from Git: prod/theirs.yaml\n" in said
    assert "change it there, commit the change, and then: reconciler sync\n" in said


def test_a_file_of_that_name_is_left_alone(root: Path, call: Call) -> None:
    (root / "manifests").mkdir()
    (root / "manifests" / "coder.yaml").write_text(manifest("other"))
    assert "written to manifests/coder-2.yaml" in call("create", "server", "coder", "--model", "x").out
    assert (root / "manifests" / "coder.yaml").read_text() == manifest("other")
    assert written(root / "manifests" / "coder-2.yaml")[1] == {"model": "x"}


@pytest.mark.parametrize(
    ("spec", "more", "blocked"),
    [
        ("ctx: 128", (), True),
        ("ctx: 128", ("--set", "host=127.0.0.2"), False),
        # Where it leaves the port itself, nothing is in the way.
        ("port: 8005", (), False),
        ("suspend: true", (), False),
    ],
)
def test_a_port_that_another_server_has_is_foretold(
    root: Path, filling: Filling, call: Call, spec: str, more: tuple[str, ...], blocked: bool
) -> None:
    filling.ready("embedder")
    (root / "manifests").mkdir()
    (root / "manifests" / "embedder.yaml").write_text(manifest("embedder", spec))
    (root / "models").mkdir()
    write_model(root / "models" / "tiny.gguf")
    os.utime(root / "models" / "tiny.gguf", (START, START))
    _, _, err = call("create", "server", "x", "--model", "tiny.gguf", "--port", "8001", "--dry-run", *more)
    assert err.startswith("+ x  start: new\n")
    told = "    blocked: port 8001 is held by server 'embedder'; declare another port, or if its port is auto, move it"
    assert (told in err, "blocked: " in err) == (blocked, blocked)
