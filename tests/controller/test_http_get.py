import asyncio
import re
import resource
import ssl
import subprocess
from pathlib import Path

import h11
import pytest

from reconciler.controller.http_get import MOST_BYTES, NotAskedError, conversation, http_get
from tests.controller.answering import OK, Handle, Scripted, serving

pytestmark = pytest.mark.anyio


def raw(*parts: bytes, pause: float = 0.0, stay: bool = False) -> Handle:
    """Answers with bytes, whatever was asked."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        if stay:
            await asyncio.sleep(3600)

    return handle


async def test_a_post_brings_its_body_and_may_follow_a_get() -> None:
    bodies: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = re.search(r"content-length: (\d+)", head)
            bodies.append(head.partition(" ")[0].encode() + await reader.readexactly(int(length[1]) if length else 0))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with serving(handle) as port, conversation("127.0.0.1", port) as talk:
        assert (await talk.get("/slots")).body == b"ok"
        assert (await talk.post("/completion", b'{"n_predict":1}', "key")).body == b"ok"
    assert bodies == [b"get", b'post{"n_predict":1}']


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_want_of_descriptors_is_told_from_a_server_that_is_gone(host: str) -> None:
    async with serving(Scripted({"/health": [OK]})) as port:
        await http_get(host, port, "/health")  # whatever is opened once is open now
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))  # what is closed from now on makes no room either
        try:
            with pytest.raises(NotAskedError):
                await http_get(host, port, "/health")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with pytest.raises(ConnectionRefusedError):
        await http_get("127.0.0.1", port, "/health")


async def test_an_answer_has_status_headers_and_body() -> None:
    async with serving(Scripted({"/health": [OK]})) as port:
        answer = await http_get("127.0.0.1", port, "/health")
    assert (answer.status, answer.headers["server"], answer.body) == (200, "llama.cpp", b'{"status": "ok"}')


async def test_a_request_names_its_host_and_keeps_no_connection() -> None:
    server = Scripted({"/health": [OK]})
    async with serving(server) as port:
        await http_get("127.0.0.1", port, "/health")
        await http_get("127.0.0.1", port, "/health", key="grün")
    assert server.requests[0].splitlines()[:3] == [
        "GET /health HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Connection: close",
    ]
    assert "Authorization" not in server.requests[0]
    assert "Authorization: Bearer grün" in server.requests[1]


@pytest.mark.parametrize(
    ("host", "bound"), [("0.0.0.0", "127.0.0.1"), ("::1", "::1"), ("::", "::1"), ("localhost", "localhost")]
)
async def test_any_address_a_server_may_have_is_reached(host: str, bound: str) -> None:
    server = Scripted({"/": [OK]})
    async with serving(server, bound) as port:
        assert (await http_get(host, port, "/")).status == 200
    assert f"Host: {'[::1]' if bound == '::1' else bound}:{port}" in server.requests[0]


async def test_nobody_there() -> None:
    async with serving(raw()) as port:
        pass
    with pytest.raises(ConnectionRefusedError):
        await http_get("127.0.0.1", port, "/")


async def test_an_answer_in_pieces_and_after_an_early_hint() -> None:
    early, chunked = b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    parts = (early, chunked, b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n")
    async with serving(raw(*parts, pause=0.01, stay=True)) as port:
        answer = await http_get("127.0.0.1", port, "/")
    assert (answer.status, answer.body) == (200, b"abcde")


async def test_an_answer_that_ends_with_the_connection() -> None:
    async with serving(raw(b"HTTP/1.0 200 OK\r\n\r\n", b"to the end")) as port:
        assert (await http_get("127.0.0.1", port, "/")).body == b"to the end"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\xff\x00\xff",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
    ],
)
async def test_what_is_no_answer_is_an_error(answer: bytes) -> None:
    async with serving(raw(answer)) as port:
        with pytest.raises((ConnectionError, h11.RemoteProtocolError)):
            await http_get("127.0.0.1", port, "/")


@pytest.mark.parametrize("declared", [b"Content-Length: 1048577", b"X: y"])
async def test_an_endless_answer_is_given_up(declared: bytes) -> None:
    sent = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + declared + b"\r\n\r\n")
        while True:
            writer.write(bytes(65536))
            sent += 65536
            await writer.drain()

    async with serving(handle) as port:
        with pytest.raises(h11.RemoteProtocolError, match="too"):
            await http_get("127.0.0.1", port, "/")
    assert sent < 20 * MOST_BYTES


async def test_a_large_answer_within_the_bound_is_taken() -> None:
    async with serving(Scripted({"/": [(200, bytes(MOST_BYTES))]})) as port:
        assert len((await http_get("127.0.0.1", port, "/")).body) == MOST_BYTES


async def test_the_caller_bounds_the_time_and_the_connection_is_let_go() -> None:
    gone = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()
        gone.set()

    async with serving(handle) as port:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await http_get("127.0.0.1", port, "/")
        await asyncio.wait_for(gone.wait(), 20)


@pytest.mark.parametrize(("path", "key"), [("/", "secret\x00"), ("/", "secret\n"), ("/a b", "secret"), ("/ü", None)])
async def test_what_http_cannot_carry_is_refused_without_showing_the_key(path: str, key: str | None) -> None:
    async with serving(Scripted({})) as port:
        with pytest.raises(ValueError, match=r"cannot carry|ascii") as refusal:
            await http_get("127.0.0.1", port, path, key=key)
    assert "secret" not in str(refusal.value)


async def test_tls_is_spoken_without_a_known_certificate(tmp_path: Path) -> None:
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=x",
        "-keyout",
        "key",
        "-out",
        "cert",
    ]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)  # noqa: ASYNC221 - nothing runs beside it yet
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Scripted({"/": [OK]})(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    assert (await http_get("127.0.0.1", port, "/", tls=True)).status == 200
    with pytest.raises((ConnectionError, h11.RemoteProtocolError)):
        await http_get("127.0.0.1", port, "/")
    server.close()
