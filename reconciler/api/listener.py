"""Serves the interface and the dashboard on TCP, beside the Unix socket."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from reconciler.api.connections import BACKLOG, Server
from reconciler.core.listen import LISTEN_FAILED, LISTENING, Listen, authority, parse_listen

log = logging.getLogger("reconciler")
AGAIN = 10.0
"""Seconds between tries for an address that cannot be had."""
MOST_CONNECTIONS = 512


def _tell_nobody(_reason: str, _message: str) -> None:
    pass


class Listener:
    """One TCP address; where it cannot be had, the controller goes on without it and says so."""

    def __init__(
        self,
        app: Any,
        listen: str,
        *,
        most: int = MOST_CONNECTIONS,
        tell: Callable[[str, str], None] = _tell_nobody,
    ) -> None:
        """`listen` is `ADDRESS:PORT`; `most`: connections at a time; `tell` is given a reason and a message."""
        self._app = app
        self._listen = parse_listen(listen)
        self._most = most
        self._tell = tell
        self._ended = asyncio.Event()
        self._server: Server | None = None
        self.url = ""
        """Where it is served; empty where it is not."""
        self.problem = ""
        """Why it is not served, and what to do; empty where it is."""

    async def serve(self) -> None:
        """Serve until `stop`; never raises for an address that cannot be had."""
        while not self._ended.is_set():
            bound = self._bind()
            if bound is not None:
                await self._serve(bound)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), AGAIN)

    def stop(self) -> None:
        """Take no more requests and end soon."""
        self._ended.set()
        if self._server is not None:
            self._server.stop()

    async def _serve(self, bound: socket.socket) -> None:
        port = bound.getsockname()[1]
        self._server = Server(self._app, most=self._most)
        serving = asyncio.create_task(self._server.serve(sockets=[bound]))
        self.url = self._listen.url(port)
        self._told_up()
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self.stop()
            await serving
            raise
        finally:
            self.url = ""

    def _told_up(self) -> None:
        was_down, self.problem = bool(self.problem), ""
        message = f"the dashboard and the interface are at {self.url}"
        if not self._listen.is_loopback:
            where = authority(self._listen.host, int(self.url.rpartition(":")[2]))
            message += f", and for others at {where}, by plain HTTP and with the token"
        log.info("%s; open it with: reconciler ui", message)
        if was_down:
            self._tell(LISTENING, message)

    def _bind(self) -> socket.socket | None:
        try:
            return _bind(self._listen)
        except OSError as error:
            problem = _problem(self._listen, error)
        if problem != self.problem:
            self.problem = problem
            log.warning("%s", problem)
            self._tell(LISTEN_FAILED, problem)
        return None


def _bind(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if listen.is_ipv6 else socket.AF_INET
    # Where the protocol is not named, asyncio leaves Nagle's delay on: 40 ms for each small answer.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((listen.host, listen.port))
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def _problem(listen: Listen, error: OSError) -> str:
    """What happened, and what to do."""
    where = listen.url(listen.port).removeprefix("http://")
    remedy = {
        errno.EADDRINUSE: f"end what listens there (ss -ltnp 'sport = :{listen.port}'), or choose another port",
        errno.EADDRNOTAVAIL: "that is no address of this machine: choose one that it has (ip address)",
        errno.EACCES: "ports below 1024 are root's: choose a higher one",
    }.get(error.errno or 0, "choose another address or port")
    why = error.strerror or str(error)
    return (
        f"the dashboard and the interface are not served at {where}: {why}; it is tried again each {AGAIN:g} s; "
        f'{remedy}, with `listen` under [http] in reconciler.toml ("" for none)'
    )
