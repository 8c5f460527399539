"""What servers take and give, looked at now and again and kept for an hour: for charts and metrics."""

import asyncio
from collections.abc import Mapping
from typing import Any

from reconciler.controller.loop import Loop
from reconciler.store.writer import Store

INTERVAL = 5.0
"""Seconds between two looks."""


class Meter:
    """Looks at all servers each few seconds; at what costs them something only while somebody wants to know."""

    def __init__(self, store: Store, loop: Loop) -> None:
        self._store = store
        self._loop = loop
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        await self._ended.wait()

    def wanted(self) -> None:
        """Somebody looks: for a minute from now on, servers are asked for tokens and slots too."""

    def latest(self) -> dict[str, dict[str, Any]]:
        """By server, as `usage` of `top -o json` has it, with `healthSeconds`; what is not known is None."""
        return {}

    def series(self, name: str) -> Mapping[str, Any]:
        """One server's last hour: `interval` (s), `at` (Unix times) and `series`, each with one value for each time."""
        return {"interval": INTERVAL, "at": [], "series": {}}
