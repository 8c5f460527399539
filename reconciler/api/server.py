"""Serves the interface in the controller's own event loop."""

import asyncio
import logging
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from reconciler.api.connections import Server

log = logging.getLogger("reconciler")
MOMENT = 1.0
"""Seconds at the end for what commands have asked for."""


class _OwnersSocket(socket.socket):
    """Turns other users away: an abstract name has no file mode that would (unix(7))."""

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        if hasattr(socket, "SO_PEERCRED") and _peer(connection) not in (0, os.geteuid()):
            connection.close()
            raise ConnectionAbortedError("another user")
        return connection, address


def _peer(connection: socket.socket) -> int:
    """The user id of who connected."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


class SocketServer:
    """The interface on a Unix socket that only its owner can open, for as long as the path leads to it."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        """`path` begins with NUL for an abstract name. Raises OSError when that is no name for a socket.

        One that cannot be bound yet, as on a full disk, is tried again by `put_in_place`.
        """
        self._app = app
        self._path = path
        self._file: tuple[int, int] | None = None
        """Device and inode of the socket that is listened on."""
        self._server: Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._error: BaseException | None = None
        self._bound: socket.socket | None = None
        """A socket that nobody listens on yet."""
        try:
            self._bind()
        except OSError as error:
            if error.errno is None:
                raise
            log.error("commands cannot reach this controller yet: %s: %s", path, error)  # noqa: TRY400

    async def serve(self) -> None:
        """Serve until `stop`."""
        self._listen()
        await self._ended.wait()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._error is not None:
            raise self._error

    def put_in_place(self) -> None:
        """Bind the socket, anew where its file was deleted or replaced. Raises OSError."""
        is_there = (self._server or self._bound) is not None and self._is_in_place()
        if is_there or self._ended.is_set():
            return
        self._bind()
        self._listen()

    def _bind(self) -> None:
        self._bound = _bind(self._path)
        self._file = _inode(self._path)

    def _listen(self) -> None:
        if self._bound is None:
            return
        before, self._server = self._server, Server(self._app, moment=MOMENT)
        task = asyncio.create_task(self._server.serve(sockets=[self._bound]))
        self._bound = None
        self._tasks.add(task)
        task.add_done_callback(self._done)
        if before is not None:
            before.stop()

    def _is_in_place(self) -> bool:
        return self._path.startswith("\0") or _inode(self._path) == self._file

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._error = error
            self._ended.set()

    def stop(self) -> None:
        """Take no more requests and end soon."""
        self._ended.set()
        if self._server is not None:
            self._server.stop()
        if not self._path.startswith("\0") and self._is_in_place():
            with suppress(OSError):
                Path(self._path).unlink()


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _bind(path: str) -> socket.socket:
    """The owner holds the state folder's lock, so a socket that is there already is a dead controller's."""
    if not path.startswith("\0"):
        with suppress(FileNotFoundError):
            Path(path).unlink()
    server = _OwnersSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        server.bind(path)
    except OSError:
        server.close()
        raise
    finally:
        os.umask(before)
    server.listen(64)
    server.setblocking(False)
    return server
