import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from reconciler.api import connections, incoming
from reconciler.api import listener as module
from reconciler.api.listener import Listener
from reconciler.core.listen import Listen, parse_listen

pytestmark = pytest.mark.anyio
PATIENCE = 10.0
LARGE = 64 * 1024 * 1024
HELLO = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def hello(request: Request) -> PlainTextResponse:
    await request.body()
    return PlainTextResponse("hello")


class Streams:
    """An application that notes which of its streams have ended."""

    def __init__(self) -> None:
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    async def answer(self, _request: Request) -> Response:
        async def lines() -> AsyncIterator[bytes]:
            self.begun.set()
            try:
                while True:
                    yield b": there\n\n"
                    await asyncio.sleep(0.01)
            finally:
                self.ended.set()

        return StreamingResponse(lines(), media_type="text/event-stream")


async def large(_request: Request) -> Response:
    return Response(b"x" * LARGE)


@asynccontextmanager
async def listening(listen: str = "127.0.0.1:0", *routes: Route, **more: Any) -> AsyncIterator[Listener]:
    app = Starlette(routes=[Route("/", hello, methods=["GET", "POST"]), *routes])
    listener = Listener(app, listen, **more)
    task = asyncio.create_task(listener.serve())
    try:
        await until(lambda: listener.url or listener.problem)
        yield listener
    finally:
        listener.stop()
        await asyncio.wait_for(task, PATIENCE)


