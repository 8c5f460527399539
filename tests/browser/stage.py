"""The dashboard's files over a controller that says what a test wants it to say."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from reconciler.api.pages import Pages

STARTED = "2026-11-21T20:21:51.762Z"
EVENT: dict[str, Any] = {
    "server": "coder",
    "type": "Warning",
    "reason": "Failed",
    "message": "long ago",
    "count": 1,
    **dict.fromkeys(("firstAt", "lastAt"), STARTED),
}
"""One that the stream's snapshot does not have."""
ANSWERS = {
    "/api/v1/session": {"valid": False, "readsNeedToken": False, "actsNeedToken": True, "expiresAt": None},
    "/api/v1/restarts": {"kind": "RestartList", "items": []},
    "/api/v1/events": {"kind": "EventList", "items": [EVENT]},
}


def item(name: str = "chat", **status: Any) -> dict[str, Any]:
    """A server, as the interface shows it."""
    source = {"file": f"{name}.yaml", "line": 1, "origin": "local"}
    ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": STARTED}
    usual: dict[str, Any] = {
        **dict.fromkeys(("effective", "asked", "fallback", "loading", "explanation")),
        "phase": "Ready",
        "conditions": [ready],
        "port": 8001,
        "restarts": 0,
        "models": [],
        "lastError": "",
        "message": "",
        "instance": {"uid": "a", "pid": 1, "port": 8001, "startedAt": STARTED, "trigger": "Created"},
    }
    metadata = {"name": name, "labels": {}, "annotations": {}, "source": source}
    return {"metadata": metadata, "spec": {"model": "tiny.gguf"}, "status": {**usual, **status}}


class Stage:
    """Serves the dashboard, and a stream that the test writes."""

    def __init__(self, *servers: dict[str, Any]) -> None:
        self.asked: list[str | None] = []
        """The `Last-Event-ID` of each look."""
        self.port = 0
        self._servers = servers
        self._looked = threading.Condition()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        """Its first page."""
        return f"http://127.0.0.1:{self.port}/"

    def say(self, kind: str, data: Any, number: int = 0) -> None:
        """Send a message."""
        name = f"id: e-{number}\n" if number else ""
        self._send(f"event: {kind}\n{name}data: {json.dumps(data)}\n\n".encode())

    def end(self) -> None:
        """End the stream."""
        self._send(None)

    def wait_looked(self, times: int) -> None:
        """Wait until the stream was asked for so often."""
        with self._looked:
            assert self._looked.wait_for(lambda: len(self.asked) >= times, 20)

    @contextmanager
    def served(self) -> Iterator[Self]:
        """On a free port, in a thread of its own."""
        fixed = [Route(path, lambda _, told=told: JSONResponse(told)) for path, told in ANSWERS.items()]
        log = Route("/api/v1/servers/{name}/logs", _log)
        app = Starlette(routes=[Route("/api/v1/stream", self._stream), log, *fixed])
        app.router.default = Pages()
        config = uvicorn.Config(app, port=0, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        started = threading.Event()
        thread = threading.Thread(target=asyncio.run, args=(self._serve(server, started),))
        thread.start()
        assert started.wait(30)
        yield self
        self.end()
        server.should_exit = True
        thread.join(30)

    async def _serve(self, server: uvicorn.Server, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        serving = asyncio.ensure_future(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn tells it in no other way
            await asyncio.sleep(0.01)
        self.port = server.servers[0].sockets[0].getsockname()[1]
        started.set()
        await serving

    def _send(self, content: bytes | None) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._queue.put_nowait, content)

    async def _stream(self, request: Request) -> Response:
        self._queue = asyncio.Queue()
        with self._looked:
            self.asked.append(request.headers.get("last-event-id"))
            self._looked.notify_all()
        if self.asked[-1] is None:
            lists: dict[str, list[Any]] = {key: [] for key in ("events", "restarts", "profiles", "sources")}
            self.say("snapshot", {"servers": self._servers, **lists}, 1)
        return StreamingResponse(self._messages(), media_type="text/event-stream")

    async def _messages(self) -> AsyncIterator[bytes]:
        yield b": here\n\n"
        while (content := await self._queue.get()) is not None:
            yield content


async def _log(request: Request) -> Response:
    """One line, and when it is followed no end."""
    if "follow" not in request.query_params:
        return PlainTextResponse("a line\n")
    return StreamingResponse(_lines(), media_type="text/event-stream")


async def _lines() -> AsyncIterator[bytes]:
    yield b'event: line\ndata: {"line": "a line"}\n\n'
    await asyncio.Event().wait()
