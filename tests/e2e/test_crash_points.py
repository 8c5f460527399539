"""A sample of `make chaos`: real controllers that kill themselves between two steps, over real llama-servers."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.acts import ACTS, BY_HAND
from chaos.crash_points import Score, at_base, play_act
from chaos.deeds import BASE
from chaos.forking import Forker
from chaos.house import House, housed
from chaos.kills import KEPT, Game
from chaos.scenario import Options

pytestmark = pytest.mark.real
NUMBERS = {False: (2, 7, 10), True: (15, 21, 30)}
"""Boundaries of what happens to a running controller, and of the controller's start: intents, signals, spawns, rows."""

BEHIND_A_SIGNAL = {False: 6, True: 21}
"""Right behind the SIGTERM, where there is one; and amid the controller's start."""


@pytest.fixture
def options(tmp_path: Path, llama_server: str, tiny_model: Path, free_port: int) -> Options:
    ports = range(free_port, free_port + 20)
    return Options("sample", 7, 20, 0, 0, 2.0, llama_server, tiny_model, tmp_path, ports)


@pytest.fixture
def forker() -> Iterator[Forker]:
    made = Forker()
    yield made
    made.close()


@pytest.fixture
def house(options: Options) -> Iterator[House]:
    with at_base(options.scratch / "house", options) as made:
        yield made


@pytest.mark.long
def test_a_sample_of_boundaries_of_every_act(house: House) -> None:
    score = Score()
    acts = [act for act in ACTS if act not in BY_HAND]
    for round_ in range(3):
        for act in acts:
            play_act(house, act, NUMBERS[act.is_down][round_], score)
    assert not score.failures, "\n".join(score.failures)
    assert sum(score.points.values()) >= 3 * len(acts) - 3, score.points  # a few acts are shorter than that
    assert len(house.ledger.terms()) >= 10, "slow servers have hardly got a SIGTERM"


@pytest.mark.long
def test_one_boundary_of_every_act_about_a_server_that_somebody_started_by_hand(house: House) -> None:
    score = Score()
    for act in BY_HAND:
        play_act(house, act, BEHIND_A_SIGNAL[act.is_down], score)
    assert not score.failures, "\n".join(score.failures)
    assert set(score.points.values()) == {1}, score.points
    assert len(score.points) == len(BY_HAND)


def test_a_few_random_kills(options: Options, forker: Forker) -> None:
    with housed(options.scratch / "house", options.llama_server, options.model, options.ports, forker) as house:
        game = Game(house, options.random())
        for name in KEPT:
            house.declare(name)
        house.start()
        house.wait_converged(*KEPT)
        kept = house.pids()
        game.kill_often(options.kills)
        game.settle()
        assert not house.faults(game.running, kept)
        assert sum(game.done.values()) >= options.kills


def test_what_these_tests_would_see(house: House) -> None:
    """They would prove little if a broken promise were not seen: each kind of fault is made by hand."""
    before = house.pids()
    house.kill_controller()
    house.crash(before["subject"])
    for count in (1, 2):
        os.kill(before["slow"], signal.SIGTERM)
        house.wait_for("the signal to be noted", lambda count=count: house.ledger.terms().total() == count)  # type: ignore[misc]
    told = "\n".join(house.faults(BASE, before))
    assert "one live instance per wanted server" in told
    assert "no needless restart" in told
    assert "each end has its row" in told
    assert "no second TERM: slow, pid" in told
    with house.writing() as connection:
        connection.execute("delete from instances where server = 'calm'")
    with house.ledger.path.open("a") as ledger:
        ledger.write("double calm 1\nsignal SIGTERM 1 2\nsignal SIGTERM 1 2\nhand hand 3 4\n")
    told = "\n".join(house.faults(["calm", "quiet"], {}))
    assert "no lost history row" in told
    assert "no double" in told
    assert "no second TERM: pid 1 was sent 2" in told
    assert "taken over once: hand, started by hand as pid 3, has 0 rows" in told
