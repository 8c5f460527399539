"""`set`, `unset`: what they write, what they tell, and what they refuse."""

import threading
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.assigning import assignment_of, path_of
from reconciler.cli.failure import Failure
from tests.cli.conftest import Call
from tests.cli.fake_controller import QUIET, FakeController
from tests.cli.filling import Filling
from tests.cli.test_diff_and_validate import answer, change, manifest

TEXT = """\
# the coder of the house
apiVersion: llama.reconciler/v1alpha1
kind: LlamaServer
metadata:
  name: coder
spec:
  model: "coder.gguf"   # quoted
  ctx: 4096             # over all slots
  flags:
    jinja: true
"""


@pytest.fixture
def coder(root: Path) -> Path:
    path = root / "manifests" / "coder.yaml"
    path.parent.mkdir()
    path.write_text(TEXT)
    return path


# ---------------------------------------------------------------- fields and values


@pytest.mark.parametrize(
    ("text", "at", "value"),
    [
        ("ctx=8192", ("spec", "ctx"), 8192),
        ("spec.ctx=8192", ("spec", "ctx"), 8192),
        ("gpuLayers=all", ("spec", "gpuLayers"), "all"),
        ("port=auto", ("spec", "port"), "auto"),
        ("suspend=true", ("spec", "suspend"), True),
        ("restart.maxBackoff=1m", ("spec", "restart", "maxBackoff"), "1m"),
        ("restart.factor=1.5", ("spec", "restart", "factor"), 1.5),
        ("host=::1", ("spec", "host"), "::1"),
        ("model=true", ("spec", "model"), "true"),
        ("model={hf: a/b}", ("spec", "model"), {"hf": "a/b"}),
        ("flags.mlock=true", ("spec", "flags", "mlock"), True),
        ("flags.threads=8", ("spec", "threads"), 8),
        ("spec.flags.--n_gpu_layers=all", ("spec", "gpuLayers"), "all"),
        ("flags.hf-repo=a/b", ("spec", "flags", "hf-repo"), "a/b"),
        ("flags.-fa=on", ("spec", "flags", "flash-attn"), "on"),
        ("flags.alias='8'", ("spec", "flags", "alias"), "8"),
        ("flags.alias=a: b # c", ("spec", "flags", "alias"), "a: b # c"),
        ("flags.alias=a=b", ("spec", "flags", "alias"), "a=b"),
        ("flags.lora=[a.gguf, b.gguf]", ("spec", "flags", "lora"), ["a.gguf", "b.gguf"]),
        ("flags.date=2024-01-01", ("spec", "flags", "date"), "2024-01-01"),
        ("env.CUDA_VISIBLE_DEVICES=1", ("spec", "env", "CUDA_VISIBLE_DEVICES"), "1"),
        ("env.TOKEN={fromEnv: HF}", ("spec", "env", "TOKEN"), {"fromEnv": "HF"}),
        ("env.TOKEN.fromEnv=HF", ("spec", "env", "TOKEN", "fromEnv"), "HF"),
        ("metadata.labels.version=1.0", ("metadata", "labels", "version"), "1.0"),
        ("metadata.labels.example.com/team=", ("metadata", "labels", "example.com/team"), ""),
        ("metadata.annotations.note=yes: no", ("metadata", "annotations", "note"), "yes: no"),
        ("ctx=null", ("spec", "ctx"), None),
        ("nosuch=1", ("spec", "nosuch"), 1),
    ],
)
def test_values_are_read_as_yaml_and_text_where_only_text_may_stand(text: str, at: tuple[str, ...], value: Any) -> None:
    found = assignment_of(text, "LlamaServer")
    assert found == (at, value)
    assert type(found[1]) is type(value)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("ctx", "'ctx' has no value", "give it as ctx=VALUE"),
        ("ctx=", "'spec.ctx=' has no value", "leave it out, or give '' in quotes of its own"),
        ("metadata.name=x", "'metadata.name' cannot be set: ", ""),
        ("kind=Profile", "'kind' cannot be set: ", ""),
        ("spec=1", "'spec' cannot be set: ", ""),
        (".ctx=1", "'.ctx' is no field", ""),
        ("flags.lora=[a", "[a cannot be read: ", "in quotes"),
    ],
)
def test_what_is_no_assignment_is_told(text: str, message: str, hint: str) -> None:
    with pytest.raises(Failure) as refused:
        assignment_of(text, "LlamaServer")
    assert refused.value.message.startswith(message)
    assert hint in refused.value.hint
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("ctx", "2048"), "give it as: reconciler set coder ctx=2048\n"),
        (("spec.env.A", "x y"), "give it as: reconciler set coder 'spec.env.A=x y'\n"),
        (("ctx",), "give it as: reconciler set coder ctx=VALUE, or take it out with: reconciler unset coder ctx\n"),
        (("ctx", "parallel=2"), "give it as: reconciler set coder ctx=VALUE, or "),
        (("ctx=",), "take it out with: reconciler unset coder spec.ctx, or "),
    ],
)
def test_a_missing_value_is_told_with_the_name(coder: Path, call: Call, arguments: tuple[str, ...], hint: str) -> None:
    code, out, err = call("set", "coder", *arguments)
    assert (code, out) == (2, "")
    assert f"\nhint: {hint}" in err


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("ctxx", "no field 'spec.ctxx', did you mean 'spec.ctx'?\nhint: see which there are with: reconciler explain"),
        ("nix", "no field 'spec.nix'\n"),
        ("restart.maxBackof", "no field 'spec.restart.maxBackof', did you mean 'spec.restart.maxBackoff'?"),
        ("restrt.factor", "no field 'spec.restrt.factor', did you mean 'spec.restart'?"),
        ("ctx.deep", "no field 'spec.ctx.deep'\n"),
        ("labels.team", "no field 'spec.labels.team', did you mean 'metadata.labels.team'?"),
        ("metadata.label.x", "no field 'metadata.label.x', did you mean 'metadata.labels'?"),
        ("ctx=3", "'ctx=3': unset takes no values\nhint: give the field alone: reconciler unset coder ctx\n"),
    ],
)
def test_nothing_unknown_can_be_taken_out(coder: Path, call: Call, field: str, message: str) -> None:
    code, out, err = call("unset", "coder", "flags.jinja", field)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert coder.read_text() == TEXT


