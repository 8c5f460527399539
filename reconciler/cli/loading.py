"""How far a server is that loads, for tables and in words."""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.api.loading import AFTER, loading_of
from reconciler.core.durations import describe_duration
from reconciler.store import read
from reconciler.store.items import Item

_UNTOLD = ("", "Loading model")
"""Messages in whose place the progress stands."""


def servers(db: sqlite3.Connection, wanted: Iterable[str] | None, *, now: float, controller: bool) -> list[Item]:
    """`read.servers`, and how far those are that load: `status.loading`, None for all others."""
    items = read.servers(db, wanted, now=now, controller=controller)
    for item in items:
        item["status"]["loading"] = loading_of(db, item["status"])
    return items


def message_of(status: Mapping[str, Any]) -> str:
    """A server's message, with how far it is while it loads."""
    message, loading = str(status["message"]), status.get("loading")
    if not loading:
        return message
    words = loading_words(loading)
    return words if message in _UNTOLD else f"{words}; {message}"


def loading_words(loading: Mapping[str, Any]) -> str:
    """`loading 43 %, 12s of about 28s`, as far as it is known."""
    percent, usual = loading["percent"], loading["usualSeconds"]
    seconds = describe_duration(loading["seconds"])
    how_far = "loading" if percent is None else f"loading {percent} %"
    if usual is None or usual < AFTER:
        return f"{how_far} for {seconds}" if percent is None else f"{how_far}, {seconds} so far"
    if loading["seconds"] > usual:
        return f"{how_far}, {seconds} so far, {describe_duration(usual)} the last time"
    return f"{how_far}, {seconds} of about {describe_duration(usual)}"
