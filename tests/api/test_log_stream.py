import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.api import log_stream as module
from reconciler.api.log_stream import Following, Reading, Wish, _start
from reconciler.api.views import Views
from reconciler.core.history import Instance, Trigger
from reconciler.runtimes.log_tail import MOST_LINE, MOST_MORE, LogTail
from reconciler.runtimes.tailing import Log
from tests.api.showing import client_of, until, views_of
from tests.api.test_stream import Event, parsed
from tests.cli.filling import Filling

pytestmark = pytest.mark.anyio


@pytest.fixture
def filling(tmp_path: Path) -> Iterator[Filling]:
    with Filling(tmp_path) as opened:
        yield opened


@pytest.fixture
async def views(filling: Filling, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Views]:
    monkeypatch.setattr(module, "LOOK", 0.005)
    _, found = views_of(filling)
    yield found
    found.close()


def log_file(filling: Filling, instance: Instance) -> Path:
    path = filling.state / "logs" / instance.server / f"{instance.uid}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write(filling: Filling, instance: Instance, text: str | bytes) -> None:
    """Add it to the instance's log."""
    with log_file(filling, instance).open("ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


class Follower:
    """Follows a log as it grows."""

    def __init__(self, views: Views, wish: Wish, start: Any) -> None:
        self.events: list[Event] = []
        self._reading = Reading(views)
        self._reading.begin()
        messages = Following(views._controller, views, wish).messages(start)
        self._task = asyncio.create_task(self._read(messages))

    async def _read(self, messages: AsyncIterator[bytes]) -> None:
        async with aclosing(messages) as stream:  # type: ignore[type-var]  # a generator, truly
            async for content in stream:
                self.events += [event for event in parsed(content) if event.kind]

    @property
    def lines(self) -> list[str]:
        return [event.data["line"] for event in self.events if event.kind == "line"]

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    async def wait(self) -> None:
        async with asyncio.timeout(10):
            await self._task

    async def end(self) -> None:
        self._reading.end()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def follow(views: Views, **wish: Any) -> Follower:
    await views.fresh()
    asked = Wish(**{"server": "chat", "tail": 200, "previous": False, "uid": "", **wish})
    return Follower(views, asked, await views.tables.ask(lambda db: _start(db, asked)))


async def test_the_last_lines_as_text(filling: Filling, views: Views) -> None:
    filling.document("chat")
    first, second = filling.instance("chat"), filling.instance("chat", at=9.0)
    write(filling, first, "old\n")
    write(filling, second, b"one\r\ntwo \xff hunter2\nlast without an end")
    async with client_of(views._controller, views) as client:  # type: ignore[arg-type]
        answer = await client.get("/api/v1/servers/chat/logs")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.text == "one\ntwo \ufffd (hidden)\nlast without an end\n"
        for asked, told in (
            ("tail=1", "last without an end\n"),
            ("tail=0", ""),
            ("previous=true", "old\n"),
            ("uid=uid1", "old\n"),
        ):
            assert (await client.get(f"/api/v1/servers/chat/logs?{asked}")).text == told


@pytest.mark.parametrize(
    ("path", "reason", "told"),
    [
        ("chat/logs?previous=true", "NoLog", "'chat' has no earlier instance"),
        ("chat/logs?uid=../../../etc/passwd", "NoLog", "'chat' has no instance ../../../etc/passwd"),
        ("chat/logs?uid=uid2", "NoLog", "'chat' has no instance uid2"),
        ("chat/logs", "NoLog", "the log of instance uid1 is gone"),
        ("taken/logs", "LogElsewhere", "'taken' was taken over as pid"),
        ("new/logs", "NoLog", "'new' has no instance"),
        ("nobody/logs?follow=true", "UnknownServer", "no such server: nobody"),
    ],
)
async def test_a_log_that_there_is_not(filling: Filling, views: Views, path: str, reason: str, told: str) -> None:
    for name in ("chat", "taken", "new"):
        filling.document(name)
    filling.instance("chat")
    filling.instance("taken", adopted=True, trigger=Trigger.ADOPTED)
    async with client_of(views._controller, views) as client:  # type: ignore[arg-type]
        answer = await client.get(f"/api/v1/servers/{path}")
    assert (answer.status_code, answer.json()["reason"]) == (404, reason)
    assert told in answer.json()["happened"]
    assert "reconciler " in answer.json()["canDo"][0]


@pytest.mark.parametrize(
    ("asked", "told"), [("tail=10001", "tail: expected"), ("follow=maybe", "follow: expected true")]
)
async def test_what_makes_no_sense_is_refused(views: Views, asked: str, told: str) -> None:
    async with client_of(views._controller, views) as client:  # type: ignore[arg-type]
        answer = await client.get(f"/api/v1/servers/chat/logs?{asked}")
    assert answer.status_code == 400
    assert answer.json()["happened"].startswith(told)


async def test_lines_come_as_they_are_written_over_restarts_too(filling: Filling, views: Views) -> None:
    filling.document("chat")
    first = filling.instance("chat")
    write(filling, first, 'a\n0.00.250.000 I <script>alert("hunter2")</script>\nbegun')
    follower = await follow(views, tail=1)
    await until(lambda: follower.lines == ['0.00.250.000 I <script>alert("(hidden)")</script>'])
    assert follower.kinds == ["instance", "line"]
    assert follower.events[0].data["uid"] == "uid1"
    assert "at" in follower.events[1].data
    write(filling, first, " and ended\n")
    await until(lambda: follower.lines[1:] == ["begun and ended"])
    assert "at" not in follower.events[2].data
    write(filling, first, "last words")
    filling.end(first, diagnosis="Killed")
    await until(lambda: "end" in follower.kinds)
    assert follower.lines[2:] == ["last words"]
    assert follower.events[-1].data["diagnosis"] == "Killed"
    second = filling.instance("chat", at=9.0, trigger=Trigger.CRASHED)
    write(filling, second, "again\n")
    await until(lambda: follower.lines[3:] == ["again"])
    (begun,) = [event.data for event in follower.events if event.kind == "instance"][1:]
    assert (begun["uid"], begun["trigger"]) == ("uid2", "Crashed")
    await follower.end()


async def test_an_earlier_log_ends(filling: Filling, views: Views) -> None:
    filling.document("chat")
    first = filling.instance("chat")
    write(filling, first, "a\nb")
    filling.end(first)
    write(filling, filling.instance("chat", at=9.0), "second\n")
    for wish in ({"previous": True}, {"uid": "uid1"}):
        follower = await follow(views, **wish)
        await follower.wait()
        assert follower.kinds == ["instance", "line", "line", "end"]
        assert follower.lines == ["a", "b"]
        await follower.end()


async def test_a_server_that_is_not_started_yet_is_waited_for(filling: Filling, views: Views) -> None:
    filling.document("chat")
    follower = await follow(views)
    write(filling, filling.instance("chat"), "first\n")
    await until(lambda: follower.lines == ["first"])
    await follower.end()


async def test_a_controller_that_ends_ends_the_stream(filling: Filling, views: Views) -> None:
    filling.document("chat")
    write(filling, filling.instance("chat"), "first\n")
    follower = await follow(views)
    await until(lambda: follower.lines)
    views.close()
    await follower.wait()
    await follower.end()


def test_a_tail_reads_on_where_it_ended(tmp_path: Path) -> None:
    log = Log("chat", "u", tmp_path / "u.log", 0.0)
    tail = LogTail(log)
    assert (tail.last(5), tail.more()) == ([], ([], 0))
    log.path.with_suffix(".log.1").write_text("older 1\nolder 2\n")
    log.path.write_text("newer\n")
    assert tail.last(2) == [b"older 2", b"newer"]
    with log.path.open("a") as file:
        file.write("x" * (MOST_MORE + 100) + "\nend\n")
    more = tail.more()
    assert more == ([b"end"], MOST_MORE + 101)
    with log.path.open("a") as file:
        file.write("y" * (MOST_LINE + 5) + "\n")
    assert [len(piece) for piece in tail.more().lines] == [MOST_LINE, 5]
    log.path.write_text("cut\n")
    assert tail.more() == ([b"cut"], 16)  # as much may have been added before it was cut
    with log.path.open("a") as file:
        file.write("not ended")
    assert tail.more() == ([], 0)
    assert tail.more(ends=True) == ([b"not ended"], 0)


def test_of_a_large_log_only_the_end_is_read(tmp_path: Path) -> None:
    log = Log("chat", "u", tmp_path / "u.log", 0.0)
    log.path.write_bytes(b"".join(b"%08d\n" % number for number in range(400_000)))
    lines = LogTail(log).last(10**6)
    assert (lines[-1], len(lines)) == (b"00399999", 116_508)
    assert replace(log, uid="v").uid == "v"
