"""`dependsOn` over real servers: the order of first starts, what is missing, circles, and a loss later on."""

import os
import signal

import pytest

from tests.e2e.installation import Installation

pytestmark = pytest.mark.real


def test_servers_start_in_the_order_of_what_they_depend_on(installation: Installation) -> None:
    installation.declare("app", dependsOn=["middle", "base"])
    installation.declare("middle", dependsOn=["base"])
    installation.declare("base")
    installation.start()
    installation.wait_ready("app", "middle", "base")
    [app], [middle], [base] = (installation.instances(name) for name in ("app", "middle", "base"))
    assert base["first_ready"]["monotonic"] <= middle["intent"]["monotonic"]
    assert middle["first_ready"]["monotonic"] <= app["intent"]["monotonic"]


def test_a_missing_one_is_told_with_what_to_do_and_that_works(installation: Installation) -> None:
    installation.declare("app", dependsOn=["base"])
    told = installation.cli("apply", "--timeout", "10s", code=1)
    assert "it depends on 'base', which no manifest declares" in told
    installation.declare("base", suspend=True)
    told = installation.cli("apply", "--timeout", "10s", code=1)
    assert "reconciler resume server/base" in told
    installation.cli("resume", "server/base")
    assert "0 failed" in installation.cli("apply")
    assert installation.pids().keys() == {"app", "base"}


def test_a_later_loss_restarts_nothing_and_a_change_of_it_neither(installation: Installation) -> None:
    installation.declare("app", dependsOn=["base"])
    installation.declare("base")
    installation.start()
    before = installation.wait_ready("app", "base")
    os.kill(before["base"], signal.SIGKILL)
    installation.wait_for("base again", lambda: installation.pids().get("base", before["base"]) != before["base"])
    installation.wait_ready("app", "base")
    installation.cli("stop", "base")
    installation.declare("app", dependsOn=["base", "nobody"])
    installation.reconcile()
    assert installation.pids() == {"app": before["app"]}
    # One that crashes comes back without what it depends on.
    os.kill(before["app"], signal.SIGKILL)
    installation.wait_for("app again", lambda: installation.pids().get("app", before["app"]) != before["app"])
    installation.wait_phase("app", "Ready")


def test_a_circle_is_an_error_on_all_its_members_and_stops_nothing(installation: Installation) -> None:
    installation.declare("a")
    installation.declare("b", dependsOn=["a"])
    installation.start()
    before = installation.wait_ready("a", "b")
    installation.declare("a", dependsOn=["b"])
    told = installation.cli("validate", code=2)
    assert told.count("in a circle (a → b → a)") == 2
    installation.reconcile()
    assert installation.pids() == before
    assert installation.reason("a") == installation.reason("b") == "InvalidManifest"
    assert installation.generation("a") == 1
    installation.declare("a")
    installation.reconcile()
    assert installation.reason("a") == "AsDeclared"
    installation.declare("alone", dependsOn=["alone"])
    assert "it depends on itself" in installation.cli("apply", code=2)
