"""`delete`: documents leave their files, and their servers end."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Call
from tests.cli.fake_controller import QUIET, FakeController
from tests.cli.filling import Filling
from tests.cli.test_diff_and_validate import answer, change, manifest
from tests.cli.test_profiles import declare


@pytest.fixture
def folder(root: Path) -> Path:
    path = root / "manifests"
    path.mkdir()
    (path / "chat.yaml").write_text(manifest("chat"))
    (path / "both.yaml").write_text(f"# of a\n{manifest('a')}---\n# of b\n{manifest('b')}")
    return path


def ends(filling: Filling, *names: str) -> Any:
    """Take the request, and be done with it."""

    def answer(_body: Any) -> tuple[int, Any]:
        with filling.store.transaction():
            for name in names:
                filling.store.remove_document(name)
                filling.store.forget(name)
        return 200, {"requests": [1] * len(names)}

    return answer


def test_the_last_document_takes_its_file_along(folder: Path, call: Call) -> None:
    code, out, err = call("delete", "server", "chat")
    assert (code, err) == (0, "")
    assert out == "- chat  stop: its document is removed; it does not run\nmanifests/chat.yaml removed\n"
    assert not (folder / "chat.yaml").exists()


def test_the_other_documents_stay(folder: Path, call: Call) -> None:
    assert call("delete", "a").out.endswith("written to manifests/both.yaml\n")
    assert (folder / "both.yaml").read_text().endswith(f"# of b\n{manifest('b')}")
    assert "name: a}" not in (folder / "both.yaml").read_text()
    assert call("delete", "server/b", "chat").code == 0
    assert not list(folder.glob("*.yaml"))


def test_a_dry_run_only_tells(folder: Path, call: Call) -> None:
    code, out, _ = call("delete", "chat", "--dry-run")
    assert (code, out.splitlines()[-1]) == (0, "dry run: nothing was written")
    assert (folder / "chat.yaml").exists()


def test_the_removal_is_a_persons_word(filling: Filling, controller: FakeController, folder: Path, call: Call) -> None:
    filling.ready("chat")
    controller.on("/requests", ends(filling, "chat"))
    code, out, err = call("delete", "server", "chat")
    assert (code, err) == (0, "")
    assert out.startswith("- chat  stop: its document is removed\nmanifests/chat.yaml removed\nchat  deleted in ")
    assert controller.asked == [("/requests", {"kind": "prune", "servers": ["chat"]}), ("/reconcile", {})]


def test_one_whose_document_is_gone_already_is_let_go(
    filling: Filling, controller: FakeController, folder: Path, call: Call
) -> None:
    filling.ready("old")
    # Another program's files were not quiet at the first look, and it was held.
    asked = iter([(200, {"requests": [1]}), None])

    def answer(body: Any) -> tuple[int, Any]:
        return next(asked) or ends(filling, "old")(body)

    controller.on("/requests", answer)
    controller.on("/reconcile", lambda _body: (200, {**QUIET, "prunable": ["old"]}))
    assert call("delete", "old").out.startswith("- old  stop: its document is removed\nold  deleted in ")
    assert [path for path, _ in controller.asked] == ["/requests", "/reconcile", "/requests"]


def test_not_waiting_only_asks(filling: Filling, controller: FakeController, folder: Path, call: Call) -> None:
    filling.ready("chat")
    code, out, _ = call("delete", "chat", "--no-wait")
    assert (code, out.splitlines()[-1]) == (0, "asked for; see how it goes with: reconciler get servers -w")


def test_one_that_does_not_end_is_told(filling: Filling, controller: FakeController, folder: Path, call: Call) -> None:
    filling.ready("chat")
    code, _, err = call("delete", "chat", "--timeout", "100ms")
    assert code == 1
    assert err == "error: 1 server not deleted\nhint: see why with: reconciler describe server chat\n"


def test_what_is_held_for_other_reasons_is_asked_for_again(
    filling: Filling, controller: FakeController, folder: Path, call: Call
) -> None:
    """A request that came before the look that saw it go."""
    filling.ready("chat")
    asked = iter([(200, {"requests": [1]}), None])
    controller.on("/requests", lambda body: next(asked) or ends(filling, "chat")(body))
    controller.on("/reconcile", lambda _body: (200, {**QUIET, "held": {"chat": "its file has an error"}}))
    assert call("delete", "chat").code == 0
    assert [path for path, _ in controller.asked] == ["/requests", "/reconcile", "/requests"]


def test_what_a_manifest_without_a_name_holds_is_told(filling: Filling, folder: Path, call: Call) -> None:
    filling.ready("chat")
    (folder / "broken.yaml").write_text("a: [\n")
    err = call("delete", "chat", "--dry-run").err
    assert err.startswith("warning: no server goes before this is corrected: manifests/broken.yaml:2:1: not valid YAML")


def test_of_other_kinds_what_becomes_of_servers_is_told(
    filling: Filling, controller: FakeController, folder: Path, call: Call
) -> None:
    for kind, name in (("Profile", "day"), ("LlamaServerDefaults", "all")):
        text = f"apiVersion: llama.reconciler/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{}}\n"
        (folder / f"{name}.yaml").write_text(text)
    controller.on("/preview", answer(change("a", "start", "no profile is active any more"), change("b", "unchanged")))
    assert call("delete", "profile/day", "--dry-run").out.splitlines() == [
        "- profile/day  removed",
        "+ a  start: no profile is active any more",
        "dry run: nothing was written",
    ]
    controller.on("/preview", answer(change("b", "unchanged")))
    # What is held though its file is gone needs the person's word too.
    controller.on("/reconcile", lambda _body: (200, {**QUIET, "held": {"LlamaServerDefaults/all": "…", "a": "…"}}))
    assert call("delete", "defaults", "all").out.splitlines()[:2] == [
        "- defaults/all  removed; no server changes",
        "manifests/all.yaml removed",
    ]
    assert [body for path, body in controller.asked if path == "/preview"] == [
        {"documents": [{"file": "", "text": "", "without": key}]} for key in ("Profile/day", "LlamaServerDefaults/all")
    ]
    assert controller.asked[-1] == ("/requests", {"kind": "prune", "servers": ["LlamaServerDefaults/all"]})


def test_of_two_one_that_is_gone_already_does_not_keep_the_other(
    filling: Filling, controller: FakeController, folder: Path, call: Call
) -> None:
    for name in ("a", "b"):
        filling.ready(name)

    def gone(body: Any) -> tuple[int, Any]:
        if "a" not in body["servers"]:
            return ends(filling, "b")(body)  # type: ignore[no-any-return]
        ends(filling, "a")(body)
        return 404, {"error": "no server 'a'", "unknown": ["a"]}

    controller.on("/requests", gone)
    assert call("delete", "a", "b").code == 0
    assert [body["servers"] for path, body in controller.asked if path == "/requests"] == [["a", "b"], ["b"]]


def test_one_that_the_controller_let_go_meanwhile_is_deleted(
    filling: Filling, controller: FakeController, folder: Path, call: Call
) -> None:
    filling.ready("chat")

    def answer(body: Any) -> tuple[int, Any]:
        ends(filling, "chat")(body)
        return 404, {"error": "no server 'chat'", "unknown": ["chat"]}

    controller.on("/requests", answer)
    code, out, err = call("delete", "chat")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("chat  deleted in ")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("chatt",), 1, "error: no server 'chatt', did you mean 'chat'?"),
        (("profile", "day"), 1, "error: no profile 'day'"),
        (("nosuch/day",), 2, "error: no kind 'nosuch'"),
        (("of-git",), 2, "error: server 'of-git' comes from Git; change it there: prod/of-git.yaml"),
        (("chat", "chatt"), 1, "error: no server 'chatt'"),
    ],
)
def test_what_is_not_here_is_told_and_nothing_changed(
    filling: Filling, folder: Path, call: Call, arguments: tuple[str, ...], code: int, message: str
) -> None:
    filling.ready("of-git", origin="git", file="git:prod/of-git.yaml")
    called = call("delete", *arguments)
    assert (called.code, called.out) == (code, "")
    assert called.err.startswith(message)
    assert (folder / "chat.yaml").exists()


def test_labels_choose_servers(filling: Filling, controller: FakeController, folder: Path, call: Call) -> None:
    filling.document("a")
    filling.document("chat")
    controller.on("/requests", ends(filling, "a", "chat"))
    code, out, err = call("delete", "-l", "tier=demo")
    assert (code, err) == (0, "")
    assert ("manifests/chat.yaml removed\n" in out, (folder / "chat.yaml").exists()) == (True, False)
    assert "name: a}" not in (folder / "both.yaml").read_text()
    for words, code, message in (
        (["-l", "tier=prod"], 1, "error: no server has these labels\n"),
        (["b", "-l", "tier=demo"], 2, "error: name what is to go, or give -l: one of both\n"),
        ([], 2, "error: name what is to go, or give -l: one of both\n"),
    ):
        called = call("delete", *words)
        assert (called.code, called.err.startswith(message)) == (code, True)


def test_a_document_that_is_no_server_ends_with_a_word(
    filling: Filling, controller: FakeController, folder: Path, call: Call
) -> None:
    declare(filling, "day", servers=["chat"])
    (folder / "day.yaml").write_text(
        "apiVersion: llama.reconciler/v1alpha1\nkind: Profile\nmetadata: {name: day}\nspec: {servers: [chat]}\n"
    )
    code, out, _ = call("delete", "profile", "day")
    assert code == 0
    *_, waits, last = out.splitlines()
    assert waits == "waiting until the controller has taken that up"
    assert last.startswith("1 document deleted in ")