async def until(is_so: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


@asynccontextmanager
async def connected(listener: Listener) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = listener.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the other side hangs up."""
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize(("listen", "is_told"), [("0.0.0.0:0", True), ("127.0.0.1:0", False)])
async def test_that_others_reach_it_is_said(caplog: pytest.LogCaptureFixture, listen: str, is_told: bool) -> None:
    with caplog.at_level(logging.INFO, "reconciler"):
        async with listening(listen) as listener:
            port = listener.url.rpartition(":")[2]
    assert (f"for others at 0.0.0.0:{port}, by plain HTTP and with the token" in caplog.text) == is_told


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:9797", Listen("127.0.0.1", 9797)),
        ("localhost:0", Listen("127.0.0.1", 0)),
        ("[::1]:80", Listen("::1", 80)),
        ("0.0.0.0:65535", Listen("0.0.0.0", 65535)),
    ],
)
def test_an_address_is_read(text: str, listen: Listen) -> None:
    assert parse_listen(text) == listen


@pytest.mark.parametrize(
    "text",
    [
        *("", "9797", ":9797", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1", "::1:80"),
        *("example.org:80", "127.0.0.1:٣", "http://127.0.0.1:80", "[::1]", "127.0.0.1:80/", "300.0.0.1:80"),
    ],
)
def test_what_is_no_address_is_refused_with_what_one_looks_like(text: str) -> None:
    with pytest.raises(ValueError, match=r'such as "127\.0\.0\.1:9797"'):
        parse_listen(text)


def test_a_url_is_one_that_this_machine_can_open() -> None:
    urls = {text: parse_listen(text).url(80) for text in ("0.0.0.0:1", "[::]:1", "[::1]:1", "192.168.0.2:1")}
    assert list(urls.values()) == ["http://127.0.0.1:80", "http://[::1]:80", "http://[::1]:80", "http://192.168.0.2:80"]
    assert [parse_listen(text).is_loopback for text in urls] == [False, False, True, False]


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
async def test_it_serves_on_a_port_that_is_free(listen: str) -> None:
    async with listening(listen) as listener, httpx.AsyncClient(base_url=listener.url) as client:
        answer = await client.get("/")
        assert (answer.text, listener.problem) == ("hello", "")
        assert "server" not in answer.headers
    assert listener.url == ""


async def test_a_taken_port_is_told_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.02)
    told: list[tuple[str, str]] = []
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with caplog.at_level(logging.INFO, "reconciler"):
            async with listening(f"127.0.0.1:{port}", tell=lambda *one: told.append(one)) as listener:
                assert listener.url == ""
                for part in (f"127.0.0.1:{port}", "already in use", f"ss -ltnp 'sport = :{port}'", "under [http]"):
                    assert part in listener.problem
                await asyncio.sleep(0.1)
                other.close()
                await until(lambda: listener.url)
                assert listener.problem == ""
                async with httpx.AsyncClient(base_url=listener.url) as client:
                    assert (await client.get("/")).text == "hello"
    assert [reason for reason, _ in told] == ["ListenFailed", "Listening"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_an_address_of_another_machine_does_not_end_it() -> None:
    async with listening("192.0.2.1:9797") as listener:
        assert "no address of this machine" in listener.problem


async def test_who_sends_a_head_slowly_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_TIME", 0.2)
    async with listening() as listener:
        for begun in (b"", b"GET / HTTP/1.1\r\nHost: x\r\n", HELLO + b"GET / HT"):
            async with connected(listener) as (reader, writer):
                writer.write(begun)
                began = time.monotonic()
                answer = rest(reader)
                drip = asyncio.create_task(dripping(writer)) if begun else None
                got = await answer
                assert 0.1 < time.monotonic() - began < 5
                assert got.endswith(b"hello") is (begun.startswith(HELLO))
                if drip:
                    drip.cancel()


async def dripping(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while True:
            writer.write(b"a")
            await asyncio.sleep(0.02)


async def test_a_slow_answer_is_no_slow_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_TIME", 0.1)

    async def slow(_request: Request) -> PlainTextResponse:
        await asyncio.sleep(0.3)
        return PlainTextResponse("at last")

    async with (
        listening("127.0.0.1:0", Route("/slow", slow)) as listener,
        httpx.AsyncClient(base_url=listener.url) as client,
    ):
        for _ in range(2):  # on one connection
            assert (await client.get("/slow")).text == "at last"


async def test_who_does_not_read_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STUCK", 0.2)
    async with listening("127.0.0.1:0", Route("/large", large)) as listener, connected(listener) as (_, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(HELLO.replace(b"/ ", b"/large ", 1))
        assert listener._server is not None
        open_ones = listener._server.server_state.connections
        await until(lambda: open_ones)
        await until(lambda: not open_ones)


async def test_more_connections_than_may_be_are_told_so() -> None:
    async with listening(most=2) as listener:
        async with connected(listener) as (first, writer), connected(listener):
            writer.write(HELLO)
            assert b"200 OK" in await first.readline()
            async with connected(listener) as (third, _):
                head, _, body = (await rest(third)).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 503")
                assert json.loads(body)["reason"] == "TooManyConnections"
        await until(lambda: listener._server and not listener._server.server_state.connections)
        async with httpx.AsyncClient(base_url=listener.url) as client:
            assert (await client.get("/")).text == "hello"


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * incoming.MOST_HEAD,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    ],
    ids=["TLS", "two hosts", "no host", "a long head", "two lengths", "a coding"],
)
async def test_what_is_no_request_is_answered_and_not_logged(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as listener, connected(listener) as (reader, writer):
        writer.write(sent)
        head, _, body = (await rest(reader)).partition(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
        assert json.loads(body)["reason"] == "BadRequest"
    assert not caplog.records


async def test_garbage_amid_an_answer_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    streams = Streams()
    async with listening("127.0.0.1:0", Route("/stream", streams.answer)) as listener:
        async with connected(listener) as (reader, writer):
            writer.write(HELLO.replace(b"/ ", b"/stream ", 1))
            await streams.begun.wait()
            writer.write(b"\x00garbage\r\n\r\n")
            await reader.readuntil(b": there\n\n")
        await asyncio.wait_for(streams.ended.wait(), PATIENCE)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_streams_are_cut_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    streams = Streams()
    at_stream = Route("/stream", streams.answer)
    async with listening("127.0.0.1:0", at_stream) as listener, connected(listener) as (reader, writer):
        writer.write(HELLO.replace(b"/ ", b"/stream ", 1))
        await streams.begun.wait()
        began = time.monotonic()
        listener.stop()
        await rest(reader)
        await asyncio.wait_for(streams.ended.wait(), PATIENCE)
        assert time.monotonic() - began < 2
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
