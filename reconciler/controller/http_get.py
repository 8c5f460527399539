"""GETs, and small POSTs, over connections that are not kept for later.

llama-server closes idle connections after 5 s, so a kept one would fail in a healthy server; and an HTTP client's
machinery costs three times as much CPU, 20 times a second at a hundred servers. The protocol itself is h11's.
"""

import asyncio
import errno
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache

import h11

MOST_BYTES = 1024 * 1024
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to find a server bound to all addresses


_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})
"""Errors of a connection that is not even begun, for want of a descriptor, memory or a port on our side."""


LATE = 1.0
"""Seconds from connecting to asking after which the server may have given up waiting for us."""


class NotAskedError(OSError):
    """Nothing was asked, or too late, for want of means or time of our own: that says nothing about the server."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def http_get(host: str, port: int, path: str, *, key: str | None = None, tls: bool = False) -> Answer:
    """Fetch a path over a connection of its own.

    Raises OSError when nobody answers, NotAskedError when that is our own fault, h11.RemoteProtocolError for what is
    not HTTP, and ValueError for a path or key that HTTP cannot carry. The caller bounds the time; answers above 1 MiB
    are refused as not HTTP of a llama-server.
    """
    async with conversation(host, port, tls=tls, keep=False) as talk:
        return await talk.get(path, key)


@asynccontextmanager
async def conversation(host: str, port: int, *, tls: bool = False, keep: bool = True) -> "AsyncIterator[Conversation]":
    """Several requests at once, over one connection where the server keeps it; it is closed at the end."""
    talk = Conversation(_WILDCARDS.get(host, host), port, tls=tls, keep=keep)
    try:
        yield talk
    finally:
        talk.close()


class Conversation:
    """Requests one after the other."""

    def __init__(self, address: str, port: int, *, tls: bool, keep: bool) -> None:
        self._address = address
        self._port = port
        self._tls = _unverified() if tls else None
        self._keep = keep
        self.asked: float | None = None
        """When the first request was sent, by the loop's clock; whoever measures an answer may set it back."""
        self._connection = h11.Connection(h11.CLIENT)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, key: str | None = None) -> Answer:
        """Fetch a path; raises as `http_get` does."""
        return await self._ask(path, key, None)

    async def post(self, path: str, body: bytes, key: str | None = None) -> Answer:
        """Send JSON to a path; raises as `http_get` does. Where the connection breaks off it may be sent twice."""
        return await self._ask(path, key, body)

    async def _ask(self, path: str, key: str | None, body: bytes | None) -> Answer:
        if self._connection.our_state is h11.DONE and self._connection.their_state is h11.DONE:
            self._connection.start_next_cycle()
            try:
                return await self._exchange(path, key, body)
            except (ConnectionError, h11.RemoteProtocolError):
                pass  # a server may close a kept connection without a word
        if self._connection.our_state is not h11.IDLE:
            self.close()
        return await self._exchange(path, key, body)

    async def _exchange(self, path: str, key: str | None, body: bytes | None) -> Answer:
        loop, request = asyncio.get_running_loop(), self._request(path, key, body)
        began = loop.time()
        if self._streams is None:
            self._streams = await self._connect(began)
        reader, writer = self._streams
        writer.write(request)
        now = loop.time()
        if self.asked is None:
            self.asked = now
        try:
            return await _read(reader, self._connection)
        except ConnectionError as error:
            if now - began > LATE:
                raise NotAskedError(error.errno, f"asked {now - began:.1f} s after connecting: {error}") from error
            raise

    async def _connect(self, began: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_connection(self._address, self._port, ssl=self._tls)
        except ConnectionRefusedError:
            raise
        except OSError as error:
            # With TLS the server hears of us only by the handshake, which may be late as a request may.
            is_late = self._tls is not None and asyncio.get_running_loop().time() - began > LATE
            if error.errno in _OURS or is_late:
                raise NotAskedError(error.errno, error.strerror) from error
            raise
        except RuntimeError as error:
            # A name is looked up in a thread of its own, for which there may be no room.
            raise NotAskedError(errno.EAGAIN, str(error)) from error

    def close(self) -> None:
        """Hang up; a further `get` connects anew."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams, self._connection = None, h11.Connection(h11.CLIENT)

    def _request(self, path: str, key: str | None, body: bytes | None) -> bytes:
        authority = f"[{self._address}]:{self._port}" if ":" in self._address else f"{self._address}:{self._port}"
        headers = [(b"Host", authority.encode()), (b"Connection", b"keep-alive" if self._keep else b"close")]
        if key:
            headers.append((b"Authorization", f"Bearer {key}".encode()))
        if body is not None:
            headers += [(b"Content-Type", b"application/json"), (b"Content-Length", str(len(body)).encode())]
        method = "GET" if body is None else "POST"
        try:
            head = self._connection.send(h11.Request(method=method, target=path, headers=headers))
        except h11.LocalProtocolError:
            # Its own text would show the key.
            raise ValueError(f"HTTP cannot carry the path {path!r}" + (", or the key" if key else "")) from None
        content = self._connection.send(h11.Data(data=body)) if body else b""
        return (head or b"") + (content or b"") + (self._connection.send(h11.EndOfMessage()) or b"")


async def _read(reader: asyncio.StreamReader, connection: h11.Connection) -> Answer:
    status, headers, body, heard = 0, {}, bytearray(), False
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(65536)
            heard = heard or bool(data)
            if not heard:
                raise ConnectionResetError("the connection was closed before an answer came")
            connection.receive_data(data)
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = {name.decode(): value.decode(errors="replace") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MOST_BYTES:
                raise h11.RemoteProtocolError("the answer is too long")
        elif isinstance(event, h11.InformationalResponse):
            continue
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status, headers, bytes(body))
        else:
            raise ConnectionResetError("the connection was closed before an answer came")


@cache
def _unverified() -> ssl.SSLContext:
    """The server's certificate names it to its clients; here its socket's owner is checked instead."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
