"""Tells webhooks and commands of events, in order and without ever holding up the loop."""

import asyncio
from collections.abc import Sequence

from reconciler.core.actions import Event
from reconciler.core.model import Now
from reconciler.settings import Notify


class Notifier:
    """One queue for each of `[[notify]]`."""

    def __init__(self, targets: Sequence[Notify], installation: str) -> None:
        self._targets = targets
        self._installation = installation
        self._ended = asyncio.Event()

    def tell(self, event: Event, now: Now) -> None:
        """Note an event for those who want it; returns at once."""

    async def run(self) -> None:
        """Send what is noted, until cancelled."""
        await self._ended.wait()
