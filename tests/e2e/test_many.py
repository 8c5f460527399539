"""A hundred real servers, and a machine without pidfd and /proc."""

import os
import signal

import pytest

from tests.e2e.installation import Installation

pytestmark = pytest.mark.real


@pytest.mark.timeout(300)
def test_a_hundred_servers_from_a_hundred_manifests(installation: Installation) -> None:
    names = [f"s{number:03}" for number in range(100)]
    first = installation.ports.start
    (installation.root / "reconciler.toml").write_text(f"[ports]\nlow = {first}\nhigh = {first + 120}\n")
    for name in names:
        installation.declare(name)
    installation.start()
    before = installation.wait_ready(*names, patience=120)
    for name in names[::10]:
        os.kill(before[name], signal.SIGKILL)
    installation.wait_for("ten new ones", lambda: len(set(installation.pids().values()) - set(before.values())) == 10)
    after = installation.wait_ready(*names, patience=60)
    assert {name for name in names if after[name] != before[name]} == set(names[::10])
    installation.cli("stop", "--all")
    assert installation.pids() == {}


def test_without_pidfd_and_proc(installation: Installation) -> None:
    installation.environ["RECONCILER_HOST"] = "portable"
    installation.declare("one")
    installation.declare("two")
    installation.start()
    before = installation.wait_ready("one", "two")
    os.kill(before["one"], signal.SIGKILL)
    installation.wait_for("one again", lambda: installation.pids().get("one", before["one"]) != before["one"])
    before = installation.wait_ready("one", "two")
    installation.end(signal.SIGKILL)
    installation.start()
    installation.wait_for("a controller", installation.is_controlled)
    installation.reconcile()
    installation.stays(lambda: installation.pids() == before, 1.0)
    installation.declare("two", ctx=512)
    installation.wait_for("two to change", lambda: installation.pids().get("two", before["two"]) != before["two"])
    installation.wait_ready("one", "two")
    installation.cli("stop", "--all")
    assert installation.pids() == {}
