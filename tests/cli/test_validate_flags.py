"""`validate` holds flags against the llama-server of this machine, where there is one."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.cli.test_diff_and_validate import manifest
from tests.cli.test_strict import git

HELPS = Path(__file__).parents[1] / "engines" / "helps"
MLOCK = "spec.flags.mlock: this llama-server has no such flag; write `load-mode: mlock`"
DEFAULTS = """\
apiVersion: llama.reconciler/v1alpha1
kind: LlamaServerDefaults
metadata: {name: base}
spec:
  template:
    flags: {flash-attn: maybe}
"""
STEPS = "flags: {top-k: 40}, fallback: {steps: [{ctx: 64}, {flags: {draft: 4}}]}"


@pytest.fixture
def manifests(root: Path, llama_server: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLAMA_SERVER", llama_server)
    folder = root / "manifests"
    folder.mkdir()
    return folder


def program(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\necho x >> {path}.asked\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.real
def test_flags_that_are_there_are_well(manifests: Path, call: Call) -> None:
    (manifests / "a.yaml").write_text(manifest("a", "flags: {jinja: true, flash-attn: true, warmup: false}"))
    assert call("validate") == (0, "1 manifest, 1 server: ok\n", "")


@pytest.mark.real
def test_a_wrong_flag_has_its_place_and_its_successor(manifests: Path, call: Call) -> None:
    (manifests / "a.yaml").write_text(manifest("a", "flags: {top-k: 40, mlock: true}"))
    (manifests / "b.yaml").write_text(manifest("b", STEPS))
    code, out, err = call("validate")
    assert (code, out) == (2, "")
    first, second, last = err.splitlines()
    assert first == f"manifests/a.yaml:4:45: {MLOCK}"
    assert second.startswith("manifests/b.yaml:4:85: spec.fallback.steps.1.flags.draft: it has been removed")
    assert last == "error: 2 errors in 2 manifests"


@pytest.mark.real
def test_what_comes_from_defaults_is_told_there_and_once(manifests: Path, call: Call) -> None:
    (manifests / "all.yaml").write_text(DEFAULTS)
    for name in ("a", "b"):
        (manifests / f"{name}.yaml").write_text(manifest(name))
    (manifests / "c.yaml").write_text(manifest("c", "flags: {flash-attn: auto}"))
    code, _, err = call("validate")
    assert (code, len(err.splitlines())) == (2, 2)
    assert err.startswith("manifests/all.yaml:6:13: spec.template.flags.flash-attn: it takes one of these: on, off")


@pytest.mark.real
def test_every_format_tells_it(manifests: Path, call: Call, root: Path) -> None:
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "none")
    (manifests / "a.yaml").write_text(manifest("a", "flags: {mlock: true}"))
    data = json.loads(call("validate", "--against", "main", "-o", "json").out)
    (problem,) = data["problems"]
    assert problem["text"] == f"manifests/a.yaml:4:34: {MLOCK}"
    assert (problem["server"], problem["kind"], problem["field"]) == ("a", "LlamaServer", "spec.flags.mlock")
    assert [change["blocked"] for change in data["changes"]] == [MLOCK]
    assert "note" not in data
    assert f"::error file=manifests/a.yaml,line=4,col=34,title=invalid manifest::{MLOCK}" in (
        call("validate", "-o", "github").out
    )


# ---------------------------------------------------------------- where nobody can be asked


@pytest.mark.parametrize("output", ["text", "github", "json"])
def test_without_a_llama_server_one_note_says_so(
    manifests: Path, call: Call, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.delenv("LLAMA_SERVER")
    monkeypatch.setattr("reconciler.cli.checking_flags.find_llama_server", lambda _environ: None)
    for name in ("a", "b"):
        (manifests / f"{name}.yaml").write_text(manifest(name, "flags: {mlock: true}"))
    code, out, err = call("validate", "-o", output)
    assert code == 0
    note = "flags were not checked: no llama-server was found here; name one with LLAMA_SERVER=PATH"
    assert (out + err).count(note) == 1


def test_without_flags_nobody_is_asked(manifests: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = program(manifests.parent / "llama-server", "exit 1")
    monkeypatch.setenv("LLAMA_SERVER", asked)
    (manifests / "a.yaml").write_text(manifest("a"))
    assert call("validate") == (0, "1 manifest, 1 server: ok\n", "")
    assert not Path(f"{asked}.asked").exists()


@pytest.mark.parametrize("body", ["exit 1", "echo no help", "kill -9 $$"])
def test_a_help_that_cannot_be_had_is_a_note(
    manifests: Path, call: Call, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setenv("LLAMA_SERVER", program(manifests.parent / "llama-server", body))
    for number in range(5):
        (manifests / f"{number}.yaml").write_text(manifest(f"s-{number}", "flags: {mlock: true}"))
    code, _, err = call("validate")
    assert code == 0
    assert err == (
        "note: flags of s-0, s-1, s-2 and 2 more were not checked: "
        "what the llama-server prints for --help could not be had\n"
    )
    assert call("--quiet", "validate").err == ""


def test_a_program_that_only_a_manifest_names_is_not_run(manifests: Path, call: Call, root: Path) -> None:
    """A manifest under review is somebody else's word."""
    asked = program(root / "theirs", f"cat {HELPS}/table.txt")
    (manifests / "a.yaml").write_text(manifest("a", f"binary: {asked}, flags: {{load-mode: mlock}}"))
    code, _, err = call("validate")
    assert code == 0
    assert err == "note: flags of a were not checked: `binary` is not listed under `binaries` in the settings\n"
    (root / "reconciler.toml").write_text('binaries = ["*"]\n')
    assert call("validate").code == 0
    assert not Path(f"{asked}.asked").exists()
    (root / "reconciler.toml").write_text(f'binaries = ["{asked}"]\n')
    code, _, err = call("validate")
    assert code == 0
    assert "warning: manifests/a.yaml:4:" in err
    told = "spec.flags.load-mode: this llama-server has no such flag; write `mlock: true`"
    assert f"{told}; or {asked} takes it itself, as a script may\n" in err


