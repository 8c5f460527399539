"""Serves the interface in the controller's own event loop."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette


class _Server(uvicorn.Server):
    """The controller handles signals itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


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
    """The interface on a Unix socket that only its owner can open."""

    def __init__(self, app: Starlette, path: str) -> None:
        """`path` begins with NUL for an abstract name. Raises OSError when it cannot be bound."""
        self._path = path
        self._socket = _bind(path)
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        self._server = _Server(config)

    async def serve(self) -> None:
        """Serve until `stop`."""
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Take no more requests and end soon."""
        self._server.should_exit = True
        if not self._path.startswith("\0"):
            with suppress(FileNotFoundError):
                Path(self._path).unlink()


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
