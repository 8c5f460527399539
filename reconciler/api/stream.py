"""`GET /api/v1/stream`: a snapshot, then each change once."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Protocol

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from reconciler.api.controller import Controller
from reconciler.api.feed import LostError
from reconciler.api.views import Views

PATIENCE = 30.0
"""Seconds in which a reader has to take what it is sent; on TCP, connections are less patient."""
BEAT = 2.0
"""Seconds between two mentions of usage."""
BEATS_UNTIL_COMMENT = 5


def routes(controller: Controller, views: Views) -> list[BaseRoute]:
    """The routes."""
    pulse = Pulse(controller, views)

    async def stream(request: Request) -> Response:
        await views.fresh()
        if request.method == "HEAD":
            return Response(media_type=EventStream.media_type)
        last = request.headers.get("last-event-id") or request.query_params.get("lastEventId") or ""
        return EventStream(changes(views, last, pulse.usage), pulse)

    return [Route("/api/v1/stream", stream)]


async def changes(views: Views, last: str = "", usage: Callable[[], bytes] = bytes) -> AsyncIterator[bytes]:
    """What came after a message, by its name, or all there is; and then each change. `usage` is a message beside."""
    feed = views.feed
    known, number = feed.number_of(last), feed.number
    yield (b": again\n\n" if known is not None else views.snapshot_message()) + usage()
    with suppress(LostError):  # who does not read is dropped, and may come again
        while known is not None and known < number:
            content, known = feed.since(known, kept=True)
            number = max(number, known)  # what came meanwhile is in it
            if content:
                yield content
        while not feed.is_closed:
            await feed.wait(number)
            content, number = feed.since(number)
            if content:
                yield content


class Reader(Protocol):
    """Who is to know that somebody reads."""

    def begin(self) -> None:
        """One more reads."""

    def end(self) -> None:
        """One fewer."""


class Pulse:
    """What is mentioned now and again, as long as anybody reads."""

    def __init__(self, controller: Controller, views: Views) -> None:
        self._controller = controller
        self._views = views
        self._beating: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """One more reads."""
        self._views.readers += 1
        if self._beating is None or self._beating.done():
            self._beating = asyncio.ensure_future(self._beat())

    def end(self) -> None:
        """One fewer."""
        self._views.readers -= 1

    async def _beat(self) -> None:
        beats = 0
        while self._views.readers > 0 and not self._views.feed.is_closed:
            beats += 1
            content = self.usage()
            if beats % BEATS_UNTIL_COMMENT == 0:
                content += b": still here\n\n"
            if content:
                self._views.feed.mention(content)
                self._views.feed.wake()
            self._views.refresh()
            await asyncio.sleep(BEAT)

    def usage(self) -> bytes:
        """What servers take and give, as a message; empty where nobody knows."""
        meter = self._controller.meter
        if meter is None:
            return b""
        meter.wanted()
        data = to_json({"at": round(time.time(), 3), "servers": dict(meter.latest())})
        return b"event: usage\ndata: %s\n\n" % data


class EventStream(Response):
    """Messages as they come, until the reader goes, or does not keep up."""

    media_type = "text/event-stream"

    def __init__(self, messages: AsyncIterator[bytes], reader: Reader) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._messages = messages
        self._reader = reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        del scope
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_left(receive))
        self._reader.begin()
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._reader.end()
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
        if sending.cancelled():  # whoever is sent away has no more than this end
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for content in self._messages:
            async with asyncio.timeout(PATIENCE):
                await send({"type": "http.response.body", "body": content, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
