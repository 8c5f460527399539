"""GPUs are looked at beside everything else: nobody waits for a driver."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from reconciler.controller import gpu_look
from reconciler.controller.gpu_look import GpuLook


class Driver:
    """A GPU, or none, whose driver answers when it is let."""

    are_there = True
    answers = threading.Event()
    looks = 0

    def memory(self) -> Mapping[int, int]:
        type(self).looks += 1
        assert self.answers.wait(20)
        return {7: 3 * 1024**3}


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Driver]]:
    class Made(Driver):
        answers = threading.Event()

    monkeypatch.setattr(gpu_look, "Gpus", Made)
    yield Made
    Made.answers.set()


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def is_done() -> bool:
    return "gpus" not in {one.name for one in threading.enumerate()}


def test_a_driver_that_hangs_is_waited_for_by_nobody(driver: type[Driver]) -> None:
    gpus, began = GpuLook(), time.monotonic()
    for _ in range(3):
        gpus.look(0.0, are_there=True)
    until(lambda: driver.looks)
    gpus.look(0.0, are_there=True)
    assert time.monotonic() - began < 5
    assert (driver.looks, gpus.of(7)) == (1, None)
    driver.answers.set()
    until(lambda: gpus.of(7) == 3 * 1024**3)
    assert gpus.of(8) is None


def test_a_look_is_good_for_a_while(driver: type[Driver]) -> None:
    driver.answers.set()
    gpus = GpuLook()
    gpus.look(60.0, are_there=True)
    until(lambda: gpus.of(7))
    until(is_done)
    gpus.look(60.0, are_there=True)
    assert driver.looks == 1
    gpus.look(0.0, are_there=True)
    until(lambda: driver.looks == 2)


def test_without_servers_or_without_a_gpu_nothing_is_looked_at(driver: type[Driver]) -> None:
    driver.answers.set()
    driver.are_there = False
    gpus = GpuLook()
    gpus.look(0.0, are_there=False)
    assert is_done()
    gpus.look(0.0, are_there=True)
    until(is_done)
    looked = driver.looks
    gpus.look(0.0, are_there=True)
    assert driver.looks == looked <= 1
