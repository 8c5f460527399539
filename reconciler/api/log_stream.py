"""`GET /api/v1/servers/NAME/logs`: a server's log, and what is added to it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from reconciler.api.asking import is_asked, number_of
from reconciler.api.controller import Controller
from reconciler.api.problems import ProblemError
from reconciler.api.stream import EventStream
from reconciler.api.views import Views
from reconciler.core.refusals import UnknownServersError
from reconciler.runtimes.log_tail import LogTail, More
from reconciler.runtimes.tailing import Clock, Log, has_time
from reconciler.store import past
from reconciler.store.items import Item, timestamp

USUAL = 200
MOST = 10_000
"""Lines of what is there already."""
SLICE = 100
"""Lines that are worked off at once: half a millisecond of the controller's loop."""
LOOK = 0.1
"""Seconds between two looks at a file."""
SILENCE = 10.0
"""Seconds after which a comment says that nothing was written."""


class Wish(NamedTuple):
    """Which log is meant."""

    server: str
    tail: int
    previous: bool
    uid: str
    """Empty: the newest, or the one before it."""

    @property
    def goes_on(self) -> bool:
        """Whether the next instance's log is meant too."""
        return not (self.previous or self.uid)


def routes(controller: Controller, views: Views) -> list[BaseRoute]:
    """The routes."""

    async def logs(request: Request) -> Response:
        name = request.path_params["name"]
        follows, previous = is_asked(request, "follow"), is_asked(request, "previous")
        wish = Wish(name, number_of(request, "tail", USUAL, MOST), previous, request.query_params.get("uid", ""))
        await views.fresh()
        start = await views.tables.ask(lambda db: _start(db, wish))
        if start is None and (views.server(name) is None or not wish.goes_on):
            raise _none(wish, is_known=views.server(name) is not None)
        if start is not None and start["adopted"]:
            raise _adopted(start)
        if follows and request.method == "HEAD":
            return Response(media_type=EventStream.media_type)
        if follows:
            return EventStream(Following(controller, views, wish).messages(start), Reading(views))
        if start is None:
            raise _none(wish, is_known=True)
        spec = await views.tables.ask(lambda db: past.spec_of(db, start["uid"]))
        async with views.tables.turn:
            return PlainTextResponse(await _text(controller, _log(controller, start), wish, spec))

    return [Route("/api/v1/servers/{name}/logs", logs)]


def _start(db: sqlite3.Connection, wish: Wish) -> Item | None:
    """The start whose log is meant."""
    if wish.uid:
        return next((one for one in past.restarts(db, [wish.server]) if one["uid"] == wish.uid), None)
    found = past.restarts(db, [wish.server], limit=1 + wish.previous)
    return found[0] if len(found) > wish.previous else None


def _none(wish: Wish, *, is_known: bool) -> Exception:
    if not (is_known or wish.uid):
        return UnknownServersError([wish.server])
    what = f"no instance {wish.uid[:40]}" if wish.uid else f"no {'earlier ' if wish.previous else ''}instance"
    remedy = f"see its history with: reconciler get restarts {wish.server}"
    return ProblemError(404, "NoLog", f"'{wish.server}' has {what}", remedy)


def _adopted(start: Item) -> ProblemError:
    happened = f"'{start['server']}' was taken over as pid {start['pid']}, which writes where whoever started it chose"
    remedy = f"if that is a file, it is told by: reconciler describe server {start['server']}"
    return ProblemError(404, "LogElsewhere", happened, remedy)


def _log(controller: Controller, start: Item) -> Log:
    path = controller.folder / "logs" / start["server"] / f"{start['uid']}.log"
    return Log(start["server"], start["uid"], path, datetime.fromisoformat(start["startedAt"]).timestamp())


async def _text(controller: Controller, log: Log, wish: Wish, spec: Item) -> str:
    if not log.parts():
        remedy = f"old logs are dropped; see its history with: reconciler get restarts {log.server}"
        raise ProblemError(404, "NoLog", f"the log of instance {log.uid} is gone", remedy)

    def read() -> Sequence[bytes]:
        tail = LogTail(log)
        lines = tail.last(wish.tail)
        return [*lines, *tail.more(ends=True).lines][-wish.tail :] if wish.tail else []

    content = b"".join(line + b"\n" for line in await asyncio.to_thread(read))
    return controller.told(log.server, content.decode(errors="replace"), spec)


