"""The policy over many documents, at the gate, and just before the spawn."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.controller.launching import MOST_VERDICTS, Launcher, LaunchError
from reconciler.controller.policy import refusals
from reconciler.core.model import Now
from reconciler.core.source import LOCAL
from reconciler.core.turns import Turn
from tests.controller.policed import MODELS, denials, document, lay_out, rule, settings_of

NOW = Now(monotonic=1000.0, wall=4_000_000_000.0, boot="b")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return lay_out(tmp_path)


# ---------------------------------------------------------------- how many


def test_those_that_run_are_the_first_to_count(root: Path) -> None:
    settings = settings_of(root, "[policy.git]\nmax_servers = 2")
    documents = [document(name=name) for name in "abcd"]
    assert set(denials(documents, settings)) == {"c", "d"}
    assert set(denials(documents, settings, frozenset("cd"))) == {"a", "b"}
    assert set(denials(documents, settings, frozenset("d"))) == {"b", "c"}
    found = denials(documents, settings)["c"]
    assert found.rule == "policy.git.max_servers"
    assert "4 servers are to run, and 2 may" in found.message
    assert "write max_servers = 4 under [policy.git]" in found.message


def test_suspended_and_local_ones_do_not_count(root: Path) -> None:
    settings = settings_of(root, "[policy.git]\nmax_servers = 1")
    documents = [document(name="a", suspend=True), document(LOCAL, name="b"), document(name="c")]
    assert denials(documents, settings) == {}


def test_what_is_wrong_with_a_document_comes_before_how_many_there_are(root: Path) -> None:
    settings = settings_of(root, "[policy.git]\nmax_servers = 1")
    found = denials([document(name="a"), document(name="b", port=1)], settings)
    assert found["b"].rule == "policy.git.ports"


# ---------------------------------------------------------------- at the gate and before the spawn


@pytest.fixture
def launcher(root: Path) -> Launcher:
    settings = settings_of(root, 'llama_server = "/bin/sh"\n[policy.git]\nbinaries = ["/bin/cat"]')
    return Launcher(settings, {"TOKEN": "x"})


def test_the_gate_says_what_is_denied(launcher: Launcher) -> None:
    gate = launcher.look(document(flags={"path": "/"}), NOW)
    assert gate.reason == "PolicyDenied"
    assert gate.message.startswith("policy.git.flags: flag `path` serves files of this machine; to allow it, write ")
    assert launcher.look(document(), NOW).reason == ""
    assert launcher.look(document(LOCAL, flags={"path": "/"}), NOW).reason == ""


@pytest.mark.parametrize("binary", ["/bin/sh", "/usr/../bin/sh", "/bin/cat"])
def test_a_repository_may_name_the_llama_server_in_use(launcher: Launcher, binary: str) -> None:
    assert launcher.look(document(binary=binary), NOW).reason == ""
    assert launcher.launch(document(binary=binary), 8001).argv[0] == os.path.normpath(binary)
    assert launcher.look(document(binary="/bin/ls"), NOW).reason == "PolicyDenied"


def test_a_repository_may_name_the_llama_server_that_is_found(root: Path) -> None:
    launcher = Launcher(settings_of(root), {"PATH": "", "LLAMA_SERVER": "/usr/../bin/sh"})
    assert launcher.look(document(binary="/bin/sh"), NOW).reason == ""
    assert launcher.look(document(LOCAL, binary="/bin/sh"), NOW).reason == ""


def test_the_gate_is_shut_for_one_too_many(launcher: Launcher) -> None:
    documents = [document(name=f"s{number:03}") for number in range(65)]
    crowded = launcher.crowded(documents, {"s064": Turn.RUNS})
    assert set(crowded) == {"s063"}
    gate = launcher.look(documents[63], NOW, crowded["s063"])
    assert (gate.reason, gate.message) == ("PolicyDenied", crowded["s063"].message)


def test_a_link_that_was_swapped_since_is_noticed_before_the_spawn(launcher: Launcher, root: Path) -> None:
    one = document(model="round.gguf")
    assert launcher.look(one, NOW).reason == ""
    (root / "models/round.gguf").unlink()
    (root / "models/round.gguf").symlink_to("../outside/x.gguf")
    with pytest.raises(LaunchError, match=r"policy\.git\.models: spec\.model names .*/outside/x\.gguf") as raised:
        launcher.launch(one, 8001)
    assert raised.value.reason == "PolicyDenied"


def test_a_denied_document_has_no_secret_read(launcher: Launcher, root: Path) -> None:
    os.mkfifo(root / "outside/pipe")
    one = document(env={"LANG": {"fromFile": "../outside/pipe"}})
    assert launcher.look(one, NOW).reason == "PolicyDenied"


def test_programs_are_allowed_by_origin(launcher: Launcher) -> None:
    assert launcher.launch(document(binary="/bin/cat"), 1).argv[0] == "/bin/cat"
    assert launcher.look(document(LOCAL, binary="/bin/cat"), NOW).reason == "BinaryNotAllowed"
    assert launcher.launch(document(LOCAL, binary="/bin/sh"), 1).argv[0] == "/bin/sh"


def test_the_models_folder_itself_may_be_a_link(root: Path) -> None:
    (root / "linked").symlink_to("models")
    settings = settings_of(root, 'models = "linked"\n')
    assert rule(settings, model="a.gguf") == ""
    assert rule(settings, model="../outside/x.gguf") == MODELS


def test_a_name_that_promises_many_parts_costs_one_look(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    real = os.path.realpath

    def counted(path: str) -> str:
        looked.append(path)
        return real(path)

    monkeypatch.setattr("os.path.realpath", counted)
    gate = launcher.look(document(model="x-00001-of-99999.gguf"), NOW)
    assert gate.reason == "ModelMissing"
    assert len(looked) < 5


def test_what_costs_most_is_judged_at_once(launcher: Launcher, root: Path) -> None:
    for name in ("models/d", "models/x-00001-of-99999.gguf"):
        (root / name).touch()
    deep = "a/" * 220
    most = document(model=deep, flags={"lora": ",".join(["x-00001-of-99999.gguf"] * 31)})
    many = [replace(most, name=f"s{number:04}") for number in range(2000)]
    began = time.monotonic()
    crowded = launcher.crowded(many, {})
    for look in range(5):
        now = replace(NOW, monotonic=NOW.monotonic + look / 10)
        assert {launcher.look(one, now, crowded.get(one.name)).reason for one in many} >= {"PolicyDenied"}
    assert time.monotonic() - began < 2


def test_a_verdict_is_kept_for_a_second(launcher: Launcher, root: Path) -> None:
    one = document(model="file.gguf")
    assert launcher.look(one, NOW).reason == "PolicyDenied"
    (root / "models/file.gguf").unlink()
    (root / "models/file.gguf").symlink_to("a.gguf")
    assert launcher.look(one, replace(NOW, monotonic=NOW.monotonic + 0.9)).reason == "PolicyDenied"
    assert launcher.look(document(model="a.gguf"), NOW).reason == ""
    assert launcher.look(one, replace(NOW, monotonic=NOW.monotonic + 1)).reason == ""


def test_verdicts_do_not_pile_up(launcher: Launcher) -> None:
    one = document()
    for number in range(1000):
        launcher.look(replace(one, name=f"s{number}"), replace(NOW, monotonic=NOW.monotonic + number))
    assert len(launcher._verdicts) <= MOST_VERDICTS


def test_all_that_is_denied_of_a_document_is_told(launcher: Launcher, root: Path) -> None:
    one = document(flags={"path": "/", "tools": "all", "lora": "/etc/a,/etc/b,/opt/c"}, port=1, env={"HOME": "x"})
    gate = launcher.look(one, NOW)
    assert gate.message.startswith("policy.git.flags: flag `path` serves files of this machine; to allow it, write ")
    assert gate.message.endswith(" (and 6 more)")
    found = refusals([one], settings_of(root))["chat"]
    assert [(one.rule.rpartition(".")[2], one.path) for one in found] == [
        ("flags", ("spec", "flags", "path")),
        ("flags", ("spec", "flags", "tools")),
        *[("models", ("spec", "flags", "lora"))] * 3,
        ("ports", ("spec", "port")),
        ("env", ("spec", "env", "HOME")),
    ]
    written = [one.message.partition("write ")[2].partition(" under")[0] for one in found]
    # Who follows them one after the other has all of it in the end.
    assert written[:2] == ['flags = ["path"]', 'flags = ["path", "tools"]']
    assert written[2:5] == ['models = ["/etc"]', 'models = ["/etc"]', 'models = ["/etc", "/opt"]']
    assert written[5:] == ['ports = ["8001-8999", "1"]', 'env = ["HOME"]']


def test_one_denial_is_told_alone(launcher: Launcher) -> None:
    assert launcher.look(document(port=1), NOW).message.endswith("and run the controller again")


def test_a_hostile_path_is_told_on_one_line(root: Path) -> None:
    found = denials([document(model="/o/\u202e\x9b[31m" + "x" * 4000)], settings_of(root))["chat"]
    assert found.message.isprintable()
    assert len(found.message) < 500
