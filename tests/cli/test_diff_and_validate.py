import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController

MANIFEST = """\
apiVersion: llama.reconciler/v1alpha1
kind: LlamaServer
metadata: {{name: {name}}}
spec: {{model: tiny.gguf, {spec}}}
"""


def manifest(name: str, spec: str = "ctx: 128") -> str:
    return MANIFEST.format(name=name, spec=spec)


@pytest.fixture
def manifests(root: Path) -> Path:
    folder = root / "manifests"
    folder.mkdir()
    return folder


def answer(*changes: dict[str, Any], problems: tuple[str, ...] = (), folder_problem: str = "") -> Any:
    told = [{"text": text} for text in problems]
    return lambda _body: (200, {"changes": list(changes), "problems": told, "folderProblem": folder_problem})


def change(server: str, action: str, reason: str = "", *fields: tuple[str, Any, Any]) -> dict[str, Any]:
    listed = [{"path": path, "old": old, "new": new} for path, old, new in fields]
    return {"server": server, "action": action, "reason": reason, "fields": listed}


# ---------------------------------------------------------------- diff


def test_plain_values_of_variables_are_not_told(controller: FakeController, call: Call) -> None:
    """They may be secrets; where a secret is kept is none."""
    fields = [("spec.env.A", "one", "two"), ("spec.env.B", None, "x"), ("spec.env.C", {"fromEnv": "HF"}, "y")]
    controller.on("/preview", answer(change("a", "restart", "env.A changed", *fields)))
    out = call("diff").out
    assert [line.strip() for line in out.splitlines()[1:4]] == [
        "spec.env.A: (hidden) → (hidden)",
        "spec.env.B: (unset) → (hidden)",
        'spec.env.C: {"fromEnv": "HF"} → (hidden)',
    ]


def test_each_change_with_its_fields(controller: FakeController, call: Call) -> None:
    controller.on(
        "/preview",
        answer(
            change("coder", "restart", "ctx changed", ("spec.ctx", 4096, 8192), ("spec.flags.mlock", None, True)),
            change("new", "start", "new", ("spec.model", None, "tiny.gguf")),
            change("old", "stop", "its document is gone"),
            change("label", "update", "nothing restarts", ("metadata.labels.a", "x\x1b[2J", "")),
            change("same", "unchanged"),
        ),
    )
    code, out, err = call("diff")
    assert (code, err) == (1, "")
    assert out == (
        "~ coder  restart: ctx changed\n"
        "    spec.ctx: 4096 → 8192\n"
        "    spec.flags.mlock: (unset) → true\n"
        "+ new  start: new\n"
        "    spec.model: (unset) → tiny.gguf\n"
        "- old  stop: its document is gone\n"
        "~ label  update: nothing restarts\n"
        '    metadata.labels.a: x�[2J → ""\n'
        "1 start, 1 restart, 1 update, 1 stop, 1 unchanged\n"
    )
    assert controller.asked == [("/preview", {"documents": []})]


@pytest.mark.parametrize("command", [("diff",), ("apply", "--dry-run")])
def test_what_is_in_the_way_of_a_start_stands_below_it(
    controller: FakeController, call: Call, command: tuple[str, ...]
) -> None:
    shut = {**change("coder", "restart", "ctx changed", ("spec.ctx", 1, 2)), "blocked": "no file at /m\x1b[2J"}
    controller.on("/preview", answer(shut, {**change("new", "start", "new"), "blocked": ""}))
    assert call(*command).out == (
        "~ coder  restart: ctx changed\n"
        "    spec.ctx: 1 → 2\n"
        "    blocked: no file at /m\ufffd[2J\n"
        "+ new  start: new\n"
        "1 start, 1 restart (1 blocked)\n"
    )


FLAG = {"blockedReason": "InvalidFlag", "blocked": "spec.flags.mlok: this llama-server has no such flag"}