class Reading:
    """Somebody wants to know when an instance has ended."""

    def __init__(self, views: Views) -> None:
        self._views = views

    def begin(self) -> None:
        """One more reads."""
        self._views.readers += 1

    def end(self) -> None:
        """One fewer."""
        self._views.readers -= 1


class Following:
    """One reader of a server's log."""

    def __init__(self, controller: Controller, views: Views, wish: Wish) -> None:
        self._controller = controller
        self._views = views
        self._wish = wish
        self._spec: Item = {}
        """By which the instance was started."""

    async def messages(self, start: Item | None) -> AsyncIterator[bytes]:
        """All of what is to be told, the first lines first."""
        count = self._wish.tail
        while start is not None or self._wish.goes_on:
            if start is None:
                yield b": it has no instance yet\n\n"
            else:
                yield _message("instance", {key: start[key] for key in ("uid", "startedAt", "trigger", "pid")})
                async for content in self._instance(start, count):
                    yield content
                if not self._wish.goes_on:
                    return
                count = MOST
            start = await self._next(start)
            if start is None:
                return

    async def _instance(self, start: Item, count: int) -> AsyncIterator[bytes]:
        """One instance's lines until it has ended."""
        log = _log(self._controller, start)
        tail, uid = LogTail(log), start["uid"]
        self._spec = await self._views.tables.ask(lambda db: past.spec_of(db, uid))
        async with self._views.tables.turn:
            clock = await asyncio.to_thread(log.clock)
            begun = await self._lines(clock, await asyncio.to_thread(tail.last, count))
        yield begun or b": no line yet\n\n"
        del begun
        silent = 0.0
        while not self._views.feed.is_closed:
            ended = start if start["endedAt"] else self._ended(uid)
            # What was written before the end was known is all there is.
            content = await self._added(clock, tail.more(ends=ended is not None))
            silent = 0.0 if content else silent + LOOK
            if silent >= SILENCE:
                content, silent = b": still here\n\n", 0.0
            if content:
                yield content
            if ended is not None:
                yield _message("end", ended)
                return
            await asyncio.sleep(LOOK)

    def _ended(self, uid: str) -> Item | None:
        """The start as it has ended; None as long as it goes on."""
        found = self._views.happened.start(uid)
        if found is None:  # so old that it is not at hand, and whatever runs is
            return {"uid": uid, "endedAt": None}
        return found if found["endedAt"] else None

    async def _next(self, start: Item | None) -> Item | None:
        """The next instance that writes a log; None at the end of it all."""
        while not self._views.feed.is_closed:
            last = self._views.happened.last(self._wish.server)
            if last is not None and not last["adopted"] and (start is None or last["uid"] != start["uid"]):
                return last
            await asyncio.sleep(LOOK)
        return None

    async def _added(self, clock: Clock, more: More) -> bytes:
        skipped = _message("skipped", {"bytes": more.skipped}) if more.skipped else b""
        if len(more.lines) <= SLICE:
            return skipped + await self._lines(clock, more.lines)
        async with self._views.tables.turn:
            return skipped + await self._lines(clock, more.lines)

    async def _lines(self, clock: Clock, lines: Sequence[bytes]) -> bytes:
        """As messages, in slices: the controller's loop has its turn between them."""
        texts, told = self._told(lines) if lines else (), list[bytes]()
        for at in range(0, len(lines), SLICE):
            if at:
                await asyncio.sleep(0)
            told += _line_messages(clock, lines[at : at + SLICE], texts[at : at + SLICE])
        return b"".join(told)

    def _told(self, lines: Sequence[bytes]) -> Sequence[str]:
        """Without secrets, even those of several lines."""
        text = self._controller.told(self._wish.server, b"\n".join(lines).decode(errors="replace"), self._spec)
        return text.split("\n")


def _line_messages(clock: Clock, lines: Sequence[bytes], texts: Sequence[str]) -> Iterator[bytes]:
    for line, text in zip(lines, texts, strict=False):
        at = clock.read(line).at
        yield _message("line", {"line": text, "at": timestamp(at)} if has_time(line) else {"line": text})


def _message(kind: str, data: Item) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), to_json(data))
