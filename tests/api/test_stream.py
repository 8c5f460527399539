import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import httpx
import pytest

from reconciler.api import stream as module
from reconciler.api import tables
from reconciler.api.app import create_app
from reconciler.api.feed import AT_ONCE, Feed, LostError
from reconciler.api.stream import Pulse, changes
from reconciler.api.tables import NEWEST
from reconciler.api.views import Views
from reconciler.core.model import Phase
from tests.api.showing import Figures, Item, client_of, served, until, views_of
from tests.cli.filling import Filling, status

pytestmark = pytest.mark.anyio


class Event(NamedTuple):
    kind: str
    data: Any
    id: str


def parsed(content: bytes) -> Iterator[Event]:
    """As browsers read event streams; comments are of no kind."""
    assert content.endswith(b"\n\n")
    for block in content.decode().removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        yield Event(fields.get("event", ""), json.loads(fields.get("data", "null")), fields.get("id", ""))


class Reader:
    """Reads a stream as it comes."""

    def __init__(self, views: Views, last: str = "") -> None:
        self.events: list[Event] = []
        self._views = views
        self._task = asyncio.create_task(self._read(last))
        self._pulse = Pulse(views._controller, views)
        self._pulse.begin()

    async def _read(self, last: str) -> None:
        async with aclosing(changes(self._views, last)) as stream:  # type: ignore[type-var]  # a generator, truly
            async for content in stream:
                self.events += parsed(content)

    async def until(self, kind: str, count: int = 1) -> list[Any]:
        """The data of the first ones of a kind."""
        await until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)

    def of(self, kind: str) -> list[Any]:
        return [event.data for event in self.events if event.kind == kind]

    @property
    def is_over(self) -> bool:
        return self._task.done()

    async def end(self) -> None:
        self._pulse.end()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
def filling(tmp_path: Path) -> Iterator[Filling]:
    with Filling(tmp_path) as opened:
        opened.ready("chat")
        opened.source()
        opened.event("chat", "Started", "pid 1")
        yield opened


@pytest.fixture
async def views(filling: Filling) -> AsyncIterator[Views]:
    showing, found = views_of(filling)
    showing.meter = Figures()
    await found.fresh()
    yield found
    found.close()


@pytest.fixture
async def reader(views: Views) -> AsyncIterator[Reader]:
    opened = Reader(views)
    await opened.until("snapshot")
    yield opened
    await opened.end()


async def test_it_begins_with_all_there_is(reader: Reader, views: Views) -> None:
    (all_of_it,) = reader.of("snapshot")
    assert set(all_of_it) == {
        *("version", "summary", "servers", "profiles", "defaults", "sources", "events", "restarts")
    }
    assert all_of_it["version"] == views.version == reader.events[0].id
    assert [item["metadata"]["name"] for item in all_of_it["servers"]] == ["chat"]
    assert [item["metadata"]["name"] for item in all_of_it["sources"]] == ["git"]
    assert [item["message"] for item in all_of_it["events"]] == ["pid 1"]
    assert [item["uid"] for item in all_of_it["restarts"]] == ["uid1"]
    assert all_of_it["summary"] == json.loads(views.summary_json())


async def test_each_change_comes_once(reader: Reader, filling: Filling) -> None:
    filling.record("chat", status(Phase.UNHEALTHY, "503"))
    filling.event("chat", "Unhealthy", "no answer", at=5.0, warning=True)
    filling.failed("coder")
    filling.source(error="no route to host")
    filling.meta("selection", json.dumps({"profile": "day", "names": None, "switch": "StopFirst", "held": ""}))
    await until(lambda: any(one["profile"] == "day" for one in reader.of("summary")))
    names = {item["metadata"]["name"]: item["status"]["phase"] for item in reader.of("server")}
    assert names == {"chat": "Unhealthy", "coder": "Failed"}
    assert [item["reason"] for item in reader.of("event")] == ["Unhealthy"]
    assert {item["uid"] for item in reader.of("restart")} == {"uid2", "uid3", "uid4", "uid5"}
    (sources,) = reader.of("sources")[-1]
    assert sources["status"]["lastError"] == "no route to host"
    numbers = [int(event.id.rpartition("-")[2]) for event in reader.events if event.id]
    assert numbers == sorted(set(numbers))


async def test_a_server_that_goes_is_told(reader: Reader, filling: Filling) -> None:
    filling.document("new")
    assert [item["metadata"]["name"] for item in await reader.until("server")] == ["new"]
    filling.remove("new")
    assert await reader.until("serverGone") == [{"name": "new"}]


async def test_nothing_comes_of_what_changes_nothing(reader: Reader, filling: Filling) -> None:
    filling.document("chat")  # writes the same again
    filling.event("chat", "Last", "of all", at=9.0)
    await reader.until("event")
    assert reader.of("server") == []


