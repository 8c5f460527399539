"""Many servers in trouble at once: who is well is served, and all come back."""

import os
import signal
import time

import pytest

from tests.e2e.hung_loader import write_hung_loader
from tests.e2e.installation import Installation

pytestmark = pytest.mark.real
HUNG = 100
SOON = 5.0
"""Seconds; a hung loader gives its slot back after 60, and a crashed server is back after milliseconds."""


def allow(installation: Installation, ports: int) -> str:
    """Widen the range of ports, and allow the loader that hangs; its path."""
    binary, first = write_hung_loader(installation.root), installation.ports.start
    settings = f'binaries = ["{binary}"]\n[ports]\nlow = {first}\nhigh = {first + ports}\n'
    (installation.root / "reconciler.toml").write_text(settings)
    return str(binary)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("loads", ["4", str(HUNG)])
def test_a_hundred_hung_loaders_do_not_keep_a_crashed_server_from_restarting(
    installation: Installation, loads: str
) -> None:
    binary = allow(installation, HUNG + 20)
    installation.declare("well", restart={"initialBackoff": "0s"})
    installation.start(RECONCILER_LOADS=loads)
    pid = installation.wait_ready("well")["well"]
    for number in range(HUNG):
        installation.declare(f"hung-{number:03}", binary=binary)

    def slots_are_taken() -> bool:
        states = installation.query("select phase, count(*) from servers where name like 'hung%' group by phase")
        waiting = [("Pending", HUNG - int(loads))] if int(loads) < HUNG else []
        return sorted(states) == [*waiting, ("Starting", int(loads))]

    installation.wait_for("loaders that hold every slot", slots_are_taken, patience=60)
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    installation.wait_for("another process", lambda: installation.pids().get("well", pid) != pid)
    assert time.monotonic() - killed < SOON
    installation.wait_phase("well", "Ready")
    assert slots_are_taken()


@pytest.mark.timeout(180)
def test_a_crash_of_all_at_once(installation: Installation) -> None:
    """All come back, none is counted twice, and no more load at a time than may."""
    names = [f"s{number:02}" for number in range(40)]
    allow(installation, 60)
    for name in names:
        installation.declare(name)
    installation.start(RECONCILER_LOADS="3")
    before = installation.wait_ready(*names, patience=60)
    assert installation.controller is not None
    installation.controller.send_signal(signal.SIGSTOP)  # so that it sees one crash of all, and not forty of one
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    installation.controller.send_signal(signal.SIGCONT)
    most = 0

    def all_back() -> bool:
        nonlocal most
        ((loading, ended),) = installation.query(
            "select count(*) filter (where ended_at is null and ready_at is null),"
            " count(*) filter (where ended_at is not null) from instances"
        )
        most = max(most, loading)
        return bool(ended == len(names) and len(installation.pids()) == len(names) and loading == 0)

    installation.wait_for("all back", all_back, patience=60)
    after = installation.wait_ready(*names)
    assert set(after.values()).isdisjoint(before.values())
    assert 0 < most <= 3
    ended = installation.query("select count(*), count(distinct server) from instances where ended_at is not null")
    assert ended == [(len(names), len(names))]
    assert {restarts for (restarts,) in installation.query("select restarts from servers")} == {1}
