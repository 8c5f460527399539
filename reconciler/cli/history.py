"""Events and restarts as rows of tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.cli.servers import NOTHING, unix
from reconciler.cli.tables import Table
from reconciler.cli.terminal import width
from reconciler.core.durations import describe_duration, format_duration
from reconciler.core.exits import how_ended

EVENT_HEADERS = ("LAST", "TYPE", "REASON", "SERVER", "COUNT", "MESSAGE")
RESTART_HEADERS = ("SERVER", "STARTED", "TRIGGER", "ATTEMPT", "DELAY", "PID", "RAN", "END", "DIAGNOSIS", "EVIDENCE")
_GIVES_WAY = (("SERVER", 8), ("REASON", 12), ("TYPE", 4), ("SERVER", 6), ("REASON", 8))


def history_table(headers: Sequence[str], *, wide: bool = False) -> Table:
    """An empty table whose last column gives way, but not at once to nothing; a wide one is never cut."""
    return Table(headers, width=None if wide else width(), gives_way=((headers[-1], 20), *_GIVES_WAY, (headers[-1], 0)))


def event_row(item: Mapping[str, Any], now: float) -> list[str]:
    """The cells of an event; `now` is Unix time."""
    return [
        age(item["lastAt"], now),
        item["type"],
        item["reason"],
        item["server"] or NOTHING,
        str(item["count"]),
        item["message"],
    ]


def restart_row(item: Mapping[str, Any], now: float) -> list[str]:
    """The cells of one start and its end; `now` is Unix time."""
    end = unix(item["endedAt"]) if item["endedAt"] else now
    return [
        item["server"],
        age(item["startedAt"], now),
        item["trigger"],
        str(item["attempt"]),
        format_duration(item["delay"]),
        str(item["pid"] or NOTHING),
        describe_duration(max(0.0, end - unix(item["startedAt"]))),
        how_ended(item),
        item["diagnosis"] or NOTHING,
        item["evidence"],
    ]


def age(text: str, now: float) -> str:
    """`12s ago`."""
    return f"{describe_duration(max(0.0, now - unix(text)))} ago"