def test_of_a_script_only_values_are_errors(manifests: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_SERVER", program(manifests.parent / "llama-server", f"cat {HELPS}/table.txt"))
    (manifests / "a.yaml").write_text(manifest("a", "flags: {fast: true, cache-type-k: q9}"))
    code, _, err = call("validate")
    assert code == 2
    assert ": spec.flags.cache-type-k: it takes one of these: " in err
    assert "warning: manifests/a.yaml:4:34: spec.flags.fast: " in err
    (manifests / "a.yaml").write_text(manifest("a", "env: {BUILD: other}, flags: {fast: true, cache-type-k: q9}"))
    code, _, err = call("validate")
    assert (code, err.count("warning: ")) == (0, 2)
    assert [one["field"] for one in json.loads(call("validate", "-o", "json").out)["warnings"]] == [
        "spec.flags.fast",
        "spec.flags.cache-type-k",
    ]


def test_what_a_manifest_sets_does_not_reach_the_program(
    manifests: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or one under review could have it load other code."""
    asked = program(manifests.parent / "llama-server", 'echo "$LD_LIBRARY_PATH$PATH" > "$0.with"')
    monkeypatch.setenv("LLAMA_SERVER", asked)
    env = "env: {LD_LIBRARY_PATH: /theirs, PATH: /theirs}"
    (manifests / "a.yaml").write_text(manifest("a", f"flags: {{top-k: 40}}, {env}"))
    call("validate")
    assert "theirs" not in Path(f"{asked}.with").read_text()


def test_it_writes_nothing(manifests: Path, call: Call, root: Path) -> None:
    (manifests / "a.yaml").write_text(manifest("a", "flags: {top-k: 40}"))
    call("validate")
    assert sorted(os.listdir(root)) == ["manifests"]  # noqa: PTH208


def test_settings_with_an_error_keep_nobody_from_checking_a_file(manifests: Path, call: Call, root: Path) -> None:
    (root / "reconciler.toml").write_text("nonsense = 1\n")
    (manifests / "a.yaml").write_text(manifest("a", "flags: {mlock: true}"))
    assert MLOCK in call("validate", "manifests/a.yaml").err


@pytest.mark.real
def test_the_manifests_of_this_repository_are_well(
    call: Call, root: Path, llama_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_SERVER", llama_server)
    called = call("validate", str(Path(__file__).parents[2] / "manifests"))
    assert (called.code, "spec." in called.err) == (0, False), called.err
