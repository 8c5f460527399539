"""What the settings allow is what runs: refused with the rule and the way out, and running once that was followed."""

import os
import re
import signal

import pytest

from tests.e2e.installation import Installation

pytestmark = pytest.mark.real


def allow(installation: Installation, text: str) -> None:
    """Write `[policy.local]`, after the ports."""
    path = installation.root / "reconciler.toml"
    path.write_text(path.read_text().partition("[policy")[0] + f"[policy.local]\n{text}\n")


def message(installation: Installation, name: str) -> str:
    """Why it does not run."""
    return str(installation.query("select message from servers where name = ?", name)[0][0])


def remedy(installation: Installation, name: str) -> str:
    """The setting that the refusal tells to write."""
    found = re.search(r"write (.*?) under \[policy\.local\] in reconciler\.toml", message(installation, name))
    assert found
    return found[1]


def test_a_refused_server_runs_once_what_it_was_told_is_written(installation: Installation) -> None:
    allow(installation, "hosts = []")
    installation.declare("chat", host="0.0.0.0")
    installation.start()
    installation.wait_phase("chat", "Blocked")
    assert installation.reason("chat") == "PolicyDenied"
    assert "policy.local.hosts: spec.host is 0.0.0.0, which other machines may reach" in message(installation, "chat")
    assert "policy.local.hosts" in installation.cli("get", "servers")
    assert "write hosts = " in installation.cli("describe", "server", "chat")
    assert installation.query("select count(*) from instances") == [(0,)]
    allow(installation, remedy(installation, "chat"))
    installation.end()
    installation.start()
    installation.wait_ready("chat")


def test_a_server_whose_new_spec_is_refused_goes_on(installation: Installation) -> None:
    allow(installation, 'deny_flags = ["metrics"]')
    installation.declare("chat")
    installation.start()
    pids = installation.wait_ready("chat")
    installation.declare("chat", flags={"warmup": False, "metrics": True})
    installation.wait_for("the refusal", lambda: installation.reason("chat") == "GateShut")
    told = installation.problem("chat")
    assert told.startswith("PolicyDenied: policy.local.flags: flag `metrics` is denied by deny_flags; take it out, or")
    assert told.endswith("until then the instance that runs stays")
    installation.stays(lambda: installation.pids() == pids and installation.phases() == {"chat": "Ready"}, 2)
    installation.declare("chat", ctx=256)
    installation.wait_for("the allowed spec", lambda: installation.generation("chat") == 3)
    # It is accepted a moment before the old instance is stopped.
    installation.wait_for("another instance", lambda: installation.pids() not in ({}, pids))
    installation.wait_ready("chat")


def test_a_stricter_policy_stops_nothing_that_runs(installation: Installation) -> None:
    installation.declare("chat")
    installation.start()
    pids = installation.wait_ready("chat")
    installation.end()
    allow(installation, "max_ctx = 1")
    installation.start()
    installation.wait_for("the controller", installation.is_controlled)
    installation.reconcile()
    installation.stays(lambda: installation.pids() == pids, 1)
    installation.cli("restart", "chat", "--timeout", "1", code=None)
    assert installation.pids() == pids


def test_no_more_servers_than_allowed_and_those_that_run_stay(installation: Installation) -> None:
    allow(installation, "max_servers = 1")
    installation.declare("mid")
    installation.start()
    pids = installation.wait_ready("mid")
    installation.declare("early")
    installation.declare("late")
    installation.wait_for("both Blocked", lambda: list(installation.phases().values()).count("Blocked") == 2)
    assert {installation.reason(name) for name in ("early", "late")} == {"PolicyDenied"}
    assert "3 servers are to run, and 1 may" in message(installation, "early")
    assert installation.pids() == pids
    installation.cli("restart", "mid")
    installation.wait_for("mid again", lambda: set(installation.pids()) == {"mid"} and installation.pids() != pids)
    installation.wait_ready("mid")


def test_a_place_is_kept_over_a_crash_and_left_by_who_is_stopped(installation: Installation) -> None:
    allow(installation, "max_servers = 1")
    installation.declare("b")
    installation.start()
    pids = installation.wait_ready("b")
    installation.declare("a")
    installation.wait_phase("a", "Blocked")
    os.kill(pids["b"], signal.SIGKILL)
    installation.wait_for("b again", lambda: installation.pids().keys() == {"b"} and installation.pids() != pids)
    installation.wait_ready("b")
    assert installation.query("select distinct server from instances") == [("b",)]
    installation.cli("stop", "b")
    installation.wait_ready("a")
    installation.cli("start", "b", "--timeout", "3s", code=1)
    assert (installation.phases()["b"], set(installation.pids())) == ("Blocked", {"a"})


def test_a_model_linked_out_of_the_folder_is_found_by_following_it(installation: Installation) -> None:
    allow(installation, "models = []")
    (installation.models / "tiny.gguf").rename(installation.root / "outside.gguf")
    (installation.models / "tiny.gguf").symlink_to("../outside.gguf")
    installation.declare("chat")
    installation.start()
    installation.wait_phase("chat", "Blocked")
    assert f"names {installation.root}/outside.gguf" in message(installation, "chat")
    (installation.models / "tiny.gguf").unlink()
    (installation.root / "outside.gguf").rename(installation.models / "tiny.gguf")
    installation.wait_ready("chat")


def test_a_preview_names_what_is_refused(installation: Installation) -> None:
    allow(installation, 'max_servers = 1\nports = ["1"]')
    installation.declare("a")
    installation.declare("b")
    installation.declare("c", port=installation.ports.start)
    shown = installation.cli("diff", code=None)
    assert "policy.local.max_servers" in shown
    assert "policy.local.ports" in shown