@pytest.mark.parametrize("field", ["port", "flags.nosuch", "env.A", "stop.drain", "metadata.labels.team", "flags"])
def test_what_may_be_there_may_be_taken_out(coder: Path, call: Call, field: str) -> None:
    assert call("unset", "coder", field).code == 0


def test_the_field_alone_is_a_path() -> None:
    assert path_of("flags.threads") == ("spec", "flags", "threads")


# ---------------------------------------------------------------- without a controller


def test_a_field_is_set_and_all_else_stays(coder: Path, call: Call) -> None:
    code, out, err = call("set", "coder", "ctx=8192", "spec.flags.mlock=true", "metadata.labels.team=search")
    assert (code, err) == (0, "no controller is running: put it in force with: reconciler apply coder\n")
    assert out.startswith("+ coder  start: new\n")
    assert out.endswith("written to manifests/coder.yaml\n")
    expected = TEXT.replace("ctx: 4096 ", "ctx: 8192 ") + "    mlock: true\n"
    assert coder.read_text() == expected.replace("  name: coder\n", "  name: coder\n  labels:\n    team: search\n")


@pytest.mark.parametrize("name", [["server/coder"], ["server", "coder"], ["srv/coder"], ["LlamaServer/coder"]])
def test_a_kind_may_stand_before_the_name(coder: Path, call: Call, name: list[str]) -> None:
    assert call("set", *name, "ctx=8192").code == 0
    assert coder.read_text() == TEXT.replace("ctx: 4096 ", "ctx: 8192 ")
    assert call("unset", *name, "ctx").code == 0
    assert "ctx" not in coder.read_text()


def test_the_same_value_writes_nothing(coder: Path, call: Call) -> None:
    before = coder.stat()
    code, out, err = call("set", "coder", "ctx=4096")
    assert (code, err) == (0, "")
    assert "written" not in out
    assert coder.stat().st_ino == before.st_ino
    assert call("unset", "coder", "port").code == 0
    assert coder.stat().st_ino == before.st_ino


def test_a_dry_run_only_tells(coder: Path, call: Call) -> None:
    code, out, err = call("set", "coder", "ctx=8192", "--dry-run")
    assert (code, err) == (0, "")
    assert out.endswith("    spec.model: (unset) → coder.gguf\ndry run: nothing was written\n") or "spec.ctx" in out
    assert coder.read_text() == TEXT


