"""`start` and `restart` of servers that are not to run; which servers the verbs that ask are given."""

import json
from collections.abc import Callable

import pytest

from reconciler.core.model import Phase
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import Filling, status

PARKED = "the active profile 'day' leaves it out; run all with: reconciler profile use --none"


def suspended(filling: Filling, name: str) -> None:
    filling.document(name, suspend=True)
    filling.record(name, status(Phase.STOPPED, "suspended by its manifest", "Suspended"))


def parked(filling: Filling, name: str) -> None:
    filling.document(name)
    filling.record(name, status(Phase.STOPPED, PARKED, "NotInProfile"))


def asked_of(controller: FakeController) -> list[str]:
    return [name for path, body in controller.asked if path == "/requests" for name in body["servers"]]


@pytest.mark.parametrize("verb", ["start", "restart"])
@pytest.mark.parametrize("waits", [(), ("--no-wait",)])
@pytest.mark.parametrize(
    ("rests", "command"), [(suspended, "reconciler resume a"), (parked, "reconciler profile use --none")]
)
def test_one_that_is_not_to_run_is_an_error_with_a_way_out(
    filling: Filling,
    controller: FakeController,
    call: Call,
    *,
    rests: Callable[[Filling, str], None],
    command: str,
    verb: str,
    waits: tuple[str, ...],
) -> None:
    rests(filling, "a")
    code, _, err = call(verb, "a", *waits)
    assert (code, f"not {verb}ed" in err) == (1, True)
    assert f"with: {command}\n" in err


def test_a_stopped_one_is_not_restarted(
    filling: Filling, controller: FakeController, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.cli.follow.PATIENCE", 0.0)
    filling.stopped("a")
    code, out, err = call("restart", "a")
    assert (code, out) == (1, "a  Stopped (stopped by request)\n")
    assert err == "error: 1 server not restarted\nhint: start it with: reconciler start a\n"


def test_of_all_those_that_are_not_to_run_are_left_out(
    filling: Filling, controller: FakeController, call: Call
) -> None:
    filling.ready("a")
    suspended(filling, "b")
    parked(filling, "c")
    filling.ready("d")
    code, out, err = call("start", "--all")
    assert (code, err) == (0, "")
    assert "b  left out: suspended by its manifest\n" in out
    assert f"c  left out: {PARKED}\n" in out
    assert out.splitlines()[-1].startswith("2 started in ")
    assert asked_of(controller) == ["a", "d"]


def test_all_being_left_out_is_no_error(filling: Filling, controller: FakeController, call: Call) -> None:
    suspended(filling, "a")
    assert call("restart", "--all").code == 0
    assert call("start", "--all", "--no-wait").out == "a  left out: suspended by its manifest\n"
    assert controller.asked == []


def test_labels_choose(filling: Filling, controller: FakeController, call: Call) -> None:
    for name in ("a", "b"):
        filling.ready(name)
    code, _, _ = call("stop", "-l", "tier=demo", "--no-wait")
    assert (code, asked_of(controller)) == (0, ["a", "b"])
    code, _, err = call("stop", "-l", "tier=prod")
    assert (code, err.splitlines()[0]) == (1, "error: no server has these labels")
    code, _, err = call("stop", "a", "-l", "tier=demo")
    assert (code, err.splitlines()[0]) == (2, "error: give names, --all or -l, and only one of these")


@pytest.mark.parametrize("prefix", ["server", "servers", "srv", "LlamaServer"])
def test_the_kind_may_stand_before_the_names(
    filling: Filling, controller: FakeController, call: Call, prefix: str
) -> None:
    for name in ("a", "b"):
        filling.ready(name)
    for words in ([prefix, "a", "b"], [f"{prefix}/a", f"{prefix}/b"]):
        controller.asked.clear()
        assert call("stop", *words, "--no-wait").code == 0
        assert asked_of(controller) == ["a", "b"]


@pytest.mark.parametrize("words", ["wait server a", "wait srv/a", "top server a -o json", "logs server a"])
def test_so_may_it_in_the_verbs_that_look(filling: Filling, controller: FakeController, call: Call, words: str) -> None:
    begun = filling.ready("a")
    (filling.state / "logs" / "a").mkdir(parents=True)
    (filling.state / "logs" / "a" / f"{begun.uid}.log").write_text("hello\n")
    code, out, err = call(*words.split())
    assert (code, err) == (0, "")
    if "json" in words:
        assert [item["metadata"]["name"] for item in json.loads(out)["items"]] == ["a"]


def test_one_server_is_ensured_at_a_time(filling: Filling, call: Call) -> None:
    filling.ready("a")
    code, _, err = call("ensure", "a", "b")
    assert (code, err.splitlines()[0]) == (2, "error: ensure takes one server, not 2; call it once for each")
    code, _, err = call("ensure", "server", "b")
    assert (code, err.splitlines()[0]) == (1, "error: no server 'b'")
