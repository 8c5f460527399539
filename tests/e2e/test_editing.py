"""Manifests changed from the command line, and what becomes of the servers."""

import re
import shutil
import time
from pathlib import Path

import pytest

from tests.e2e.following import Following, settings
from tests.e2e.installation import Installation
from tests.e2e.terminal import Terminal
from tests.gitops.remotes import BareRemote

pytestmark = pytest.mark.real
COMMENTED = """\
# two servers of the house
apiVersion: llama.reconciler/v1alpha1
kind: LlamaServer
metadata: {name: one}   # in flow
spec:
  model: tiny.gguf
  ctx: 128              # over all slots
  parallel: 1
  threads: 1
  flags: {warmup: false}
--- # the second
apiVersion: llama.reconciler/v1alpha1
kind: LlamaServer
metadata: {name: two}
spec: {model: 'tiny.gguf', ctx: 128, parallel: 1, threads: 1, flags: {warmup: false}}
"""


def test_set_restarts_what_it_changes_and_nothing_else(installation: Installation) -> None:
    path = installation.manifests / "both.yaml"
    installation.write(path, COMMENTED)
    installation.start()
    before = installation.wait_ready("one", "two")

    said = installation.cli("set", "server/one", "spec.ctx=256", "metadata.labels.team=search", "--wait")
    assert "~ one  restart: ctx changed\n" in said
    assert "    spec.ctx: 128 → 256\n" in said
    assert said.splitlines()[-1] == "0 started, 1 changed, 0 unchanged, 0 stopped, 0 failed"
    after = installation.wait_ready("one", "two")
    assert (after["one"] == before["one"], after["two"] == before["two"]) == (False, True)
    assert installation.generation("one") == 2
    expected = COMMENTED.replace("ctx: 128              #", "ctx: 256              #")
    assert path.read_text() == expected.replace("{name: one}", "{name: one, labels: {team: search}}")

    assert "nothing was changed" in installation.cli("set", "two", "port=99999", code=2)
    assert "nothing restarts" in installation.cli("unset", "one", "metadata.labels.team")
    assert installation.wait_ready("one", "two") == after


def test_what_is_foretold_is_what_comes(installation: Installation) -> None:
    installation.write(installation.manifests / "both.yaml", COMMENTED)
    installation.start()
    before = installation.wait_ready("one", "two")
    assert "nothing restarts" in installation.cli("set", "one", "restart.maxBackoff=2m", "--wait")
    foretold = installation.cli("set", "one", "ctx=256", "--dry-run")
    assert "~ one  restart: ctx changed\n" in foretold
    assert "maxBackoff" not in foretold

    port = installation.instances("two")[0]["port"]
    foretold = installation.cli("set", "one", f"port={port}", "--dry-run")
    blocked = f"port {port} is held by server 'two'; declare another port"
    assert f"\n    blocked: {blocked}" in foretold
    assert "held by server 'two'" in installation.cli("set", "one", f"port={port}", "--wait", "--timeout", "3s", code=1)
    assert installation.reason("one") == "GateShut"
    assert installation.wait_ready("one", "two") == before


def test_edit_in_an_editor(installation: Installation) -> None:
    path = installation.manifests / "both.yaml"
    installation.write(path, COMMENTED)
    installation.start()
    before = installation.wait_ready("one", "two")
    installation.environ["EDITOR"] = "sed -i 's/ctx: 128/ctx: 512/'"
    assert "~ two  restart: ctx changed" in installation.cli("edit", "server", "two", "--wait")
    after = installation.wait_ready("one", "two")
    assert (after["one"] == before["one"], after["two"] == before["two"]) == (True, False)
    assert path.read_text() == COMMENTED.replace("'tiny.gguf', ctx: 128", "'tiny.gguf', ctx: 512")
    assert "edit cancelled" in installation.cli("edit", "two")


def test_suspend_and_resume(installation: Installation) -> None:
    path = installation.manifests / "both.yaml"
    installation.write(path, COMMENTED)
    installation.start()
    installation.wait_ready("one", "two")
    assert "- two  stop: suspended by its manifest" in installation.cli("suspend", "two", "--wait")
    installation.wait_ready("one")
    assert installation.phases()["two"] == "Stopped"
    assert "1 started" in installation.cli("resume", "two", "--wait")
    installation.wait_ready("one", "two")
    assert path.read_text() == COMMENTED


