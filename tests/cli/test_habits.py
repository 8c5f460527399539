"""What people type who know other tools, and what they are answered."""

import pytest
from click.testing import CliRunner

from reconciler.cli.invocation import VerbGroup
from reconciler.cli.main import VERBS, cli
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import Filling


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("status chat", "no such command 'status'; here it is: reconciler describe chat"),
        ("ps", "no such command 'ps'; here it is: reconciler get servers"),
        ("rm server/chat", "no such command 'rm'; here it is: reconciler delete chat"),
        ("rollout undo chat", "no such command 'reconciler rollout undo'; here it is: reconciler rollback chat"),
        ("rollout restart deployment/chat", "here it is: reconciler restart chat"),
        ("rollout status", "here it is: reconciler wait NAME"),
        ("rollout histroy chat", "did you mean 'history'?"),
    ],
)
def test_a_verb_of_another_tool(call: Call, words: str, told: str) -> None:
    code, out, err = call(*words.split())
    assert (code, out) == (2, "")
    assert told in err


def test_a_server_in_place_of_a_kind(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.ready("chat")
    filling.ready("coder")
    code, _, err = call("get", "chat")
    assert code == 2
    assert err == ("error: no such list 'chat'\nhint: it is a server; show it with: reconciler get servers chat\n")
    assert call("get", "chat", "coder").err.endswith("reconciler get servers chat coder\n")
    assert "there are: reconciler get servers" in call("get", "chap").err


GROUPS = [name for name in VERBS if isinstance(cli.get_command(None, name), VerbGroup)]  # type: ignore[arg-type]


def test_groups_are_found() -> None:
    assert set(GROUPS) >= {"create", "profile", "rollout"}


@pytest.mark.parametrize("group", GROUPS)
def test_the_help_of_a_group_shows_what_is_below(group: str) -> None:
    shown = CliRunner().invoke(cli, [group, "--help"]).output
    assert f"Examples:\n  reconciler {group} " in shown
    assert "Exit codes:\n  0  " in shown


def test_what_was_written_but_not_taken_up(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.ready("a1")
    folder = filling.state.parent / "manifests"
    folder.mkdir()
    (folder / "n1.yaml").write_text("kind: LlamaServer\nmetadata:\n  name: n1  # new\nspec: {model: m.gguf}\n")
    (folder / "n2.json").write_text('{"kind": "LlamaServer", "metadata": {"name": "n2"}}')
    for words in ("get servers n1", "get server/n1", "wait n1", "ensure n1", "stop n1", "describe n1", "logs n1"):
        code, _, err = call(*words.split())
        assert (code, words) == (1, words)
        assert err.splitlines() == [
            "error: no server 'n1' yet: its manifest was not taken up",
            "hint: put it in force with: reconciler apply n1",
        ]
    assert call("wait", "n2").err.endswith("reconciler apply n2\n")
    assert call("wait", "a3").err.startswith("error: no server 'a3', did you mean 'a1'?\n")


def test_an_unknown_reason_is_told(filling: Filling, call: Call) -> None:
    filling.event("coder", "Ready", "there")
    filling.event("coder", "OfAnotherVersion", "there")
    code, out, err = call("events", "--reason", "Redy")
    assert (code, out) == (2, "")
    assert err.startswith("error: no event has the reason 'Redy', did you mean 'Ready'?\n")
    assert call("events", "--reason", "ofanotherversion").out.count("\n") == 2


@pytest.mark.parametrize("follows", [(), ("--tail", "3")])
def test_logs_of_no_server_say_so(
    filling: Filling, controller: FakeController, call: Call, follows: tuple[str, ...]
) -> None:
    filling.ready("coder")
    code, out, err = call("logs", "-l", "role=nix", *follows)
    assert (code, out) == (0, "")
    assert err == "no server has these labels; see which there are with: reconciler get servers -o json\n"