def test_a_dry_run_for_some_says_what_becomes_of_the_others(controller: FakeController, call: Call) -> None:
    wrong = {**change("coder", "start", "new"), **FLAG}
    controller.on("/preview", answer(wrong, change("chat", "restart", "ctx changed"), change("same", "unchanged")))
    called = call("apply", "--dry-run", "chat", "same")
    others = "all manifests come into force, so of the servers that are not named: 1 start (1 blocked)\n"
    told = f"~ chat  restart: ctx changed\n1 restart, 1 unchanged\n{others}"
    assert called == (0, told, "")
    assert call("apply", "--dry-run", "same").out.startswith("no changes: 1 server as declared\nall manifests ")
    unknown = call("apply", "--dry-run", "chatt")
    assert (unknown.code, unknown.out) == (2, "")
    assert unknown.err.startswith("error: no server 'chatt', did you mean 'chat'?\n")


@pytest.mark.parametrize("names", [(), ("coder",)])
def test_a_dry_run_with_a_wrong_flag_is_code_2(controller: FakeController, call: Call, names: tuple[str, ...]) -> None:
    missing = {**change("chat", "start", "new"), "blockedReason": "ModelMissing", "blocked": "no file at /m"}
    controller.on("/preview", answer({**change("coder", "start", "new"), **FLAG}, missing))
    called = call("apply", "--dry-run", *names)
    assert called.code == 2
    assert called.out.splitlines()[-1].endswith("1 start (1 blocked)" if names else "2 start (2 blocked)")
    assert called.err == (
        "error: 1 server with flags that the llama-server does not take: coder\n"
        "hint: correct them where this says: reconciler validate\n"
    )
    assert call("apply", "--dry-run", "chat").code == 0
    assert call("diff").code == 1


def test_no_change_is_code_0(controller: FakeController, call: Call) -> None:
    controller.on("/preview", answer(change("coder", "unchanged")))
    assert call("diff") == (0, "no changes: 1 server as declared\n", "")


def test_json_is_what_the_controller_says(controller: FakeController, call: Call) -> None:
    controller.on("/preview", answer(change("coder", "hold", "held by the prune guard")))
    code, out, _ = call("diff", "-o", "json")
    assert (code, json.loads(out)["changes"][0]["action"]) == (1, "hold")


@pytest.mark.parametrize("output", [(), ("-o", "json")])
def test_errors_are_code_2(controller: FakeController, call: Call, output: tuple[str, ...]) -> None:
    controller.on("/preview", answer(change("coder", "invalid", "x"), problems=("manifests/a.yaml:1:1: junk\x07",)))
    code, out, err = call("diff", *output)
    assert code == 2
    if not output:
        hint = "hint: correct what is named above, and check it with: reconciler validate\n"
        assert (out, err) == ("", f"manifests/a.yaml:1:1: junk�\nerror: 1 error in the manifests\n{hint}")


def test_given_documents_are_sent(controller: FakeController, call: Call, root: Path) -> None:
    (root / "a.yaml").write_text(manifest("a"))
    call("diff", "-f", "a.yaml", "-f", "-", stdin=manifest("b"))
    sent = [{"file": "a.yaml", "text": manifest("a")}, {"file": "<stdin>", "text": manifest("b")}]
    assert controller.asked == [("/preview", {"documents": sent})]


def test_what_is_not_utf_8_is_told(controller: FakeController, call: Call, root: Path) -> None:
    (root / "a.yaml").write_bytes(b"\xff\xfe")
    called = call("diff", "-f", "a.yaml")
    assert (called.code, "a.yaml is not UTF-8" in called.err) == (2, True)


def test_an_error_of_the_controller_is_told(controller: FakeController, call: Call) -> None:
    controller.on("/preview", lambda _body: (500, {"error": "the disk is full"}))
    called = call("diff")
    assert called.code == 1
    assert called.err.startswith("error: the disk is full\nhint: ")


