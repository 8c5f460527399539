"""HTTP connections that cannot stay for ever: who sends slowly, or reads slowly, is hung up on."""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from reconciler.api.headers import HEADERS
from reconciler.api.incoming import MOST_HEAD, MOST_LINES, MOST_PARTS, Reading

HEAD_TIME = 10.0
"""Seconds for them to come in, from the first byte or the connection on."""
REST_TIME = 5.0
"""Seconds for the rest of a body that nobody wants: the answer was sent before."""
MOST_WAITING = 1024 * 1024
"""Bytes of small parts that have come in and wait for being taken apart."""
MOST_UNSENT = 64 * 1024 * 1024
"""Bytes that all together may wait for readers."""
STUCK = 20.0
"""Seconds that a reader may take nothing of what is sent."""
IDLE = 15
"""Seconds that a connection is kept between two requests."""
MOMENT = 0.2
"""Seconds at the end for answers that are on their way."""
BACKLOG = 64
_NEVER = float("inf")


class Connection(H11Protocol):
    """One connection, with a time limit on each thing that its other side has to do."""

    most: int | None = None
    """Connections at a time; None: no limit."""
    _stuck: asyncio.TimerHandle | None = None
    _head: asyncio.TimerHandle | None = None
    _rest: asyncio.TimerHandle | None = None

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.conn: Reading = Reading(h11.SERVER, MOST_HEAD)
        self._is_reading_on = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, unless there are too many."""
        super().connection_made(transport)
        if self.most is not None and len(self.connections) > self.most:
            self._refuse(503, "TooManyConnections", f"{self.most} connections are open already; try again in a while")
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._unset("_stuck")
        self._unset("_head")
        self._unset("_rest")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A head has to be whole in time, however it comes in."""
        if self.transport.is_closing():
            return
        if self._head is None and self._awaits_head():
            self._expect_head()
        super().data_received(data)
        self._watch()

    def handle_events(self) -> None:
        """Take what has come in: of many parts, some now and more when all others had their turn."""
        if self._is_reading_on:
            return
        self.conn.parts = 0
        super().handle_events()
        if self.conn.parts < MOST_PARTS:
            return
        if len(self.conn.trailing_data[0]) > MOST_WAITING:
            self.transport.abort()
            return
        self._is_reading_on = True
        self.loop.call_soon(self._read_on)

    def on_response_complete(self) -> None:
        """Whoever still sends a body that nobody reads is given a moment to end."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and self._rest is None:
            self._rest = self.loop.call_later(REST_TIME, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, or too much of it."""
        happened = f"{msg} Line and headers may have {MOST_HEAD} bytes and {MOST_LINES} lines."
        if not self.conn.is_heavy_with_cookies:
            self._refuse(400, "BadRequest", happened)
            return
        # They are of other programs on this machine: cookies know no ports, and this one has none.
        do = "delete the browser's cookies for this address, and load the page anew"
        self._refuse(400, "BadRequest", f"{happened} Most of it is cookies.", do, (b"clear-site-data", b'"cookies"'))

    def pause_writing(self) -> None:
        """The other side does not read."""
        super().pause_writing()
        self._unset("_stuck")
        self._stuck = self.loop.call_later(STUCK, self.transport.abort)
        self._drop_slowest()

    def resume_writing(self) -> None:
        """It reads again."""
        self._unset("_stuck")
        super().resume_writing()

    def _read_on(self) -> None:
        self._is_reading_on = False
        if not self.transport.is_closing():
            self.handle_events()
            self._watch()

    def _watch(self) -> None:
        """Have a limit on whatever it is that is waited for now."""
        if not self._awaits_head():
            self._unset("_head")
        elif self._head is None and self.timeout_keep_alive_task is None:
            self._expect_head()
        if self.conn.their_state is not h11.SEND_BODY:
            self._unset("_rest")

    def _drop_slowest(self) -> None:
        """Where more waits for readers than may be, those go that have read nothing for the longest time."""
        waiting = {
            one: one.transport.get_write_buffer_size() for one in self.connections if isinstance(one, Connection)
        }
        over = sum(waiting.values()) - MOST_UNSENT
        for one in sorted(waiting, key=Connection.stuck_until):
            if over <= 0:
                return
            if one is not self and one.stuck_until() != _NEVER:
                over -= waiting[one]
                one.transport.abort()

    def stuck_until(self) -> float:
        """When its reader's patience ends, by the loop's clock."""
        return self._stuck.when() if self._stuck is not None else _NEVER

    def _awaits_head(self) -> bool:
        return self.conn.their_state is h11.IDLE

    def _expect_head(self) -> None:
        self._head = self.loop.call_later(HEAD_TIME, self.transport.abort)

    def _unset(self, name: str) -> None:
        timer: asyncio.TimerHandle | None = getattr(self, name)
        if timer is not None:
            timer.cancel()
        setattr(self, name, None)

    def _refuse(self, status: int, reason: str, happened: str, do: str = "", *more: tuple[bytes, bytes]) -> None:
        """Answer and hang up."""
        body = {"type": "about:blank", "title": reason, "status": status, "detail": happened, "reason": reason}
        text = json.dumps({**body, "happened": happened, "tried": [], "canDo": [do] if do else []}).encode()
        length = (b"content-length", str(len(text)).encode())
        headers = [(b"content-type", b"application/problem+json"), length, *HEADERS, *more, (b"connection", b"close")]
        try:
            said = self.conn.send(h11.Response(status_code=status, headers=headers))
            for event in (h11.Data(data=text), h11.EndOfMessage()):
                said = (said or b"") + (self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # amid an answer
            self.transport.abort()
            return
        self.transport.write(said or b"")
        self.transport.close()


class Server(uvicorn.Server):
    """Serves until told to stop, and then ends soon, whoever still reads. The controller handles signals itself."""

    def __init__(self, app: Any, *, most: int | None = None, moment: float = MOMENT) -> None:
        """`most`: connections at a time; `moment`: seconds at the end for answers that are on their way."""
        # It would tell of each client that speaks no HTTP.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        protocol = type("Connection", (Connection,), {"most": most})
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                log_config=None,
                access_log=False,
                lifespan="off",
                proxy_headers=False,
                server_header=False,
                date_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=IDLE,
                h11_max_incomplete_event_size=MOST_HEAD,
            )
        )
        self._ended = asyncio.Event()
        self._moment = moment

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None of them."""
        yield

    async def main_loop(self) -> None:
        """Wait for `stop`: uvicorn's own loop wakes ten times a second."""
        await self._ended.wait()

    def stop(self) -> None:
        """Take no more requests and end soon."""
        self.should_exit = True
        self._ended.set()

    async def shutdown(self, sockets: Any = None) -> None:
        """Answers have a moment; streams, which have no end, are cut at once."""
        for server in self.servers:
            server.close()
        for bound in sockets or ():
            bound.close()
        for connection in list(self.server_state.connections):
            if _streams(connection):
                connection.transport.abort()
            with suppress(h11.LocalProtocolError):
                connection.shutdown()
        await self._until_gone(self.server_state.connections, self._moment)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await self._until_gone(self.server_state.tasks, MOMENT)

    async def _until_gone(self, some: set[Any], seconds: float) -> None:
        until = asyncio.get_running_loop().time() + seconds
        while some and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110 - uvicorn's own sets tell nobody
            await asyncio.sleep(0.01)


def _streams(connection: Any) -> bool:
    """Whether an answer has begun and not ended: one that has an end is sent whole, in one go."""
    cycle = connection.cycle
    return cycle is not None and cycle.response_started and not cycle.response_complete
