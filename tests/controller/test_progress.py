"""What counts as progress of a process."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from reconciler.controller.progress import Lasting, Loading, LoopStoodStillError, Serving, within
from reconciler.runtimes.host import Progress

MIB = 1024 * 1024


def reading(*samples: tuple[float, int] | None) -> Iterator[Progress | None]:
    return iter([None if sample is None else Progress(*sample) for sample in samples])


@pytest.mark.parametrize(
    ("seconds", "cpu", "read", "worked"),
    [
        (20.0, 0.0, 0, False),
        (20.0, 0.001, 1000, False),  # what answering our own looks costs one that hangs
        (20.0, 0.09, 0, False),
        (20.0, 0.11, 0, True),  # a two hundredth of a core: a machine may be that crowded
        (20.0, 0.0, MIB, True),
        (0.2, 0.01, 0, False),  # one tick of the kernel's clock may be anything
        (0.2, 0.02, 0, True),
    ],
)
def test_what_one_that_serves_must_do(seconds: float, cpu: float, read: int, worked: bool) -> None:
    samples = reading((5.0, 7), (5.0 + cpu, 7 + read))
    serving = Serving(lambda: next(samples))
    serving.begin(100.0)
    assert serving.worked(100.0 + seconds) is worked


def test_without_two_samples_nothing_is_known() -> None:
    samples = reading((5.0, 0), None, (9.0, 0), (9.0, 0))
    serving = Serving(lambda: next(samples))
    assert [serving.worked(now) for now in (1.0, 2.0, 3.0, 4.0)] == [False] * 4


def test_each_look_begins_anew() -> None:
    samples = reading((0.0, 0), (5.0, 0), (5.0, 0), (6.0, 0))
    serving = Serving(lambda: next(samples))
    serving.begin(0.0)
    assert [serving.worked(now) for now in (10.0, 20.0, 30.0)] == [True, False, True]


def test_one_that_is_gone_does_not_load() -> None:
    assert Loading(lambda: None).worked(1.0) is False


def test_how_long_counts_only_what_was_watched() -> None:
    lasting = Lasting()
    assert lasting.still(100.0, most=40.0) == 0.0
    assert lasting.still(130.0, most=40.0) == 30.0
    assert lasting.still(10_000.0, most=40.0) == 70.0
    lasting.over(10_010.0)
    assert lasting.still(10_020.0, most=40.0) == 10.0


@pytest.mark.anyio
async def test_a_timeout_that_comes_late_is_our_own_fault() -> None:
    with pytest.raises(TimeoutError):
        async with within(0.02):
            await asyncio.sleep(5)
    with pytest.raises(LoopStoodStillError):  # noqa: PT012 - the block is what is bounded
        async with within(0.02):
            time.sleep(0.7)  # noqa: ASYNC251 - that is the point
            await asyncio.sleep(5)
    async with within(5):
        pass