def test_a_first_server_is_created_and_deleted(installation: Installation) -> None:
    """It is the only one: without anybody's word, the prune guard would hold it."""
    installation.start()
    options = ("--ctx", "128", "--parallel", "1", "--set", "threads=1", "--flag", "warmup=false")
    said = installation.cli("create", "server", "coder", "--model", "tiny.gguf", *options, "--wait")
    assert "coder  Ready" in said
    installation.wait_ready("coder")

    begun = time.monotonic()
    said = installation.cli("delete", "server", "coder")
    assert "- coder  stop: its document is removed\n" in said
    assert re.search(r"^coder +deleted in ", said, re.MULTILINE)
    assert time.monotonic() - begun < 10
    assert (installation.pids(), installation.phases()) == ({}, {})
    assert not list(installation.manifests.iterdir())
    assert "no server 'coder'" in installation.cli("delete", "server", "coder", code=1)


def test_what_is_held_is_let_go(installation: Installation) -> None:
    installation.declare("one")
    installation.declare("two")
    installation.start()
    installation.wait_ready("one", "two")
    for name in ("one", "two"):
        (installation.manifests / f"{name}.yaml").unlink()
    installation.wait_for("the guard to hold both", lambda: installation.reason("one") == "PruneHeld")
    assert "has no manifest to edit" in installation.cli("set", "one", "ctx=256", code=1)
    installation.cli("delete", "one")
    installation.wait_ready("two")
    installation.stays(lambda: set(installation.pids()) == {"two"}, 1.0)


def test_an_error_beside_it_does_not_hold_what_is_deleted(installation: Installation) -> None:
    path = installation.manifests / "both.yaml"
    installation.write(path, COMMENTED)
    installation.start()
    before = installation.wait_ready("one", "two")
    broken = COMMENTED.replace("name: two", "name: three").replace("'tiny.gguf'", "[")
    installation.write(path, f"{COMMENTED}---\n{broken[broken.index('--- #') + 4 :]}")
    installation.wait_for("its error", lambda: "three" in installation.phases())
    assert re.search(r"^one +deleted in ", installation.cli("delete", "one"), re.MULTILINE)
    installation.stays(lambda: installation.pids() == {"two": before["two"]}, 3.0)


def test_without_a_controller(installation: Installation) -> None:
    installation.declare("one")
    installation.declare("two")
    installation.start()
    before = installation.wait_ready("one", "two")
    installation.end()

    said = installation.cli("set", "one", "ctx=256")
    assert "no controller is running: put it in force with: reconciler apply one" in said
    assert installation.pids() == before
    assert "1 changed" in installation.cli("set", "one", "ctx=512", "--wait")
    assert installation.pids()["one"] != before["one"]

    installation.cli("delete", "server/two")
    assert set(installation.pids()) == {"one"}
    assert [path.name for path in installation.manifests.iterdir()] == ["one.yaml"]
    installation.cli("delete", "one", "--no-wait")
    installation.wait_for("it to end", lambda: installation.pids() == {})


@pytest.mark.skipif(shutil.which("vi") is None, reason="there is no vi")
def test_vi_in_a_terminal(installation: Installation) -> None:
    path = installation.manifests / "both.yaml"
    installation.write(path, COMMENTED)
    # The emulator knows less than vim does of newer terminals.
    with Terminal(installation, "edit", "server", "one", VISUAL="", EDITOR="", TERM="vt100") as terminal:
        terminal.wait_for("#| server/one of manifests/both.yaml: save it")
        terminal.send(":%s/ctx: 128/cxt: 256/\r:wq\r")
        # It opens again, with what is wrong above the text; Ctrl-C is vi's own.
        terminal.wait_for("spec.cxt: unknown field, did you mean 'ctx'?")
        terminal.child.sendintr()
        terminal.send(":%s/cxt: 256/ctx: 256/\r:wq\r")
        assert terminal.end() == 0
        assert "written to manifests/both.yaml" in "\n".join(terminal.lines)
    assert path.read_text() == COMMENTED.replace("ctx: 128              #", "ctx: 256              #")


def test_what_comes_from_git_is_changed_there(installation: Installation, tmp_path: Path) -> None:
    remote = BareRemote(tmp_path / "remote.git")
    settings(installation, remote.url)
    following = Following(installation, remote)
    following.push({"a": {}})
    installation.declare("here")
    installation.start()
    before = installation.wait_ready("a", "here")
    for verb in (("set", "a", "ctx=256"), ("suspend", "a"), ("delete", "a"), ("edit", "a")):
        said = installation.cli(*verb, code=2)
        assert "error: server 'a' comes from Git; change it there: " in said
        assert remote.url in said
        assert "reconciler stop a" in said
    assert "server 'a' is there already, from Git" in installation.cli("create", "server", "a", "--model", "x", code=1)
    assert installation.wait_ready("a", "here") == before
    # What is declared beside it can be edited.
    assert "1 changed" in installation.cli("set", "here", "ctx=256", "--wait")
    installation.cli("delete", "here")
    assert installation.wait_ready("a") == {"a": before["a"]}
