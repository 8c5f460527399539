"""Events and restarts as rows of tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.cli.servers import NOTHING, unix
from reconciler.cli.tables import Table, narrowed
from reconciler.cli.terminal import width
from reconciler.core.durations import describe_duration, format_duration
from reconciler.core.exits import how_ended

EVENT_HEADERS = ("LAST", "TYPE", "REASON", "SERVER", "COUNT", "MESSAGE")
RESTART_HEADERS = ("SERVER", "STARTED", "TRIGGER", "ATTEMPT", "DELAY", "PID", "RAN", "END", "DIAGNOSIS", "EVIDENCE")
SAME = "as above"
_DROPPED = ("DELAY", "ATTEMPT", "PID", "RAN", "EVIDENCE")
"""Columns of restarts that go, in this order, before the cause is cut."""
LEAST_EVIDENCE = 12
"""Columns of evidence that are worth their room."""
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


def restart_lines(items: Sequence[Mapping[str, Any]], now: float, columns: int | None) -> list[str]:
    """The table of restarts in so many columns, with their causes whole."""
    headers, rows = RESTART_HEADERS, [restart_row(item, now) for item in items]
    if columns is None:
        return Table(headers, width=None).lines(rows)
    shown, cells = narrowed(headers, rows, _DROPPED, columns, LEAST_EVIDENCE)
    return Table(shown, width=columns, gives_way=(("EVIDENCE", LEAST_EVIDENCE), ("SERVER", 8))).lines(cells)


def told_starts(items: Sequence[Mapping[str, Any]], now: float, *, runs: bool) -> tuple[Sequence[str], list[list[str]]]:
    """Headers and rows of one server's starts for reading: with the steps, and evidence that is told once.

    `runs`: whether one that was not seen to end is there.
    """
    step, rows, before = RESTART_HEADERS.index("ATTEMPT"), [], ""
    has_steps = any(item["step"] for item in items)
    for item in items:
        *row, evidence = restart_row(item, now)
        if item["endedAt"] is None and not runs:
            row[RESTART_HEADERS.index("END")] = "unseen"
        row.append(SAME if evidence and evidence == before else evidence)
        rows.append([*row[:step], item["told"] or NOTHING, *row[step:]] if has_steps else row)
        before = evidence
    return (*RESTART_HEADERS[:step], *(("STEP",) if has_steps else ()), *RESTART_HEADERS[step:]), rows


def age(text: str, now: float) -> str:
    """`12s ago`."""
    return f"{describe_duration(max(0.0, now - unix(text)))} ago"