async def test_who_comes_again_is_told_what_came_meanwhile(reader: Reader, views: Views, filling: Filling) -> None:
    filling.event("chat", "First", "1", at=1.0)
    await reader.until("event")
    last = reader.events[-1].id or next(event.id for event in reversed(reader.events) if event.id)
    await reader.end()
    filling.event("chat", "Second", "2", at=2.0)
    filling.event("chat", "Third", "3", at=3.0)
    await views.fresh()
    again = Reader(views, last)
    assert [item["reason"] for item in await again.until("event", 2)] == ["Second", "Third"]
    assert again.of("snapshot") == []
    filling.event("chat", "Fourth", "4", at=4.0)
    assert [item["reason"] for item in await again.until("event", 3)] == ["Second", "Third", "Fourth"]
    await again.end()


async def test_however_much_comes_at_once_all_of_it_is_told(reader: Reader, views: Views, filling: Filling) -> None:
    last = reader.events[0].id
    with filling.store.transaction():
        for number in range(3 * NEWEST):
            filling.event("chat", "Stopped", f"{number}", at=1.0)
            filling.end(filling.instance(f"s{number}", at=-10.0), after=1.0)
    later = Reader(views, last)
    for one in (reader, later):
        await one.until("restart", 3 * NEWEST)
        assert [item["message"] for item in one.of("event")] == [f"{number}" for number in range(3 * NEWEST)]
        assert len({item["uid"] for item in one.of("restart")}) == 3 * NEWEST
    await later.end()


