"""What nobody may take of the controller, however they ask."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from reconciler.api import connections, sharing
from reconciler.api import guard as guarding
from reconciler.api import log_stream as logs
from reconciler.api.asked import asked_in
from reconciler.api.editing_routes import DEEPEST, _changes
from reconciler.api.guard import Access, Guard
from reconciler.api.incoming import MOST_HEAD, MOST_PARTS
from reconciler.api.problems import ProblemError
from reconciler.api.sharing import Shared
from reconciler.api.stream import EventStream
from reconciler.api.tokens import Tokens
from tests.api.showing import client_of, served, until, views_of
from tests.api.test_listener import HELLO, connected, large, listening, rest
from tests.api.test_log_stream import follow, write
from tests.cli.filling import Filling

pytestmark = pytest.mark.anyio
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def filling(tmp_path: Path) -> Iterator[Filling]:
    with Filling(tmp_path) as opened:
        yield opened


# ---------------------------------------------------------------- heads and bodies


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (b"X: " + b"x" * MOST_HEAD + b"\r\n", "16384 bytes"),
        (b"a:\r\n" * 200, "128 lines"),
        (b"Cookie: " + b"x" * MOST_HEAD + b"\r\n", "Most of it is cookies"),
    ],
    ids=["long", "of many lines", "cookies"],
)
async def test_a_head_that_comes_whole_is_bounded_too(more: bytes, told: str) -> None:
    async with listening() as listener, connected(listener) as (reader, writer):
        writer.write(HELLO + HELLO[:-2] + more + b"\r\n")
        head, _, body = (await rest(reader)).rpartition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"HTTP/1.1 400" in head
        assert b"content-security-policy" in head
        assert (b"clear-site-data" in head) is (b"Cookie" in more)
        assert told in json.loads(body)["happened"]


@pytest.mark.parametrize("begun", [b"", b"x"])
async def test_a_body_that_nobody_reads_keeps_no_connection(monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(connections, "REST_TIME", 0.1)
    async with listening() as listener, connected(listener) as (reader, writer):
        # A route that is not there reads no body.
        writer.write(HELLO.replace(b"/ ", b"/none ", 1)[:-2] + b"Content-Length: 1000000\r\n\r\n")
        await reader.readuntil(b"\r\n\r\nNot Found")
        writer.write(begun)
        assert await rest(reader) == b""


async def test_a_body_that_ends_late_keeps_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_TIME", 0.2)
    async with listening() as listener, connected(listener) as (reader, writer):
        writer.write(HELLO.replace(b"/ ", b"/none ", 1)[:-2] + b"Content-Length: 5\r\n\r\n")
        await reader.readuntil(b"\r\n\r\nNot Found")
        writer.write(b"abcde" + HELLO)
        await reader.readuntil(b"hello")
        writer.write(HELLO.replace(b"/ ", b"/none ", 1)[:-2] + b"Content-Length: 5\r\n\r\n")
        await reader.readuntil(b"\r\n\r\nNot Found")
        writer.write(b"abcde")
        assert await asyncio.wait_for(rest(reader), 5) == b""


async def test_a_body_of_tiny_chunks_comes_in_whole_and_holds_nobody_up() -> None:
    turns = [0]

    async def sized(request: Request) -> PlainTextResponse:
        before, size = turns[0], len(await request.body())
        return PlainTextResponse(f"{size} {turns[0] - before >= size // MOST_PARTS}")

    async def turning() -> None:
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(turning())
    async with (
        listening("127.0.0.1:0", Route("/size", sized, methods=["POST"])) as listener,
        connected(listener) as (reader, writer),
    ):
        chunks = b"1\r\na\r\n" * 2000
        writer.write(POST.replace(b"/ ", b"/size ", 1) + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        await reader.readuntil(b"2000 True")
    ticking.cancel()


async def test_where_too_much_waits_for_readers_the_slowest_are_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_UNSENT", 1024)
    async with (
        listening("127.0.0.1:0", Route("/large", large)) as listener,
        connected(listener) as (_, first),
        connected(listener) as (_, second),
    ):
        assert listener._server is not None
        open_ones: set[Any] = listener._server.server_state.connections
        for number, writer in enumerate((first, second)):
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(HELLO.replace(b"/ ", b"/large ", 1))
            await until(lambda number=number: number or any(one._stuck for one in open_ones))  # type: ignore[misc]
        await until(lambda: [one._stuck is not None for one in open_ones] == [True])


# ---------------------------------------------------------------- streams and tokens


@pytest.mark.parametrize(
    ("path", "query", "is_stream"),
    [
        ("/api/v1/stream", b"", True),
        ("/api/v1/servers/chat/logs", b"follow=true", True),
        ("/api/v1/servers/chat/logs", b"tail=1&%66ollow=true", True),
        ("/api/v1/servers/chat/logs", b"tail=follow", False),
        ("/api/v1/servers/chat", b"follow=true", False),
    ],
)
def test_what_may_have_no_end(path: str, query: bytes, is_stream: bool) -> None:
    scope = {"method": "GET", "path": path, "query_string": query, "headers": [(b"host", b"localhost")]}
    assert asked_in(scope).is_stream is is_stream


@pytest.mark.parametrize("name", [b"x-forwarded-proto", b"cf-connecting-ip", b"true-client-ip", b"x-client-ip", b"via"])
def test_what_comes_through_a_proxy(name: bytes) -> None:
    scope = {"method": "GET", "path": "/", "query_string": b"", "headers": [(b"host", b"localhost"), (name, b"x")]}
    assert asked_in(scope).is_forwarded


async def test_a_stream_ends_with_what_it_was_opened_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarding, "JUDGED_AGAIN", 0.02)
    tokens = Tokens(tmp_path / "token")
    tokens.put_in_place()
    session, code = tokens.session()[0], tokens.new_code()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        async def endless() -> Any:
            while True:
                yield b": there\n\n"
                await asyncio.sleep(0.01)

        await EventStream(endless(), Nobody())(scope, receive, send)

    guard = Guard(application, Access(tokens=tokens, reads_need_token=True))
    async with served(guard) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        asking = client.stream("GET", "/api/v1/stream", headers={"authorization": f"Bearer {session}"})
        async with asyncio.timeout(10), asking as answer:
            async for _ in answer.aiter_lines():
                (tmp_path / "token").unlink(missing_ok=tokens.judge(session) is not None)
    assert not tokens.take_code(code)


class Nobody:
    def begin(self) -> None: ...

    def end(self) -> None: ...


# ---------------------------------------------------------------- answers that take their time


async def test_a_shared_answer_is_made_for_all_who_asked_and_never_older_than_the_question() -> None:
    made, go = [0], asyncio.Event()

    async def make() -> bytes:
        made[0] += 1
        number = made[0]
        await go.wait()
        return b"%d" % number

    shared = Shared(make)
    first = asyncio.create_task(shared())
    await until(lambda: made[0])
    others = [asyncio.create_task(shared()) for _ in range(20)]
    await asyncio.sleep(0.01)
    assert made[0] == 1  # none beside it
    go.set()
    assert [await first, *[await other for other in others]] == [b"1", *[b"2"] * 20]


async def test_a_shared_answer_leaves_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "LONGEST_REST", 0.1)

    async def make() -> bytes:
        await asyncio.sleep(0.02)
        raise ValueError("no")

    shared, began = Shared(make), time.monotonic()
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await shared()
    assert time.monotonic() - began >= 0.1


@pytest.mark.parametrize(
    "asked",
    [
        "servers?selector=" + "a" * 1025,
        "servers?selector=" + "!a," * 32 + "b",
        "events?" + "&".join(f"server={n}" for n in range(101)),
    ],
)
async def test_a_question_is_bounded(filling: Filling, asked: str) -> None:
    showing, views = views_of(filling)
    async with client_of(showing, views) as client:
        answer = await client.get(f"/api/v1/{asked}")
        assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")
    views.close()


@pytest.mark.parametrize("body", [{"set": {"spec" + ".a" * DEEPEST * 2: 1}}, {"unset": [".".join("a" * 100_000)]}])
def test_a_change_is_bounded(body: Any) -> None:
    with pytest.raises(ProblemError, match="nested deeper"):
        _changes(body)


# ---------------------------------------------------------------- logs


async def test_a_long_log_is_worked_off_in_slices(filling: Filling, monkeypatch: pytest.MonkeyPatch) -> None:
    most, told = [0], logs._line_messages

    def noted(clock: Any, lines: Any, texts: Any) -> Any:
        most.append(len(lines))
        return told(clock, lines, texts)

    monkeypatch.setattr(logs, "_line_messages", noted)
    _, views = views_of(filling)
    filling.document("chat")
    write(filling, filling.instance("chat"), "".join(f"line {n}\n" for n in range(1000)))
    follower = await follow(views, tail=1000)
    await until(lambda: len(follower.lines) == 1000)
    await follower.end()
    assert (follower.lines[-1], max(most)) == ("line 999", logs.SLICE)
    views.close()


async def test_the_secrets_of_an_older_instance_stay_hidden(filling: Filling) -> None:
    showing, views = views_of(filling)
    filling.document("chat")
    first = filling.instance("chat", spec={"model": "given-then"})
    write(filling, first, "key given-then\n")
    write(filling, filling.instance("chat", at=9.0), "other\n")
    async with client_of(showing, views) as client:
        for asked in (f"uid={first.uid}", "previous=true"):
            assert (await client.get(f"/api/v1/servers/chat/logs?{asked}")).text == "key (hidden)\n"
    follower = await follow(views, uid=first.uid)
    await until(lambda: follower.lines)
    await follower.end()
    assert follower.lines == ["key (hidden)"]
    views.close()
