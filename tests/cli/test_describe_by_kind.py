"""`describe KIND NAME` in all the words of `get`: profiles and defaults too, and as data."""

import json

import pytest

from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import Filling
from tests.cli.test_get_defaults import declare as declare_defaults
from tests.cli.test_profiles import declare as declare_profile


@pytest.fixture
def declared(filling: Filling, controller: FakeController) -> None:
    filling.ready("coder")
    filling.ready("chat")
    declare_profile(filling, "day", servers=["coder"], active=True)
    declare_profile(filling, "night", servers=["coder", "chat"])
    declare_defaults(filling, "base", {"flags": {"mlock": True}}, {"tier": "demo"})
    filling.event("coder", "Ready", "pid 5 is ready after 0.1 s")
    filling.event("Profile/night", "Held", "it selects no server any more", warning=True)


@pytest.mark.parametrize("words", ["coder", "server coder", "server/coder", "srv/coder", "LlamaServer coder"])
def test_a_server_in_all_the_words_for_it(declared: None, call: Call, words: str) -> None:
    code, out, err = call("describe", *words.split())
    assert (code, err) == (0, "")
    assert out.startswith("Name:            coder\n")
    assert "pid 5 is ready after 0.1 s" in out


def test_several_one_below_the_other(declared: None, call: Call) -> None:
    for words in (("coder", "chat"), ("server", "coder", "chat"), ("server/coder", "profile/day")):
        out = call("describe", *words).out
        names = [line.split()[1] for line in out.splitlines() if line.startswith("Name:")]
        assert names == [word.rpartition("/")[2] for word in words if word != "server"]


@pytest.mark.parametrize("words", ["profile night", "prof/night", "profiles night"])
def test_a_profile(declared: None, call: Call, words: str) -> None:
    code, out, err = call("describe", *words.split())
    assert (code, err) == (0, "")
    for line in (
        "Name:            night\nKind:            Profile\nActive:          no\n",
        "Ready:           2 of 2",
        "Declared in:     manifests/night.yaml:1, generation 2",
        "Spec:\n  servers: [coder, chat]\n",
        "Selects:\n  SERVER  PHASE\n  chat    Ready\n  coder   Ready\n",
        "it selects no server any more",
        "What to do:      have its servers run, and no others: reconciler profile use night",
    ):
        assert line in out


@pytest.mark.parametrize("words", ["defaults base", "default/base", "def/base", "LlamaServerDefaults base"])
def test_defaults(declared: None, call: Call, words: str) -> None:
    code, out, err = call("describe", *words.split())
    assert (code, err) == (0, "")
    assert "Kind:            LlamaServerDefaults\n" in out
    assert "    flags:\n      mlock: true\n" in out
    assert "  coder   Ready" in out
    assert "Active:" not in out


def test_one_that_is_not_there(declared: None, call: Call) -> None:
    code, out, err = call("describe", "profile", "nigth")
    assert (code, out) == (1, "")
    assert err == (
        "error: no profile 'nigth', did you mean 'night'?\nhint: see which there are with: reconciler get profiles\n"
    )


def test_as_data(declared: None, filling: Filling, call: Call) -> None:
    filling.source()
    server = json.loads(call("describe", "coder", "-o", "json").out)
    (listed,) = json.loads(call("get", "servers", "coder", "-o", "json").out)["items"]
    assert (server["kind"], server["metadata"], server["spec"]) == ("LlamaServer", listed["metadata"], listed["spec"])
    assert [event["reason"] for event in server["events"]] == ["Ready"]
    assert [start["server"] for start in server["restarts"]] == ["coder"]
    profile = json.loads(call("describe", "profile/night", "-o", "json").out)
    assert (profile["kind"], profile["events"][0]["reason"]) == ("Profile", "Held")
    assert json.loads(call("describe", "source", "-o", "json").out)["kind"] == "Source"
    both = json.loads(call("describe", "coder", "chat", "-o", "json").out)
    assert (both["kind"], [item["kind"] for item in both["items"]]) == ("List", ["LlamaServer"] * 2)
    assert call("describe", "coder", "-o", "yaml").out.startswith("apiVersion: llama.reconciler/v1alpha1\n")


def test_the_version_as_data(call: Call) -> None:
    told = json.loads(call("version", "-o", "json").out)
    assert call("version").out == f"reconciler {told['reconciler']}, Python {told['python']}\n"