async def test_more_than_one_look_brings_is_told_all_anew(
    reader: Reader, views: Views, filling: Filling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MOST_NEW", NEWEST)
    last = reader.events[0].id
    with filling.store.transaction():
        for number in range(NEWEST):
            filling.event("chat", "Stopped", f"{number}", at=1.0 + number)
    await until(lambda: reader.is_over)
    again = Reader(views, last)
    (all_of_it,) = await again.until("snapshot")
    assert [int(event["message"]) for event in all_of_it["events"]] == list(range(NEWEST))
    filling.event("chat", "Last", "of all", at=999.0)
    assert [item["reason"] for item in await again.until("event")] == ["Last"]
    await again.end()


async def test_an_end_is_told_though_the_clock_was_set_back(reader: Reader, filling: Filling) -> None:
    begun = filling.instance("chat", at=1.0)
    filling.end(filling.instance("embed", at=0.0), after=7200.0)
    await reader.until("restart", 2)
    filling.end(begun, after=5.0)
    await until(lambda: any(one["uid"] == begun.uid and one["endedAt"] for one in reader.of("restart")))


async def test_what_comes_while_who_was_away_is_told_comes_once() -> None:
    feed = Feed("e")
    for number in range(1, 4):
        feed.add("event", b"%d" % number)
    told: Any = changes(SimpleNamespace(feed=feed), "e-1")  # type: ignore[arg-type]  # all that it needs of views
    found = [await anext(told)]
    feed.add("event", b"4")
    found.append(await anext(told))
    following = asyncio.ensure_future(anext(told))
    await asyncio.sleep(0)
    feed.add("event", b"5")
    feed.wake()
    found.append(await following)
    assert [event.data for event in parsed(b"".join(found)) if event.kind] == [2, 3, 4, 5]


async def test_who_comes_is_told_usage_at_once(views: Views, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT", 60.0)
    before = Reader(views)
    await before.until("usage")
    async with served(create_app(views._controller, views)) as port, httpx.AsyncClient() as client:
        async with client.stream("GET", f"http://127.0.0.1:{port}/api/v1/stream") as answer:
            told = await _read_to(answer.aiter_bytes(), "snapshot")
        assert [event.kind for event in told] == ["snapshot", "usage"]
        await before.end()
        views.close()


@pytest.mark.parametrize("last", ["", "other-1", "x", "-1", "-", "EPOCH-999999", "EPOCH--1", "EPOCH-²", "EPOCH-"])
async def test_who_names_what_is_not_known_is_told_all_anew(views: Views, last: str) -> None:
    reader = Reader(views, last.replace("EPOCH", views.feed.epoch))
    assert len(await reader.until("snapshot")) == 1
    await reader.end()


async def test_usage_is_mentioned_while_somebody_reads(views: Views, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT", 0.01)
    reader = Reader(views)
    first = (await reader.until("usage"))[0]
    assert first["servers"] == {"chat": {"memoryBytes": 1024}}
    await until(lambda: any(event == ("", None, "") for event in reader.events))
    assert all(not event.id for event in reader.events if event.kind == "usage")
    await reader.end()
    meter: Any = views._controller.meter
    await asyncio.sleep(0.03)
    asked = meter.asked
    await asyncio.sleep(0.05)
    assert meter.asked == asked


async def test_a_controller_that_ends_ends_its_streams(reader: Reader, views: Views) -> None:
    views.close()
    await until(lambda: reader.is_over)


async def test_over_http_with_the_last_id_in_the_header_or_the_address(views: Views, filling: Filling) -> None:
    app = create_app(views._controller, views)
    async with served(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        async with client.stream("GET", "/api/v1/stream") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            assert "content-length" not in answer.headers
            (first, *_) = await _read_to(answer.aiter_bytes(), "snapshot")
        await until(lambda: views.readers == 0)
        filling.event("chat", "Missed", "1", at=1.0)
        for more in ({"headers": {"last-event-id": first.id}}, {"params": {"lastEventId": first.id}}):
            async with client.stream("GET", "/api/v1/stream", **more) as answer:  # type: ignore[arg-type]
                told = await _read_to(answer.aiter_bytes(), "event")
            assert [event.data["reason"] for event in told if event.kind == "event"] == ["Missed"]
            assert not any(event.kind == "snapshot" for event in told)
        views.close()


async def _read_to(chunks: AsyncIterator[bytes], kind: str) -> list[Event]:
    """All up to the first one of a kind."""
    content = b""
    async for chunk in chunks:
        content += chunk
        if content.endswith(b"\n\n") and any(event.kind == kind for event in parsed(content)):
            break
    return list(parsed(content))


async def test_who_does_not_read_is_dropped_and_holds_up_nobody(
    views: Views, filling: Filling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    app = create_app(views._controller, views)
    big = "x" * 500_000
    async with served(app) as port:
        _, idle = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        idle.write(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: views.readers == 1)
        quick = Reader(views)
        await quick.until("snapshot")
        for number in range(40):
            views.feed.add("event", json.dumps({"number": number, "big": big}).encode())
            views.feed.wake()
            await quick.until("event", number + 1)
        await until(lambda: views.readers == 1)
        assert [one["number"] for one in quick.of("event")] == list(range(40))
        await quick.end()
        idle.close()
        with suppress(ConnectionError):
            await idle.wait_closed()
        views.close()


async def test_who_asks_for_the_head_alone_is_not_kept(views: Views, filling: Filling) -> None:
    filling.instance("chat")
    async with client_of(views._controller, views) as client:  # type: ignore[arg-type]
        for path in ("stream", "servers/chat/logs?follow=true"):
            answer = await client.head(f"/api/v1/{path}")
            assert (answer.status_code, answer.content) == (200, b"")
            assert answer.headers["content-type"].startswith("text/event-stream")


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed("e")
    for number in range(5000):
        feed.add("event", b"%d" % number)
    assert feed.number_of("e-1") is None
    assert feed.number_of("e-1000") == 1000
    assert feed.since(4999) == (b"id: e-5000\nevent: event\ndata: 4999\n\n", 5000)
    with pytest.raises(LostError):
        feed.since(10)
    feed.add("event", b"x" * 4_000_000)
    assert feed.since(4998)[1] == 5001
    feed.add("event", b"2")
    assert feed.since(4998)[1] == 5001
    assert feed.since(5001) == (b"id: e-5002\nevent: event\ndata: 2\n\n", 5002)
    feed.add("event", b"x" * 4_000_000)
    assert feed.number_of("e-5000") is None


async def test_readers_are_woken_a_few_at_a_time() -> None:
    feed = Feed("e")
    order: list[str] = []

    async def read(number: int) -> None:
        await feed.wait(0)
        order.append(f"reader {number}")

    readers = [asyncio.create_task(read(number)) for number in range(3 * AT_ONCE)]
    await asyncio.sleep(0)
    feed.add("event", b"1")
    feed.wake()

    async def other() -> None:
        for _ in range(6):
            await asyncio.sleep(0)
            order.append("other")

    await asyncio.gather(other(), *readers)
    assert "other" in order[order.index("reader 0") : order.index(f"reader {3 * AT_ONCE - 1}")]


async def test_readers_are_woken_once_for_what_is_new() -> None:
    feed = Feed("e")
    told = []

    async def read() -> None:
        number = 0
        while not feed.is_closed:
            await feed.wait(number)
            told.append(number := feed.number)

    reader = asyncio.create_task(read())
    await asyncio.sleep(0)
    feed.add("event", b"1")
    feed.wake()
    await asyncio.sleep(0.02)
    assert told == [1]
    feed.close()
    await reader


async def test_many_readers_share_what_is_sent(views: Views, filling: Filling) -> None:
    readers = [Reader(views) for _ in range(50)]
    await asyncio.gather(*(reader.until("snapshot") for reader in readers))
    for number in range(5):
        filling.event("chat", "Noted", str(number), at=float(number + 1))
        await asyncio.gather(*(reader.until("event", number + 1) for reader in readers))
    told: list[list[Item]] = [reader.of("event") for reader in readers]
    assert all([one["message"] for one in each] == list("01234") for each in told)
    for reader in readers:
        await reader.end()


async def test_the_log_of_a_start_is_told_in_brief(reader: Reader, views: Views, filling: Filling) -> None:
    begun = filling.instance("chat", at=50.0)
    filling.end(begun, log_tail="x" * 5000)
    await until(lambda: any(one["endedAt"] for one in reader.of("restart")))
    assert len(reader.of("restart")[-1]["logTail"]) == 1000
    async with client_of(views._controller, views) as client:  # type: ignore[arg-type]
        found = (await client.get("/api/v1/restarts")).json()["items"]
    assert len(found[-1]["logTail"]) == 5000
