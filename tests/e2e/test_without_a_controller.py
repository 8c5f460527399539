"""Verbs that are the controller themselves, and end before their servers do."""

import json

import pytest

from tests.e2e.installation import Installation

pytestmark = pytest.mark.real
UNATTENDED = "no controller is running: nobody restarts servers until: reconciler run"


def test_not_waiting_leaves_only_once_everything_is_begun(installation: Installation) -> None:
    names = [f"server{number}" for number in range(6)]
    for name in names:
        installation.declare(name)
    # One loads at a time: the later ones are begun long after the first pass.
    with (installation.root / "reconciler.toml").open("r+") as settings:
        text = settings.read()
        settings.seek(0)
        settings.write(f"loads = 1\n{text}")
    told = installation.cli("apply", "--no-wait")
    assert set(installation.pids()) == set(names)
    assert UNATTENDED in told
    assert "asked for" not in told


def test_not_waiting_for_a_restart_leaves_once_the_new_one_is_there(installation: Installation) -> None:
    for name in ("one", "two"):
        installation.declare(name)
    installation.cli("apply")
    before = installation.pids()
    assert UNATTENDED in installation.cli("restart", "one", "--no-wait")
    after = installation.pids()
    assert after["one"] != before["one"]
    assert after["two"] == before["two"]
    assert UNATTENDED not in installation.cli("stop", "one", "--no-wait")
    assert installation.pids() == {"two": before["two"]}


def test_a_server_that_nobody_looks_after_is_unknown(installation: Installation) -> None:
    for name in ("one", "two"):
        installation.declare(name)
    installation.cli("apply")
    installation.declare("new")
    installation.cli("stop", "one")
    listed = json.JSONDecoder().raw_decode(installation.cli("get", "servers", "-o", "json"))[0]["items"]
    found = {item["metadata"]["name"]: item for item in listed}
    pid = installation.pids()["two"]
    assert {name: item["status"]["phase"] for name, item in found.items()} == {
        "new": "Pending",
        "one": "Stopped",
        "two": "Unknown",
    }
    assert found["two"]["status"]["message"] == f"no controller is running; pid {pid} is alive, last seen Ready"
    assert found["new"]["status"]["message"].count("no controller is running") == 1
    told = installation.cli("get", "servers")
    assert f" {found['one']['status']['port']} " in told.splitlines()[2]
    assert "3 total, 0 ready, 1 running" in told
    described = installation.cli("describe", "server", "new")
    assert "start a controller, which goes on with it: reconciler run" in described


def declare_profile(installation: Installation, name: str, servers: str, *, active: bool) -> None:
    spec = f"{{servers: [{servers}], active: {str(active).lower()}}}"
    text = f"apiVersion: llama.reconciler/v1alpha1\nkind: Profile\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    installation.write(installation.manifests / f"profile-{name}.yaml", text)


def test_after_a_switch_by_hand_it_is_told_at_once_who_makes_it(installation: Installation) -> None:
    for name in ("old", "new"):
        installation.declare(name)
    declare_profile(installation, "day", "old", active=True)
    declare_profile(installation, "night", "new", active=False)
    installation.cli("apply")
    before = installation.pids()
    declare_profile(installation, "day", "old", active=False)
    declare_profile(installation, "night", "new", active=True)
    for verb in ("ensure", "start"):
        told = installation.cli(verb, "new", "--timeout", "60s", code=1)
        assert "no controller is running that ends 'old'; switch with: reconciler apply" in told
        assert installation.pids() == before
    installation.cli("apply")
    assert installation.pids().keys() == {"new"}
    assert "http" in installation.cli("ensure", "new")


def test_what_is_to_run_by_the_files_of_now_is_ensured(installation: Installation) -> None:
    installation.declare("coder", suspend=True)
    installation.cli("apply")
    assert "is suspended" in installation.cli("ensure", "coder", code=1)
    installation.declare("coder")
    installation.declare("late")
    assert "http" in installation.cli("ensure", "coder")
    assert "http" in installation.cli("ensure", "late")
    assert installation.pids().keys() == {"coder", "late"}
