"""Signals at bad moments: during starts, updates and stops, and storms of them. Servers never notice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from chaos.forking import Forker
from chaos.house import House, housed
from tests.e2e.installation import document
from tests.sampling import some

pytestmark = pytest.mark.real
SERVERS = ("calm", "quiet", "subject")
ENDS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture
def forker() -> Iterator[Forker]:
    made = Forker()
    yield made
    made.close()


@pytest.fixture
def house(tmp_path: Path, llama_server: str, tiny_model: Path, free_port: int, forker: Forker) -> Iterator[House]:
    ports = range(free_port, free_port + 20)
    with housed(tmp_path / "house", llama_server, tiny_model, ports, forker) as made:
        for name in SERVERS:
            made.declare(name)
        made.start()
        made.wait_converged(*SERVERS)
        yield made


def judged(house: House, running: tuple[str, ...], kept: dict[str, int]) -> None:
    """Another controller makes of what is left what was wanted."""
    if not house.runs:
        house.controller = None
        house.start()
    house.wait_converged(*running)
    assert not house.faults(running, kept)


def update(house: House) -> None:
    house.declare("subject", ctx=256)


def suspend(house: House) -> None:
    house.declare("subject", suspend=True)


def start(house: House) -> None:
    for number in range(4):
        house.declare(f"new-{number}")


def crash(house: House) -> None:
    house.crash(house.pids()["subject"])


NEW = tuple(f"new-{number}" for number in range(4))
WHILE = {
    "update": (update, SERVERS, 3),
    "suspend": (suspend, ("calm", "quiet"), 3),
    "starts": (start, (*SERVERS, *NEW), 8),
    "crash": (crash, SERVERS, 1),
}


@pytest.mark.parametrize("number", some(ENDS, [signal.SIGTERM]))
@pytest.mark.parametrize("what", WHILE)
def test_an_end_amid_something(house: House, what: str, number: signal.Signals) -> None:
    """At once, after the intent, and a little later: it ends cleanly, and the next controller goes on."""
    do, running, boundaries = WHILE[what]
    kept = {name: pid for name, pid in house.pids().items() if name != "subject"}
    house.fuse.arm(1 << 60)
    do(house)
    house.wait_for("its first steps", lambda: house.fuse.passed >= boundaries)
    assert house.controller is not None
    began = time.monotonic()
    house.controller.send_signal(number)
    assert house.controller.wait(10) == 0
    assert time.monotonic() - began < 5
    judged(house, running, kept)


@pytest.mark.parametrize("delay", some([0.0, 0.01, 0.02, 0.03, 0.05, 0.1], [0.02, 0.1]))
def test_an_end_during_the_controllers_own_start(house: House, delay: float) -> None:
    before = house.pids()
    house.kill_controller()
    house.start()
    # Whatever it is doing then: a moment of its start is all that there is to wait for.
    time.sleep(delay)
    assert house.controller is not None
    house.controller.send_signal(signal.SIGTERM)
    assert house.controller.wait(10) in (0, -signal.SIGTERM)
    judged(house, SERVERS, before)


def storm(house: House, numbers: tuple[int, ...], rounds: int) -> None:
    for _ in range(rounds):
        for number in numbers:
            with suppress(ProcessLookupError):
                assert house.controller is not None
                house.controller.send_signal(number)


@pytest.mark.parametrize("numbers", [ENDS, (*ENDS, signal.SIGHUP), (signal.SIGTERM,), (signal.SIGINT,)])
def test_a_storm_of_ends(house: House, numbers: tuple[int, ...]) -> None:
    before = house.pids()
    house.declare("subject", ctx=256)
    storm(house, numbers, 200)
    assert house.controller is not None
    assert house.controller.wait(10) == 0
    judged(house, SERVERS, {name: pid for name, pid in before.items() if name != "subject"})


def test_a_storm_of_hangups_ends_nothing(house: House) -> None:
    """SIGHUP means: look again. The controller goes on, and does what is due."""
    before = house.pids()
    for _ in range(10):
        storm(house, (signal.SIGHUP,), 300)
        assert house.is_controlled()
    house.declare("subject", ctx=256)
    storm(house, (signal.SIGHUP,), 300)
    house.wait_for("the update", lambda: house.pids().get("subject") not in (None, before["subject"]))
    house.wait_converged(*SERVERS)
    assert house.runs
    assert not house.faults(SERVERS, {name: pid for name, pid in before.items() if name != "subject"})


@pytest.mark.parametrize("number", some(ENDS, [signal.SIGTERM]))
def test_an_end_behind_a_storm_of_hangups_is_not_lost(house: House, number: signal.Signals) -> None:
    """While the loop is busy, here with reading manifests, nobody empties what signals fill."""
    before = house.pids()
    many = "---\n".join(document(f"idle-{count}", suspend=True) for count in range(400))
    house.write(house.manifests / "many.yaml", many)
    assert house.controller is not None
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        house.controller.send_signal(signal.SIGHUP)
    house.controller.send_signal(number)
    assert house.controller.wait(10) == 0
    assert house.pids() == before


@pytest.mark.parametrize("number", some([signal.SIGUSR1, signal.SIGALRM, signal.SIGQUIT], [signal.SIGQUIT]))
def test_a_signal_that_nobody_expects_ends_the_controller_alone(house: House, number: int) -> None:
    before = house.pids()
    assert house.controller is not None
    house.controller.send_signal(number)
    assert house.controller.wait(10) != 0
    assert house.pids() == before
    judged(house, SERVERS, before)


def test_what_a_terminal_sends_reaches_no_server(house: House) -> None:
    """Ctrl-C and a hangup go to a whole group: each server leads one of its own."""
    for pid in house.pids().values():
        assert os.getpgid(pid) == os.getsid(pid) == pid


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program itself, with nothing to manage: how it begins and ends is its own affair."""
    (tmp_path / "manifests").mkdir()
    with (tmp_path / "log").open("wb") as log:
        controller = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "run"], cwd=tmp_path, stdout=log, stderr=log, start_new_session=True
        )
        yield controller
        controller.kill()
        controller.wait()


def hears_hangups(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & 1 << signal.SIGHUP - 1)


def says(folder: Path, words: str) -> bool:
    return words in (folder / "log").read_text()


def test_hangups_while_it_begins_and_signals_while_it_ends(alone: subprocess.Popen[bytes], tmp_path: Path) -> None:
    until = time.monotonic() + 30
    while not hears_hangups(alone.pid):
        assert time.monotonic() < until
    assert not says(tmp_path, "controller pid"), "it hears before it has imported what it needs"
    while not says(tmp_path, "controller pid"):
        alone.send_signal(signal.SIGHUP)
        assert alone.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    while alone.poll() is None:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            alone.send_signal(number)
        assert time.monotonic() < until
        time.sleep(0.001)
    assert alone.returncode == 0, (tmp_path / "log").read_text()