def test_quiet_leaves_only_what_happens(coder: Path, call: Call) -> None:
    code, out, err = call("set", "-q", "coder", "ctx=8192")
    assert (code, err) == (0, "")
    assert "written" not in out


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("cxt=1", "manifests/coder.yaml:11:3: spec.cxt: unknown field, did you mean 'ctx'?"),
        ("ctx=many", "manifests/coder.yaml:8:8: spec.ctx: "),
        ("flags.help=true", "manifests/coder.yaml:11:11: spec.flags.help: "),
        ("port=99999", "manifests/coder.yaml:11:9: spec.port: "),
        (
            "labels.team=x",
            "manifests/coder.yaml:11:3: spec.labels: unknown field, did you mean 'metadata.labels'?",
        ),
    ],
)
def test_what_would_be_wrong_is_refused(coder: Path, call: Call, field: str, message: str) -> None:
    code, out, err = call("set", "coder", field)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert "error: that leads to 1 error; nothing was changed" in err
    assert "give the command again; lines are told as they would be then" in err
    assert coder.read_text() == TEXT


def test_a_port_that_another_server_has_is_refused(coder: Path, call: Call) -> None:
    (coder.parent / "chat.yaml").write_text(manifest("chat", "port: 8080"))
    code, _, err = call("set", "coder", "port=8080")
    assert code == 2
    assert "8080" in err
    assert coder.read_text() == TEXT


def test_errors_that_were_there_before_hinder_nobody(coder: Path, call: Call) -> None:
    (coder.parent / "bad.yaml").write_text(manifest("bad", "cxt: 1"))
    code, _, err = call("set", "coder", "ctx=8192")
    assert code == 0
    assert "warning: manifests/bad.yaml:4:26: spec.cxt: unknown field" in err
    assert "ctx: 8192 " in coder.read_text()
    # And one's own, with the edit that mends it.
    assert call("set", "bad", "ctx=64").code == 2
    assert call("unset", "bad", "cxt").code == 0


def test_an_old_error_below_the_edit_stays_an_old_one(coder: Path, call: Call) -> None:
    """Its text tells a line, which the edit moves."""
    broken = manifest("z", "").replace("model: ", "model: [")
    coder.write_text(f"{TEXT}---\n{broken}")
    code, _, err = call("set", "coder", "flags.top-k=1")
    assert (code, "that begins on line" in err) == (0, True), err
    assert coder.read_text() == f"{TEXT}    top-k: 1\n---\n{broken}"


def test_what_set_made_of_a_flag_is_taken_out_by_that_flag(coder: Path, call: Call) -> None:
    assert call("set", "coder", "flags.threads=2", "flags.-fa=on").code == 0
    assert ("  threads: 2\n" in coder.read_text(), "flash-attn" in coder.read_text()) == (True, True)
    assert call("unset", "coder", "flags.threads", "flags.-fa").code == 0
    assert coder.read_text() == TEXT


