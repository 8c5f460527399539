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
