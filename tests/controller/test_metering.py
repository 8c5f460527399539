"""What the meter sees of servers, whom it asks, and what it keeps."""

import asyncio
import itertools
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.controller import metering
from reconciler.controller.metering import Meter
from reconciler.controller.series import KEPT, SPARE, Series
from reconciler.core.actions import Event
from reconciler.core.counts import Counts
from reconciler.core.history import Condition, History, ServerRecord, Status
from reconciler.core.model import Now, Phase
from reconciler.runtimes.usage import Taken
from tests.controller.answering import HANG, OK, Reply, Scripted, serving, until
from tests.controller.probed import Machine, Probed, probing, server, target

pytestmark = pytest.mark.anyio
READY = ServerRecord("chat", status=Status(Phase.READY, conditions=(Condition("Ready", True, "Ready"),)))
WITH_METRICS = {"flags": {"metrics": True}}
NOW = Now(1.0, 1.0, "boot")


def counter(tokens: int) -> Reply:
    return 200, f"llamacpp:tokens_predicted_total {tokens}\nllamacpp:requests_deferred 3\n".encode()


@dataclass
class House:
    """A meter over what one prober knows."""

    probed: Probed
    counts: Counts = field(default_factory=Counts)
    names: dict[str, ServerRecord] = field(default_factory=lambda: {"chat": READY})

    def __post_init__(self) -> None:
        self.store = SimpleNamespace(documents={}, history=lambda: History(servers=self.names), on_event=[])
        loop = SimpleNamespace(prober=self.probed.prober, runtime=self.probed.machine, counts=self.counts)
        self.meter = Meter(cast("Any", self.store), cast("Any", loop))

    async def looks(self, times: int = 1) -> dict[str, Any]:
        for _ in range(times):
            await self.meter.look()
        return self.meter.latest()["chat"]


