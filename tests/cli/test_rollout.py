import json
import re

import pytest

from reconciler.cli.documents import check_spec
from reconciler.core.history import StopReason, Trigger
from reconciler.core.model import Exit
from reconciler.core.source import GIT
from reconciler.manifests.parse import parse
from tests.cli.conftest import Call
from tests.cli.filling import COMMIT, Filling


def table(text: str) -> list[list[str]]:
    return [re.split(r" {2,}", line) for line in text.splitlines()]


@pytest.fixture
def changed(filling: Filling) -> Filling:
    """A server that was changed twice, and has crashed in between."""
    filling.document("coder", ctx=1024)
    first = filling.instance("coder", at=1)
    filling.end(first, 10.0, exit=Exit(code=0), stop_reason=StopReason.SPEC_CHANGED, diagnosis="SpecChanged")
    filling.document("coder", generation=2, at=10, ctx=2048, env={"GREETING": "hello"})
    second = filling.instance("coder", at=11, trigger=Trigger.SPEC_CHANGED)
    filling.end(second, 2.0, exit=Exit(signal=9), diagnosis="Killed")
    third = filling.instance("coder", at=14, trigger=Trigger.CRASHED)
    filling.end(third, 2.0, exit=Exit(signal=9), diagnosis="Killed")
    fourth = filling.instance("coder", at=17, trigger=Trigger.CRASHED)
    filling.end(fourth, 2.0, exit=Exit(code=0), stop_reason=StopReason.RESTART_REQUESTED)
    filling.instance("coder", at=20, trigger=Trigger.REQUESTED)
    filling.document("coder", generation=3, at=30, ctx=2048, stop={"drain": "5s"})
    return filling


def test_history(changed: Filling, call: Call) -> None:
    header, first, second, third = table(call("rollout", "history", "coder").out)
    assert header == ["GENERATION", "ACCEPTED", "FROM", "STARTS", "CHANGED"]
    assert (first[0], first[2:]) == ("1", ["manifests/coder.yaml:1", "Created", "declared"])
    assert second[0] == "2"
    assert second[3] == "SpecChanged, 2 Crashed (Killed), Requested"
    assert second[4] == "ctx 1024→2048, +env"
    assert third[0] == "3 (in force)"
    assert third[3:] == ["-", "-env, +stop"]


def test_as_data(changed: Filling, call: Call) -> None:
    found = json.loads(call("rollout", "history", "server/coder", "-o", "json").out)
    assert found["kind"] == "GenerationList"
    _, second, third = found["items"]
    assert second["changes"][0] == {"path": "spec.ctx", "old": 1024, "new": 2048, "source": ""}
    assert second["changes"][1]["old"] is None
    assert [(start["trigger"], start["because"]) for start in second["starts"]] == [
        ("SpecChanged", ""),
        ("Crashed", "Killed"),
        ("Crashed", "Killed"),
        ("Requested", ""),
    ]
    assert (third["inForce"], third["source"]["file"]) == (True, "manifests/coder.yaml")
    one = json.loads(call("rollout", "history", "coder", "--generation", "2", "-o", "json").out)
    assert one == second
    assert call("rollout", "history", "coder", "-o", "yaml").out.startswith("apiVersion:")


def test_one_generation_is_a_manifest(changed: Filling, call: Call) -> None:
    out = call("rollout", "history", "coder", "--revision", "2").out
    assert out.splitlines()[0] == "# LlamaServer 'coder', generation 2"
    assert "# changed: ctx 1024→2048, +env" in out
    parsed = parse(out, "a.yaml", check_spec)
    assert parsed.problems == ()
    (document,) = parsed.documents
    assert (document.name, document.spec.ctx, dict(document.labels)) == ("coder", 2048, {"tier": "demo"})


def test_a_commit_is_told(filling: Filling, call: Call) -> None:
    filling.source()
    filling.document("coder", file="git:fleet/coder.yaml", origin=GIT)
    assert table(call("rollout", "history", "coder").out)[1][2] == f"git:fleet/coder.yaml:1 at {COMMIT[:8]}"


def test_one_that_was_gone_is_declared_again(filling: Filling, call: Call) -> None:
    filling.document("coder", ctx=1024)
    filling.remove("coder")
    assert table(call("rollout", "history", "coder").out)[1][0] == "1"
    filling.document("coder", generation=2, ctx=1024)
    filling.document("coder", generation=3, ctx=2048)
    _, first, again, changed = table(call("rollout", "history", "coder").out)
    assert first[0] == "1"
    assert (again[0], again[4]) == ("2", "declared again")
    assert (changed[0], changed[4]) == ("3 (in force)", "ctx 1024→2048")


def test_numbers_of_earlier_versions_begin_anew_with_each_declaration(filling: Filling, call: Call) -> None:
    filling.document("coder", ctx=1024)
    filling.remove("coder")
    filling.document("coder", ctx=2048)
    again = table(call("rollout", "history", "coder").out)[2]
    assert (again[0], again[4]) == ("1 (in force)", "declared again; ctx 1024→2048")


def test_what_cannot_be_cut_is_cut_last(changed: Filling, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.cli.rollout.width", lambda: 60)
    lines = call("rollout", "history", "coder").out.splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[0].startswith("GENERATION    ACCEPTED")
    wide = call("rollout", "history", "coder", "-o", "wide").out
    assert "SpecChanged, 2 Crashed (Killed), Requested" in wide


def test_what_a_manifest_says_is_harmless_on_a_terminal(filling: Filling, call: Call) -> None:
    filling.document("coder", flags={"alias": "a"})
    filling.document("coder", generation=2, flags={"alias": "b"}, file="manifests/\x1b[31mred.yaml")
    assert "\x1b" not in call("rollout", "history", "coder").out
    assert "\x1b" not in call("rollout", "history", "coder", "--generation", "2").out


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("codr",), 1, "nothing was accepted of server 'codr', did you mean 'coder'?"),
        (("profile/coder",), 1, "nothing was accepted of profile 'coder'"),
        (("coder", "--generation", "7"), 2, "generation 7 of 'coder' is not known; there are: 1, 2, 3"),
        (("pod/coder",), 2, "no kind 'pod'"),
    ],
)
def test_mistakes_are_answered(changed: Filling, call: Call, arguments: tuple[str, ...], code: int, error: str) -> None:
    called = call("rollout", "history", *arguments)
    assert (called.code, called.out) == (code, "")
    assert error in called.err.splitlines()[0]
    assert called.err.splitlines()[1].startswith("hint: ")


def test_the_group_tells_what_there_is(call: Call) -> None:
    assert "there is: reconciler rollout history" in call("rollout", "undo").err
