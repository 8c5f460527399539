"""Answers that take their time: made one after the other, with a pause between, for all who asked meanwhile."""

import asyncio
import time
from collections.abc import Awaitable, Callable

REST = 10
"""Times as long as the making took is the pause after it."""
LONGEST_REST = 2.0
"""Seconds."""


class Shared:
    """One thing that many ask for. Nobody is given what was begun before the question."""

    def __init__(self, make: Callable[[], Awaitable[bytes]]) -> None:
        self._make = make
        self._turn = asyncio.Lock()
        self._coming: asyncio.Task[bytes] | None = None
        self._from = float("-inf")
        """Monotonic time before which none is begun."""

    async def __call__(self) -> bytes:
        """The next one. Raises what its making raises."""
        if self._coming is None:
            self._coming = asyncio.create_task(self._make_soon())
            self._coming.add_done_callback(_seen)
        return await asyncio.shield(self._coming)

    async def _make_soon(self) -> bytes:
        async with self._turn:
            await asyncio.sleep(max(0.0, self._from - time.monotonic()))
            self._coming, began = None, time.monotonic()
            try:
                return await self._make()
            finally:
                ended = time.monotonic()
                self._from = ended + min(LONGEST_REST, REST * (ended - began))


def _seen(done: "asyncio.Task[bytes]") -> None:
    """Those who asked may all have gone."""
    if not done.cancelled():
        done.exception()
