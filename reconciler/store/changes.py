"""Changes of the database as values: committed at once, or kept in memory until they can be."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Place = tuple[str | int, ...]
"""Which row a change is about. The later one of two about the same place is enough."""
SAME_EVENT_WITHIN = 3600.0
"""Seconds within which the same event again is counted instead of listed."""
MOST_EVENTS = 1000
"""Events kept in memory; the oldest are dropped beyond them, but for the very first, which tells how it began."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it should be; columns that are not named keep what they hold."""

    table: str
    key: str
    """Its columns, such as `kind, name`."""
    values: Mapping[str, Any]
    place: Place

    def run(self, connection: sqlite3.Connection) -> None:
        """Insert the row or change the one of that key; sqlite-utils' own takes ten times as long."""
        columns = ", ".join(self.values)
        values = ", ".join(f":{column}" for column in self.values)
        changes = ", ".join(f"{column} = excluded.{column}" for column in self.values)
        connection.execute(
            f"insert into {self.table} ({columns}) values ({values})"  # noqa: S608 - names of ours
            f" on conflict ({self.key}) do update set {changes}",
            dict(self.values),
        )


@dataclass(frozen=True, slots=True)
class Statement:
    """Another change."""

    sql: str
    values: Sequence[Any] | Mapping[str, Any]
    place: Place

    def run(self, connection: sqlite3.Connection) -> None:
        """Execute it."""
        connection.execute(self.sql, self.values)


@dataclass(frozen=True, slots=True)
class Line:
    """An event: a new line, or one more of the same within the hour."""

    server: str
    reason: str
    message: str
    warning: bool
    at: float
    """Unix time."""

    @property
    def place(self) -> Place:
        """Each is one of its own."""
        return ()

    def run(self, connection: sqlite3.Connection) -> None:
        """Count the same one, else insert it."""
        same = connection.execute(
            "update events set count = count + 1, last_at = ? where id = (select id from events where server = ?"
            " and reason = ? and message = ? and last_at > ? order by id desc limit 1)",
            [self.at, self.server, self.reason, self.message, self.at - SAME_EVENT_WITHIN],
        )
        if same.rowcount == 0:
            connection.execute(
                "insert into events (server, reason, message, warning, count, first_at, last_at)"
                " values (?, ?, ?, ?, 1, ?, ?)",
                [self.server, self.reason, self.message, int(self.warning), self.at, self.at],
            )


Change = Row | Statement | Line


class Backlog:
    """Changes that could not be committed yet: bounded, for there is one of each place."""

    def __init__(self) -> None:
        self._changes: dict[Place, Change] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self._changes.values())

    def add(self, changes: Sequence[Change]) -> None:
        """Keep these too, in their order."""
        for change in changes:
            place = change.place
            if isinstance(change, Line):
                self._number += 1
                place = ("", self._number)
                if self._number > MOST_EVENTS + 1:
                    # The second is the oldest but one: the first tells how the trouble began.
                    self._changes.pop(("", self._number - MOST_EVENTS), None)
            self._changes[place] = _merged(self._changes.pop(place, None), change)

    def clear(self) -> None:
        """All of it is committed."""
        self._changes.clear()
        self._number = 0


def _merged(earlier: Change | None, later: Change) -> Change:
    """Both in one: a row keeps what the later one does not name."""
    if isinstance(earlier, Row) and isinstance(later, Row):
        return replace(later, values={**earlier.values, **later.values})
    return later
