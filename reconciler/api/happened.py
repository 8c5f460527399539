"""What has happened, as the interface shows it: the newest events and starts."""

import json
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic_core import to_json

from reconciler.api.feed import Feed
from reconciler.api.tables import NEWEST, Raw
from reconciler.store.items import Item, restart_item
from reconciler.store.past import event_item

BRIEF = 1000
"""Characters of a log's end that the stream tells; the whole of it is in the list of starts."""


class Start(NamedTuple):
    """One start, and its end if it has ended."""

    number: int
    """Of two that began at the same time, the greater one came later."""
    row: str
    item: Item
    encoded: bytes
    brief: bytes
    """Without the most of its log."""


class Happened:
    """The newest of both, as JSON, oldest first."""

    def __init__(self) -> None:
        self._events: dict[int, bytes] = {}
        """By id, in the order of their last time."""
        self._starts: dict[str, Start] = {}
        """By uid."""
        self._last: dict[str, Item] = {}
        """By server, the newest start that was seen."""

    @property
    def events(self) -> Sequence[bytes]:
        """As `get events -o json`."""
        return list(self._events.values())[-NEWEST:]

    @property
    def restarts(self) -> Sequence[bytes]:
        """As `get restarts -o json`."""
        return [start.encoded for start in self._newest()]

    @property
    def brief_restarts(self) -> Sequence[bytes]:
        """The same as the stream tells them."""
        return [start.brief for start in self._newest()]

    def _newest(self) -> Sequence[Start]:
        return sorted(self._starts.values(), key=_began)[-NEWEST:]

    def last(self, server: str) -> Item | None:
        """A server's newest start, if it runs or was one of the newest."""
        return self._last.get(server)

    def start(self, uid: str) -> Item | None:
        """A start, if it runs or is one of the newest."""
        found = self._starts.get(uid)
        return found.item if found else None

    def take(self, raw: Raw, feed: Feed) -> Generator[None, None, set[str]]:
        """Tell of what is new or has changed, one after the other; returns the servers that it happened to."""
        for row in raw.events:
            encoded = to_json(event_item(row))
            if self._events.get(row["id"]) != encoded:
                self._events.pop(row["id"], None)
                self._events[row["id"]] = encoded
                feed.add("event", encoded)
                yield
        for number in list(self._events)[:-NEWEST]:
            del self._events[number]
        touched = set()
        for uid, number, start in raw.starts:
            touched.add(self._take_start(uid, number, start, feed))
            yield
        self._forget(raw)
        return touched - {""}

    def _take_start(self, uid: str, number: int, row: str, feed: Feed) -> str:
        """The server of one that has changed; empty of one that is as it was."""
        before = self._starts.get(uid)
        if before is not None and before.row == row:
            return ""
        try:
            item = restart_item(json.loads(row))
        except (ValueError, LookupError, TypeError, RecursionError):
            return ""  # a row that nobody understands: the controller drops it at its next start
        found = self._starts[uid] = Start(number, row, item, to_json(item), to_json(_in_brief(item)))
        if before is None or before.encoded != found.encoded:
            feed.add("restart", found.brief)
        server = str(item["server"])
        if server not in self._last or str(self._last[server]["startedAt"]) <= str(item["startedAt"]):
            self._last[server] = item
        return server

    def _forget(self, raw: Raw) -> None:
        """The old ones, but for those that run and those that may be looked at again."""
        kept = {uid for uid, _, _ in raw.starts}
        for uid in sorted(self._starts, key=lambda uid: _began(self._starts[uid]))[:-NEWEST]:
            if uid not in kept:
                del self._starts[uid]
        if len(self._last) > len(raw.servers) + NEWEST:
            self._last = {name: item for name, item in self._last.items() if name in raw.servers}


def _began(start: Start) -> tuple[str, int]:
    return str(start.item["startedAt"]), start.number


def _in_brief(item: Mapping[str, Any]) -> Item:
    return {**item, "logTail": str(item["logTail"] or "")[-BRIEF:]}
