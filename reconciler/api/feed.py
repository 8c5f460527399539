"""Changes in their order, shared by all who follow them: each is encoded once, and kept for a while."""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

MOST = 4096
"""Messages that are kept."""
MOST_BYTES = 4 * 1024 * 1024
MOST_SENT = 128 * 1024
"""Bytes from which on the rest has to wait until these are taken."""
AT_ONCE = 4
"""Readers that are woken before the loop may do something else, a restart perhaps."""
GAP = 0.001
"""Seconds for that."""


class Message(NamedTuple):
    """One thing to be told."""

    number: int
    """All have one, in their order."""
    content: bytes
    """As it is sent."""
    is_kept: bool
    """Whether somebody who was away wants to know of it."""


class LostError(Exception):
    """What a reader has not read yet is kept no more."""


class Feed:
    """The newest messages."""

    def __init__(self, epoch: str) -> None:
        """`epoch` tells this feed from those of other controllers."""
        self.epoch = epoch
        self.number = 0
        """The newest message's."""
        self.version = 0
        """The newest kept message's."""
        self._messages: deque[Message] = deque()
        self._size = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._waking: asyncio.Task[None] | None = None
        self._is_due = False
        """Something was added since the last round of waking began."""
        self.is_closed = False
        self.is_silent = False
        """What is added is told to nobody: they are only beginning to look."""

    def add(self, kind: str, data: bytes) -> None:
        """Tell of a change."""
        self.version = self.number + 1
        if self.is_silent and not self._messages:
            self.number += 1
            return
        self._append(b"id: %s\nevent: %s\ndata: %s\n\n" % (self.id(self.version), kind.encode(), data), is_kept=True)

    def forget(self) -> None:
        """Not all that has changed is told: whoever reads is to come again, and be told all there is."""
        self.number += 1
        self.version = self.number
        self._messages.clear()
        self._size = 0

    def mention(self, content: bytes) -> None:
        """Tell those who read now, and nobody later: `content` is a whole message."""
        self._append(content, is_kept=False)

    def _append(self, content: bytes, *, is_kept: bool) -> None:
        self.number += 1
        self._messages.append(Message(self.number, content, is_kept))
        self._size += len(content)
        while len(self._messages) > MOST or (self._size > MOST_BYTES and len(self._messages) > 1):
            self._size -= len(self._messages.popleft().content)

    def id(self, number: int) -> bytes:
        """How a message is named to readers."""
        return f"{self.epoch}-{number}".encode()

    def number_of(self, name: str) -> int | None:
        """The number of a message by its name; None where what came after it is not known any more."""
        epoch, _, text = name.rpartition("-")
        if epoch != self.epoch or not text.isascii() or not text.isdigit() or len(text) > len(str(self.number)):
            return None
        number = int(text)
        return number if self._first() - 1 <= number <= self.number else None

    def _first(self) -> int:
        return self._messages[0].number if self._messages else self.number + 1

    def since(self, number: int, *, kept: bool = False) -> tuple[bytes, int]:
        """What came after a message, as much as is sent at once, and the number of the last that is in it.

        `kept`: without what was only mentioned. Raises LostError.
        """
        if number + 1 < self._first():
            raise LostError
        parts, size, last = [], 0, number
        for each in self._after(number):
            last = each.number
            if each.is_kept or not kept:
                parts.append(each.content)
                size += len(each.content)
            if size >= MOST_SENT:
                break
        return b"".join(parts), last

    def _after(self, number: int) -> Iterator[Message]:
        start = len(self._messages) - (self.number - number)
        return (self._messages[at] for at in range(start, len(self._messages)))  # mostly the last few, which is quick

    async def wait(self, number: int) -> None:
        """Until there is something after a message, or the end."""
        if self.number > number or self.is_closed:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def wake(self) -> None:
        """Have readers read what was added: a few at a time, for whoever else needs the loop."""
        self._is_due = True
        if self._waking is None or self._waking.done():
            self._waking = asyncio.ensure_future(self._wake())

    async def _wake(self) -> None:
        while self._is_due:
            self._is_due = False
            # Who waits again by then has read all there is.
            waiting, self._waiting = self._waiting, deque()
            while waiting:
                for _ in range(min(AT_ONCE, len(waiting))):
                    waiter = waiting.popleft()
                    if not waiter.done():
                        waiter.set_result(None)
                await asyncio.sleep(GAP if waiting else 0)

    def close(self) -> None:
        """All readers end."""
        self.is_closed = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()