def test_an_answer_that_is_no_json_is_told(controller: FakeController, call: Call) -> None:
    controller.on("/preview", lambda _body: (500, None))
    assert call("diff").err.startswith("error: the controller answers 500\n")


# ---------------------------------------------------------------- validate


def test_good_manifests_are_counted(manifests: Path, call: Call) -> None:
    (manifests / "a.yaml").write_text(manifest("a") + "---\n" + manifest("b"))
    (manifests / "deep").mkdir()
    (manifests / "deep" / "c.yml").write_text(manifest("c"))
    assert call("validate") == (0, "2 manifests, 3 servers: ok\n", "")
    assert call("validate", "manifests/deep", "manifests/a.yaml").out == "2 manifests, 3 servers: ok\n"
    assert call("validate", "-", stdin=manifest("d")).out == "1 manifest, 1 server: ok\n"


def test_all_errors_of_all_files_in_their_order(manifests: Path, call: Call) -> None:
    (manifests / "b.yaml").write_text(manifest("b", "ctz: 1") + "---\n" + manifest("c", "ctx: 0"))
    (manifests / "a.yaml").write_text("junk: [")
    code, out, err = call("validate")
    lines = err.splitlines()
    assert (code, out) == (2, "")
    assert [line.partition(": ")[0] for line in lines] == [
        "manifests/a.yaml:1:8",
        "manifests/b.yaml:4:26",
        "manifests/b.yaml:9:31",
        "error",
    ]
    assert lines[1] == "manifests/b.yaml:4:26: spec.ctz: unknown field, did you mean 'ctx'?"
    assert lines[-1] == "error: 3 errors in 2 manifests"


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (manifest("same"), manifest("same", "ctx: 5"), "metadata.name: the name 'same' is declared at "),
        (manifest("a", "port: 8001"), manifest("b", "port: 8001"), "spec.port: server '"),
    ],
)
def test_files_are_checked_together(manifests: Path, call: Call, one: str, other: str, words: str) -> None:
    (manifests / "one.yaml").write_text(one)
    (manifests / "other.yaml").write_text(other)
    code, _, err = call("validate")
    assert (code, err.count(words)) == (2, 2)
    assert call("validate", "manifests/one.yaml").code == 0


def test_errors_as_json(manifests: Path, call: Call) -> None:
    (manifests / "a.yaml").write_text(manifest("a", "ctz: 1"))
    code, out, err = call("validate", "-o", "json")
    found = json.loads(out)
    assert (code, err, found["manifests"], found["servers"]) == (2, "", 1, 0)
    (problem,) = found["problems"]
    assert problem["text"].startswith("manifests/a.yaml:4:26: spec.ctz: ")
    assert {key: problem[key] for key in ("file", "line", "column", "field", "server", "kind")} == {
        "file": "manifests/a.yaml",
        "line": 4,
        "column": 26,
        "field": "spec.ctz",
        "server": "a",
        "kind": "LlamaServer",
    }


@pytest.mark.parametrize("path", ["gone.yaml", "gone"])
def test_a_path_that_is_not_there_is_told(call: Call, path: str) -> None:
    called = call("validate", path)
    assert called.code == 2
    assert called.err.startswith(f"error: {path}: no such file or folder\nhint: ")


def test_no_manifests_folder_is_told(call: Call) -> None:
    called = call("validate")
    assert called.code == 2
    assert "does not exist" in called.err


def test_it_makes_no_state(manifests: Path, call: Call, root: Path) -> None:
    (manifests / "a.yaml").write_text(manifest("a"))
    call("validate")
    call("diff")
    assert sorted(path.name for path in root.iterdir()) == ["manifests"]


def test_the_folder_of_the_installation_above_is_meant(manifests: Path, filling: Any, call: Call, root: Path) -> None:
    (manifests / "a.yaml").write_text(manifest("a"))
    deep = root / "notes"
    deep.mkdir()
    import os

    os.chdir(deep)
    assert call("validate").out == "1 manifest, 1 server: ok\n"