@contextmanager
def house(port: int, machine: Machine | None = None, **changes: Any) -> Iterator[House]:
    changes.setdefault("pid", os.getpid())
    with probing(target(port, **changes), machine) as probed:
        yield House(probed)


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look sees half a second more of CPU time."""
    seconds = itertools.count(step=0.5)
    monkeypatch.setattr(metering, "taken_by", lambda _pid: Taken(next(seconds), 4096))


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "taken_by", lambda _pid: Taken(7.0, 4096))


async def test_what_a_server_takes_and_gives(works: None) -> None:
    asked = server([OK], metrics=[counter(100), counter(400)])
    async with serving(asked) as port:
        with house(port, spec=WITH_METRICS) as one:
            await until(lambda: one.probed.health.verified)
            first = await one.looks()
            assert (first["cpuPercent"], first["tokensPerSecond"]) == (None, None)
            began = time.monotonic()
            await asyncio.sleep(0.2)
            found = await one.looks()
            took = time.monotonic() - began
    assert found["tokensPerSecond"] == pytest.approx(300 / took, rel=0.5)
    assert found["cpuPercent"] == pytest.approx(50 / took, rel=0.5)
    told = ("memoryBytes", "slotsBusy", "slots", "requestsWaiting", "gpuBytes")
    assert [found[name] for name in told] == [4096, 1, 2, 3, None]
    assert 0 < found["healthSeconds"] < 1


async def test_the_memory_of_a_real_process() -> None:
    async with serving(server([OK])) as port:
        with house(port) as one:
            found = await one.looks()
    assert found["memoryBytes"] > 10_000_000


@pytest.mark.parametrize("is_wanted", [False, True])
async def test_one_that_rests_is_asked_once(rests: None, is_wanted: bool) -> None:
    """What it told stays true of it: nothing is generated without work."""
    asked = server([OK], slots=[(200, [{"id": 0, "is_processing": False}])])
    async with serving(asked) as port:
        with house(port) as one:
            await until(lambda: one.probed.health.verified)
            if is_wanted:
                one.meter.wanted()
            found = await one.looks(4)
    assert asked.asked.count("/slots") == 1
    assert (found["tokensPerSecond"], found["slotsBusy"], found["slots"]) == (0, 0, 1)


async def test_one_that_rests_is_asked_again_where_somebody_looks(rests: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "AGAIN", 0.0)
    asked = server([OK])
    async with serving(asked) as port:
        with house(port) as one:
            await until(lambda: one.probed.health.verified)
            await one.looks(3)
            assert asked.asked.count("/slots") == 1
            one.meter.wanted()
            await one.looks(2)
            assert asked.asked.count("/slots") == 3


async def test_one_that_works_is_asked_though_nobody_looks(works: None) -> None:
    asked = server([OK])
    async with serving(asked) as port:
        with house(port) as one:
            await until(lambda: one.probed.health.verified)
            await one.looks(3)
    assert asked.asked.count("/slots") == 3


@pytest.mark.parametrize(
    ("changes", "owns", "asks"),
    [
        ({}, True, ["/slots"]),
        ({"adopted": True}, True, []),
        ({"spec": {"flags": {"sleep-idle-seconds": 60, "metrics": True}}}, True, ["/metrics"]),
        ({"api_key": "secret"}, True, ["/slots"]),
        ({"api_key": "secret"}, None, ["/slots"]),
        ({"api_key": "secret"}, False, []),
    ],
    ids=["one of ours", "a stranger's", "may sleep", "with a key", "whose it is cannot be told", "another's socket"],
)
async def test_who_is_asked_what(works: None, changes: dict[str, Any], owns: bool | None, asks: list[str]) -> None:
    asked = server([OK], metrics=[counter(1)])
    machine = Machine()
    async with serving(asked) as port:
        with house(port, machine, **changes) as one:
            await until(lambda: one.probed.health.verified)
            machine.owns = owns
            asked.asked.clear()
            await one.looks()
            assert [path for path in asked.asked if path in ("/slots", "/metrics")] == asks


async def test_one_that_hangs_is_not_waited_for(works: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "PATIENCE", 0.1)
    async with serving(server([OK], slots=[HANG])) as port:
        with house(port) as one:
            await until(lambda: one.probed.health.verified)
            began = time.monotonic()
            found = await one.looks(2)
            assert time.monotonic() - began < 2
    assert (found["memoryBytes"], found["slotsBusy"], found["tokensPerSecond"]) == (4096, None, None)


async def test_one_that_loads_is_not_asked(works: None) -> None:
    asked = Scripted({"/health": [(503, {"error": {"message": "Loading model"}})]})
    async with serving(asked) as port:
        with house(port) as one:
            await until(lambda: asked.asked)
            found = await one.looks()
    assert set(asked.asked) == {"/health"}
    assert found["memoryBytes"] == 4096


async def test_another_process_is_not_taken_for_the_one_before(rests: None) -> None:
    asked = server([OK])
    async with serving(asked) as port:
        with house(port) as one:
            await until(lambda: one.probed.health.verified)
            await one.looks(2)
            assert asked.asked.count("/slots") == 1
            one.probed.retarget(pid=os.getppid())
            found = await one.looks()
            assert asked.asked.count("/slots") == 2
    assert (found["cpuPercent"], found["tokensPerSecond"]) == (None, None)


async def test_the_last_hour(works: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "INTERVAL", 0.0)
    async with serving(server([OK])) as port:
        with house(port) as one:
            await until(lambda: one.probed.health.verified)
            one.names["gone"] = ServerRecord("gone")
            await one.looks(3)
            found = one.meter.series("chat")
            assert found["series"]["memoryBytes"] == [4096] * 3
            assert found["series"]["ready"] == [1] * 3
            assert found["series"]["gpuBytes"] == [None] * 3
            assert {len(values) for values in found["series"].values()} == {len(found["at"])}
            assert found["at"] == sorted(found["at"])
            assert one.meter.series("gone")["series"]["ready"] == [0] * 3
            assert one.meter.series("nobody")["at"] == []
            one.counts.ends["gone", "Killed"] += 1
            del one.names["gone"]
            await one.looks()
            assert (one.meter.series("gone")["at"], dict(one.counts.ends)) == ([], {})


def test_a_series_has_a_bound() -> None:
    series = Series()
    for number in range(KEPT + 3 * SPARE):
        series.add(number, {"cpuPercent": number / 8, "ready": 1.0})
    found = series.data()
    assert len(found["at"]) == len(found["series"]["ready"]) == KEPT
    assert found["at"][-1] == KEPT + 3 * SPARE - 1
    assert found["series"]["cpuPercent"][-1] == pytest.approx((KEPT + 3 * SPARE - 1) / 8)


async def test_a_fault_is_told_once_and_ends_nothing(
    works: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("INTERVAL", "LIVE"):
        monkeypatch.setattr(metering, name, 0.01)
    async with serving(server([OK])) as port:
        with house(port) as one:
            good, faults = one.store.history, []

            def breaks() -> History:
                faults.append(1)
                raise RuntimeError("no history")

            one.store.history = breaks
            with caplog.at_level(logging.ERROR, "reconciler"):
                running = asyncio.create_task(one.meter.run())
                await until(lambda: len(faults) > 3)
            one.store.history = good
            await until(one.meter.latest)
            running.cancel()
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_who_wants_to_know_does_not_wait_for_the_next_look(works: None) -> None:
    async with serving(server([OK])) as port:
        with house(port) as one:
            running = asyncio.create_task(one.meter.run())
            await until(one.meter.latest)
            one.meter.wanted()
            await until(lambda: one.meter.latest()["chat"]["cpuPercent"] is not None, patience=metering.LIVE)
            running.cancel()


async def test_events_are_counted(works: None) -> None:
    async with serving(server([OK])) as port:
        with house(port) as one:
            for tell in one.store.on_event:
                tell(Event("chat", "Crashed", "…", warning=True), NOW)
                tell(Event("chat", "Ready", "…"), NOW)
    assert one.counts.events == {("Warning", "Crashed"): 1, ("Normal", "Ready"): 1}
