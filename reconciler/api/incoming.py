"""What comes in on a connection, within bounds that hold before any of it is taken apart."""

import re
from typing import Any

import h11

MOST_HEAD = 16 * 1024
"""Bytes of a request's line and headers."""
MOST_LINES = 128
"""Of them."""
MOST_PARTS = 16
"""Parts of bodies that are read at once: each may be as small as a byte."""
_COOKIE = re.compile(rb"\ncookie:.{1024}", re.IGNORECASE)
_HEAD_END = re.compile(rb"\n\r?\n")


class Reading(h11.Connection):
    """Takes a request apart, a little at a time."""

    parts = 0
    """That were read since the loop did something else."""
    is_heavy_with_cookies = False
    """Whether a head was refused for them."""

    def next_event(self) -> Any:
        """The next part. Raises RemoteProtocolError."""
        if self.their_state is h11.IDLE:
            self._refuse_vast(self.trailing_data[0])
        if self.parts >= MOST_PARTS:
            return h11.NEED_DATA
        event = super().next_event()
        self.parts += isinstance(event, h11.Data)
        return event

    def _refuse_vast(self, head: bytes) -> None:
        """Whether its end is among what is there or not. Raises RemoteProtocolError."""
        found = _HEAD_END.search(head, 0, MOST_HEAD)
        if found is None and len(head) > MOST_HEAD:
            self.is_heavy_with_cookies = _COOKIE.search(head) is not None
            raise h11.RemoteProtocolError("the head is too long")
        if head.count(b"\n", 0, found.end() if found else len(head)) > MOST_LINES:
            raise h11.RemoteProtocolError("the head has too many lines")
