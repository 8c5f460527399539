"""How far a server is that loads: told from its process, since nobody writes that down each second."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.core.durations import describe_duration
from reconciler.runtimes.loading import bytes_loaded
from reconciler.store import read
from reconciler.store.items import Item
from reconciler.store.loads import load_of

AFTER = 1.0
"""Seconds from which a load is worth words."""
MOST_PERCENT = 99
"""What is read is not Ready yet."""
_UNTOLD = ("", "Loading model")
"""Messages in whose place the progress stands."""
_furthest: dict[str, int] = {}
"""By uid: mapped pages may be given back once they are on the GPU, but nothing is loaded less than before."""

Look = Callable[[int], int | None]


def servers(db: sqlite3.Connection, wanted: Iterable[str] | None, *, now: float, controller: bool) -> list[Item]:
    """`read.servers`, and how far those are that load: `status.loading`, None for all others."""
    items = read.servers(db, wanted, now=now, controller=controller)
    for item in items:
        item["status"]["loading"] = loading_of(db, item["status"])
    return items


def loading_of(
    db: sqlite3.Connection, status: Mapping[str, Any], look: Look = bytes_loaded
) -> dict[str, float | int | None] | None:
    """`percent` of the model's bytes, `seconds` since the start, and `usualSeconds` as of the last load.

    What cannot be told is None.
    """
    instance, seconds = status["instance"], status["uptimeSeconds"]
    if status["phase"] != "Starting" or instance is None or instance["pid"] is None or seconds < AFTER:
        return None
    load = load_of(db, instance["uid"])
    percent = _percent(load.argv, instance["pid"], look)
    if percent is not None:
        percent = _furthest[instance["uid"]] = max(percent, _furthest.get(instance["uid"], 0))
    return {"percent": percent, "seconds": seconds, "usualSeconds": load.usual}


def _percent(argv: Sequence[str], pid: int, look: Look) -> int | None:
    total = sum(_sizes(argv))
    loaded = look(pid) if total else None
    return None if loaded is None else min(MOST_PERCENT, loaded * 100 // total)


def _sizes(argv: Sequence[str]) -> Iterator[int]:
    """Bytes of all the models on a command line, with all their parts."""
    from reconciler.core.gate import part_paths  # noqa: PLC0415 - brings pydantic; only a long load needs it

    for path in dict.fromkeys(word for word in argv if word.endswith(".gguf")):
        for part in part_paths(path):
            try:
                yield Path(part).stat().st_size
            except (OSError, ValueError):
                break


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
