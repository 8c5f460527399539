"""`get profiles`: which there are, which is active, how many of its servers are Ready; `profile use` asks for one."""

import json
from typing import Any

import pytest

from reconciler.cli.profiles import ALL_RUN, NO_PROFILES
from reconciler.core.kinds import PROFILE, other_document
from reconciler.core.model import Now
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import BOOT, START, Filling


def declare(filling: Filling, name: str, origin: str = "local", **spec: Any) -> None:
    file = f"{'git:prod' if origin == 'git' else 'manifests'}/{name}.yaml"
    about = {"name": name, "file": file, "line": 1, "generation": 2, "origin": origin}
    with filling.store.transaction():
        filling.store.save_other(other_document(PROFILE, json.dumps(spec), **about), Now(0, START, BOOT))


def select(filling: Filling, profile: str, names: list[str], held: str = "") -> None:
    """What the controller keeps of the selection in force."""
    with filling.store.transaction():
        chosen = {"profile": profile, "names": names, "switch": "StopFirst", "held": held}
        filling.store.set_meta("selection", json.dumps(chosen))


@pytest.fixture
def two(filling: Filling, controller: FakeController) -> None:
    for name in ("coder", "chat"):
        filling.ready(name)
    declare(filling, "day", servers=["coder", "chat"], active=True)
    declare(filling, "night", servers=["coder"], switch="StartFirst")


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_table(two: None, filling: Filling, call: Call) -> None:
    select(filling, "day", ["chat", "coder"])
    code, out, err = call("get", "prof")
    assert (code, err) == (0, "")
    assert rows(out) == [
        ["NAME", "ACTIVE", "READY", "SWITCH", "SERVERS", "MESSAGE"],
        ["day", "yes", "2/2", "StopFirst", "chat,coder"],
        ["night", "-", "1/1", "StartFirst", "coder"],
    ]
    assert call("get", "profiles", "-o", "name").out.split() == ["profile/day", "profile/night"]
    assert rows(call("get", "profile/night", "-o", "wide").out)[1][5:] == ["2", "manifests/night.yaml:1"]


def test_without_an_active_one_all_are_to_run(two: None, filling: Filling, call: Call) -> None:
    declare(filling, "day", servers=["coder", "chat"])
    assert call("get", "profiles").out.splitlines()[-1] == ALL_RUN
    assert ALL_RUN not in call("get", "profile/night").out


def test_one_that_is_not_in_force_yet_says_why(two: None, filling: Filling, call: Call) -> None:
    why = "the profile 'day' selects no server; if this is meant, confirm it with: reconciler profile use day"
    select(filling, "", [], why)
    shown = call("get", "profiles").out
    assert rows(shown)[1][1:3] == ["not", "yet"]
    assert why in shown
    assert ALL_RUN not in shown


def test_without_profiles(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.ready("coder")
    assert call("get", "profiles").err == f"{NO_PROFILES}\n"


def test_one_from_git_is_chosen_there(two: None, filling: Filling, call: Call) -> None:
    declare(filling, "day", origin="git", servers=["coder"], active=True)
    for arguments in (("night",), ("--none",)):
        code, _, err = call("profile", "use", *arguments)
        assert code == 2
        assert err.startswith("error: profile 'day' comes from Git; set spec.active to false there: prod/day.yaml")


@pytest.mark.parametrize("arguments", [(), ("day", "--none")])
def test_one_or_none_has_to_be_named(two: None, call: Call, arguments: tuple[str, ...]) -> None:
    code, _, err = call("profile", "use", *arguments)
    assert code == 2
    assert "name the profile, or give --none" in err
