"""Servers outlive their manager, and the next one takes them over."""

import os
import signal
import time
import urllib.request

import pytest

from tests.e2e.installation import Installation
from tests.sampling import some

pytestmark = pytest.mark.real
TEN = [f"s{number}" for number in range(10)]


@pytest.mark.parametrize("number", some([signal.SIGTERM, signal.SIGKILL, signal.SIGINT], [signal.SIGKILL]))
def test_ten_servers_go_on_and_are_adopted(installation: Installation, number: int) -> None:
    for name in TEN:
        installation.declare(name)
    installation.start()
    before = installation.wait_ready(*TEN)
    installation.end(number)
    for name in TEN:
        (instance,) = installation.instances(name)
        with urllib.request.urlopen(f"http://127.0.0.1:{instance['port']}/health", timeout=5) as answer:
            assert answer.status == 200
    assert installation.pids() == before

    installation.start()
    installation.wait_for("a controller", installation.is_controlled)
    installation.reconcile()
    installation.stays(lambda: installation.pids() == before, 1.0)
    assert set(installation.phases().values()) == {"Ready"}
    assert installation.query("select count(*) from instances") == [(10,)]

    # Adopted ones are watched like children: one dies, one comes.
    os.kill(before["s4"], signal.SIGKILL)
    installation.wait_for("s4 again", lambda: installation.pids().get("s4", before["s4"]) != before["s4"])
    after = installation.wait_ready(*TEN)
    assert {name for name in TEN if after[name] != before[name]} == {"s4"}


def test_what_happened_meanwhile_is_made_good(installation: Installation) -> None:
    for name in ("kept", "edited", "removed", "killed"):
        installation.declare(name)
    installation.start()
    before = installation.wait_ready("kept", "edited", "removed", "killed")
    installation.end(signal.SIGKILL)
    os.kill(before["killed"], signal.SIGKILL)
    installation.declare("edited", ctx=512)
    (installation.manifests / "removed.yaml").unlink()
    installation.declare("added")
    installation.start()
    after = installation.wait_ready("kept", "edited", "killed", "added")
    assert after["kept"] == before["kept"]
    assert after["edited"] != before["edited"]
    ended = installation.instances("killed")[0]
    assert ended["exit"] == {"code": None, "signal": None}  # nobody was there to learn it
    assert installation.instances("killed")[1]["trigger"] == "Crashed"


def test_a_lost_database_is_made_again_from_the_marks(installation: Installation) -> None:
    installation.declare("chat")
    installation.start()
    before = installation.wait_ready("chat")
    marks = installation.query("select value from meta where key = 'installation'")
    installation.end()
    with installation.writing() as connection:
        connection.execute("delete from instances")
        connection.execute("delete from servers")
        connection.execute("delete from documents")
    installation.start()
    installation.wait_ready("chat")
    assert installation.pids() == before
    assert installation.query("select value from meta where key = 'installation'") == marks
    assert installation.instances("chat")[0]["trigger"] == "Adopted"


def test_the_end_comes_at_once_during_back_off(installation: Installation) -> None:
    installation.declare("chat", restart={"initialBackoff": "1h", "maxBackoff": "1h"})
    installation.start()
    os.kill(installation.wait_ready("chat")["chat"], signal.SIGKILL)
    installation.wait_phase("chat", "BackOff")
    began = time.monotonic()
    assert installation.end() == 0
    assert time.monotonic() - began < 2
    assert "reconciler stop --all" in installation.log()


def test_on_exit_stop_takes_the_servers_along_and_asks_nothing_of_the_next_controller(
    installation: Installation,
) -> None:
    installation.declare("one")
    installation.declare("two")
    installation.start("--on-exit", "stop")
    installation.wait_ready("one", "two")
    assert installation.end() == 0
    assert installation.pids() == {}
    installation.start()
    installation.wait_ready("one", "two")


def test_another_environment_restarts_nothing(installation: Installation) -> None:
    installation.declare("chat")
    installation.start()
    before = installation.wait_ready("chat")
    installation.end()
    installation.start(LLAMA_ARG_CTX_SIZE="64", LANG="C", OMP_NUM_THREADS="1", EDITOR="vi")
    installation.wait_for("a controller", installation.is_controlled)
    installation.reconcile()
    installation.stays(lambda: installation.pids() == before, 1.0)


def test_a_second_controller_is_refused(installation: Installation) -> None:
    installation.start()
    installation.wait_for("a controller", installation.is_controlled)
    assert installation.controller is not None
    told = installation.cli("run", code=1)
    assert f"`reconciler run` (pid {installation.controller.pid})" in told
