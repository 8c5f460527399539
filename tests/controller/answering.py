"""Small HTTP servers that do on demand what a real llama-server cannot be made to do."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Reply = tuple[int, object]
"""Status, and a body: bytes, or anything that is JSON."""
HANG: Reply = (0, None)
"""Read the request and never answer."""
OK: Reply = (200, {"status": "ok"})
LOADING: Reply = (503, {"error": {"message": "Loading model"}})


@asynccontextmanager
async def serving(handle: Handle, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """A server on this port, or on a free one of the kernel's."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(ConnectionError, EOFError, asyncio.CancelledError):
            await handle(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, host, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Scripted:
    """Answers each path with the next reply of its list; the last one stays."""

    replies: Mapping[str, list[Reply]]
    server: str = "llama.cpp"
    delays: dict[str, float] = field(default_factory=dict)
    """Seconds until a path is answered."""
    asked: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ", 2)[1]
        self.asked.append(path)
        self.requests.append(head)
        left = self.replies.get(path, [(404, {"error": {"message": "File Not Found"}})])
        status, body = left.pop(0) if len(left) > 1 else left[0]
        if not status:
            await asyncio.sleep(3600)
        await asyncio.sleep(self.delays.get(path, 0.0))
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} X", f"Server: {self.server}", f"Content-Length: {len(content)}"]
        writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        await writer.drain()


async def until(is_so: Callable[[], object], patience: float = 20.0) -> None:
    """Let the loop run until it is so."""
    async with asyncio.timeout(patience):
        while not is_so():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.005)
