"""How far a server is that loads: told from its process, since nobody writes that down each second."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.runtimes.loading import bytes_loaded
from reconciler.store.loads import load_of

AFTER = 1.0
"""Seconds from which a load is worth words."""
MOST_PERCENT = 99
"""What is read is not Ready yet."""
_MOST_REMEMBERED = 1000
_furthest: dict[str, int] = {}
"""By uid: mapped pages may be given back once they are on the GPU, but nothing is loaded less than before."""

Look = Callable[[int], int | None]


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
        percent = max(percent, _furthest.pop(instance["uid"], 0))
        _furthest[instance["uid"]] = percent
        if len(_furthest) > _MOST_REMEMBERED:
            del _furthest[next(iter(_furthest))]
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
