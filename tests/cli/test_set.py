"""`set`, `unset`: what they write, what they tell, and what they refuse."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.assigning import assignment_of, path_of
from reconciler.cli.failure import Failure
from reconciler.manifests import changing
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
        ("ctx", "'ctx' has no value", "reconciler unset NAME ctx"),
        ("ctx=", "'spec.ctx=' has no value", "reconciler unset NAME spec.ctx"),
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
    ],
)
def test_what_would_be_wrong_is_refused(coder: Path, call: Call, field: str, message: str) -> None:
    code, out, err = call("set", "coder", field)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert "error: that leads to 1 error; nothing was changed" in err
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


def test_a_file_that_changes_meanwhile_is_left(
    filling: Filling, controller: FakeController, coder: Path, call: Call
) -> None:
    filling.ready("coder", ctx=4096)

    def meanwhile(_body: Any) -> tuple[int, Any]:
        coder.write_text("# mine\n")
        return 200, {"changes": [], "problems": [], "folderProblem": ""}

    controller.on("/preview", meanwhile)
    code, _, err = call("set", "coder", "ctx=8192")
    assert code == 1
    assert err.startswith("error: manifests/coder.yaml has changed meanwhile; nothing was changed\n")
    assert coder.read_text() == "# mine\n"
    assert [path for path, _ in controller.asked] == ["/preview"]


def test_between_looking_and_writing_no_other_command_writes(
    coder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = changing.write

    def held(path: Path, before: bytes, after: str | None) -> None:
        folder = os.open(coder.parent, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(folder)
        write(path, before, after)

    monkeypatch.setattr(changing, "write", held)
    assert call("set", "coder", "ctx=8192").code == 0
    assert "ctx: 8192" in coder.read_text()


def test_commands_at_the_same_time_lose_nothing(coder: Path, call: Call) -> None:
    """Each either writes its field beside those of the others, or says that the file changed meanwhile."""
    program = [sys.executable, "-m", "reconciler", "set", "coder"]
    running = [
        subprocess.Popen(
            [*program, f"metadata.labels.of-{number}=x"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for number in range(4)
    ]
    ended = [(each.communicate(timeout=60)[1], each.returncode) for each in running]
    done = [number for number, (_, code) in enumerate(ended) if code == 0]
    assert done
    assert [number for number in range(4) if f"    of-{number}: x\n" in coder.read_text()] == done
    assert all("has changed meanwhile; nothing was changed" in err for err, code in ended if code)
