"""`get profiles`: which there are, which is active, how many of its servers are Ready; `profile use` asks for one."""

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.profiles import ALL_RUN, NO_PROFILES
from reconciler.core.kinds import PROFILE, other_document
from reconciler.core.model import Now
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import BOOT, START, Filling
from tests.docs.pages import ROOT, blocks

HEAD = "apiVersion: llama.reconciler/v1alpha1\n"


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


def test_the_data_is_as_documented(two: None, filling: Filling, call: Call) -> None:
    select(filling, "day", ["chat", "coder"])
    found = json.loads(call("get", "profiles", "day", "-o", "json").out)
    (told,) = (
        json.loads(block.text)
        for block in blocks("json", ROOT / "docs" / "reference" / "json.md")
        if block.heading == "Profiles"
    )
    assert found == told


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("",), "the name of the profile is empty: name one, or give --none"),
        (("profile/",), "the name of the profile is empty: name one, or give --none"),
        ((), "name the profile, or give --none"),
        (("day", "--none"), "give one of NAME and --none, not both"),
    ],
)
def test_one_or_none_has_to_be_named(two: None, call: Call, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = call("profile", "use", *arguments)
    assert code == 2
    assert message in err


@pytest.mark.parametrize("fails", ["writing", "acceptance"])
def test_what_was_asked_for_in_vain_is_taken_back(
    two: None, filling: Filling, controller: FakeController, call: Call, fails: str
) -> None:
    select(filling, "day", ["chat", "coder"])
    folder = filling.state.parent / "manifests"
    folder.mkdir(exist_ok=True)
    for name in ("coder", "chat"):
        (folder / f"{name}.yaml").write_text(
            f"{HEAD}kind: LlamaServer\nmetadata: {{name: {name}}}\nspec: {{model: m}}\n"
        )
    for name, spec in (("day", "{servers: [coder, chat], active: true}"), ("night", "{servers: [coder]}")):
        (folder / f"{name}.yaml").write_text(f"{HEAD}kind: Profile\nmetadata: {{name: {name}}}\nspec: {spec}\n")

    def answer(body: Any) -> Any:
        if fails == "writing":  # somebody saves the file while the command runs
            (folder / "night.yaml").write_text("# another text\n")
        return 200, {"requests": list(range(len(body["servers"])))}

    controller.on("/requests", answer)
    code, _, err = call("profile", "use", "night")
    assert code == 1
    assert ("has changed meanwhile" if fails == "writing" else "is not in force") in err
    asked = [body["servers"] for path, body in controller.asked if path == "/requests"]
    assert asked == [["night"], []]


def test_an_unknown_profile_is_looked_for_among_profiles(two: None, controller: FakeController, call: Call) -> None:
    controller.on("/requests", lambda _body: (404, {"error": "no such profile: night", "unknown": ["night"]}))
    (Path("manifests")).mkdir()
    Path("manifests", "night.yaml").write_text(
        f"{HEAD}kind: Profile\nmetadata: {{name: night}}\nspec: {{servers: []}}\n"
    )
    assert call("profile", "use", "night").err.endswith(
        "error: no such profile: night\nhint: reconciler get profiles\n"
    )
