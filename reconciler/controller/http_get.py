"""One GET over a connection of its own.

llama-server closes idle connections after 5 s, so a kept one would fail in a healthy server; and an HTTP client's
machinery costs three times as much CPU, 20 times a second at a hundred servers. The protocol itself is h11's.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import h11

MOST_BYTES = 1024 * 1024
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to find a server bound to all addresses


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def http_get(host: str, port: int, path: str, *, key: str | None = None, tls: bool = False) -> Answer:
    """Fetch a path.

    Raises OSError when nobody answers, h11.RemoteProtocolError for what is not HTTP, and ValueError for a path or key
    that HTTP cannot carry. The caller bounds the time; answers above 1 MiB are refused as not HTTP of a llama-server.
    """
    address = _WILDCARDS.get(host, host)
    connection = h11.Connection(h11.CLIENT)
    request = _request(connection, f"[{address}]:{port}" if ":" in address else f"{address}:{port}", path, key)
    reader, writer = await asyncio.open_connection(address, port, ssl=_unverified() if tls else None)
    try:
        writer.write(request)
        return await _read(reader, connection)
    finally:
        writer.close()


def _request(connection: h11.Connection, authority: str, path: str, key: str | None) -> bytes:
    headers = [(b"Host", authority.encode()), (b"Connection", b"close")]
    if key:
        headers.append((b"Authorization", f"Bearer {key}".encode()))
    try:
        head = connection.send(h11.Request(method="GET", target=path, headers=headers))
    except h11.LocalProtocolError:
        # Its own text would show the key.
        raise ValueError(f"HTTP cannot carry the path {path!r}" + (", or the key" if key else "")) from None
    return (head or b"") + (connection.send(h11.EndOfMessage()) or b"")


async def _read(reader: asyncio.StreamReader, connection: h11.Connection) -> Answer:
    status, headers, body = 0, {}, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65536))
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