def test_a_controller_that_hangs_is_not_waited_for_long(
    filling: Filling, controller: FakeController, coder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    filling.ready("coder")
    going_on = threading.Event()
    controller.on("/preview", lambda _body: (200, going_on.wait(10)))
    monkeypatch.setattr("reconciler.cli.controller.PREVIEW_TIMEOUT", 0.1)
    code, _, err = call("set", "coder", "ctx=8192")
    going_on.set()
    assert (code, coder.read_text()) == (1, TEXT)
    assert err.startswith("error: the controller has not answered within 100ms; nothing was changed\nhint: see what it")


def test_an_unknown_name_is_answered_with_the_nearest(coder: Path, call: Call) -> None:
    code, out, err = call("set", "codr", "ctx=1")
    assert (code, out) == (1, "")
    assert (
        err
        == "error: no server 'codr', did you mean 'coder'?\nhint: see which there are with: reconciler get servers\n"
    )
    assert call("set", "servr/coder", "ctx=1").err.startswith("error: no kind 'servr', did you mean 'server'?\n")


def test_no_folder_and_no_field_are_told(root: Path, call: Call) -> None:
    assert "does not exist\nhint: make a first manifest: reconciler create server" in call("set", "coder", "ctx=1").err
    assert call("set", "coder").code == 2
    assert call("unset", "server/coder").err.startswith("error: name the fields of server/coder, such as ctx")


def test_one_that_is_declared_twice_is_not_guessed_at(coder: Path, call: Call) -> None:
    (coder.parent / "other.yaml").write_text(TEXT)
    code, _, err = call("set", "coder", "ctx=1")
    assert code == 1
    assert "declared in manifests/coder.yaml and manifests/other.yaml" in err


def test_broken_yaml_is_told_with_its_place(coder: Path, call: Call) -> None:
    coder.write_text(TEXT + "  - no\n")
    code, _, err = call("set", "coder", "ctx=1")
    assert code == 2
    assert err.startswith("error: manifests/coder.yaml:11:3: ")
    assert "nothing was changed" in err


def test_mode_and_owner_stay(coder: Path, call: Call) -> None:
    coder.chmod(0o640)
    call("set", "coder", "ctx=8192")
    assert coder.stat().st_mode & 0o777 == 0o640


# ---------------------------------------------------------------- with a controller


def test_the_controller_is_asked_and_told(
    filling: Filling, controller: FakeController, coder: Path, call: Call
) -> None:
    filling.ready("coder", ctx=4096)
    controller.on(
        "/preview", answer(change("coder", "restart", "ctx changed", ("spec.ctx", 4096, 8192)), change("x", "stop"))
    )
    code, out, err = call("set", "coder", "ctx=8192")
    assert (code, err) == (0, "")
    assert out == (
        "~ coder  restart: ctx changed\n"
        "    spec.ctx: 4096 → 8192\n"
        "written to manifests/coder.yaml\n"
        "see how it goes with: reconciler get servers coder -w\n"
    )
    (path, previewed), reconciled = controller.asked
    assert (path, reconciled) == ("/preview", ("/reconcile", {}))
    assert previewed == {"documents": [{"file": "manifests/coder.yaml", "text": coder.read_text()}]}


def test_what_the_controller_would_refuse_is_not_written(
    filling: Filling, controller: FakeController, coder: Path, call: Call
) -> None:
    problem = {"text": "the policy forbids that", "kind": "LlamaServer", "server": "coder"}
    other = {"text": "something else", "kind": "LlamaServer", "server": "other"}
    preview = {"changes": [], "problems": [other, problem], "folderProblem": ""}
    controller.on("/preview", lambda _body: (200, preview))
    code, out, err = call("set", "coder", "ctx=8192")
    assert (code, out) == (2, "")
    assert err.startswith("the policy forbids that\nerror: that leads to 1 error; nothing was changed\n")
    assert coder.read_text() == TEXT


def test_it_waits_when_told_to(filling: Filling, controller: FakeController, coder: Path, call: Call) -> None:
    filling.ready("coder", ctx=4096)
    filling.end(filling.instance("other"))

    def take_up(_body: Any) -> tuple[int, Any]:
        filling.document("coder", ctx=8192, model="coder.gguf", flags={"jinja": True}, generation=2)
        return 200, QUIET

    controller.on("/reconcile", take_up)
    code, out, _ = call("set", "coder", "ctx=8192", "--wait")
    assert (code, out.splitlines()[-1]) == (0, "0 started, 1 changed, 0 unchanged, 0 stopped, 0 failed")
    controller.on("/reconcile", lambda _body: (200, QUIET))
    code, out, _ = call("set", "coder", "ctx=512", "--wait", "--timeout", "100ms")
    assert (code, out.splitlines()[-1]) == (1, "0 started, 0 changed, 0 unchanged, 0 stopped, 1 failed")


def test_what_comes_from_git_is_edited_there(filling: Filling, root: Path, call: Call) -> None:
    (root / "manifests").mkdir()
    filling.ready("coder", origin="git", file="git:prod/coder.yaml")
    filling.source()
    code, out, err = call("set", "coder", "ctx=1")
    assert (code, out) == (2, "")
    assert err.startswith("error: server 'coder' comes from Git; change it there: prod/coder.yaml")
    assert "reconciler stop coder" in err


def test_a_held_server_has_no_manifest_to_edit(filling: Filling, root: Path, call: Call) -> None:
    (root / "manifests").mkdir()
    filling.ready("coder")
    code, _, err = call("set", "coder", "ctx=1")
    assert code == 1
    assert err.startswith("error: server 'coder' has no manifest to edit: its document is gone")
    assert "reconciler delete server/coder" in err
