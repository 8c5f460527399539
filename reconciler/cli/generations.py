"""Generations of a document as people look at them: with what changed, and what was started of each."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.cli.deltas import Delta, document_deltas
from reconciler.cli.history import how_ended
from reconciler.cli.output import API_VERSION
from reconciler.cli.servers import unix
from reconciler.cli.targets import SERVER, Target
from reconciler.store import read

_AFTER_AN_END = ("Crashed", "Unresponsive")
"""Triggers of starts whose reason is how the one before ended."""


@dataclass(frozen=True)
class Generation:
    """One accepted version of a document, beside the one before it."""

    item: Mapping[str, Any]
    before: Mapping[str, Any] | None
    """None: it is the first that is known."""
    starts: Sequence[Mapping[str, Any]] = ()
    """What was started while it was in force."""

    @property
    def number(self) -> int:
        """It counts from 1."""
        return int(self.item["generation"])

    @property
    def is_first(self) -> bool:
        """Whether nothing is known of what was before it."""
        return self.before is None

    @property
    def is_again(self) -> bool:
        """Whether the document was gone before it."""
        return self.before is not None and self.number <= self.before["generation"]

    @property
    def changes(self) -> list[Delta]:
        """What is another than before, with what defaults give."""
        return [] if self.before is None else document_deltas(self.before, self.item, "spec")


def generations_of(db: sqlite3.Connection, target: Target) -> list[Generation]:
    """All that are kept, oldest first. Starts are those of servers."""
    items = read.generations(db, target.name, target.kind)
    starts = _starts(read.restarts(db, [target.name])) if target.kind == SERVER else []
    found = []
    for number, item in enumerate(items):
        since = unix(item["acceptedAt"]) if item["acceptedAt"] else 0.0
        later = [unix(one["acceptedAt"]) for one in items[number + 1 :] if one["acceptedAt"]]
        until = min(later, default=float("inf"))
        of_it = [start for start in starts if since <= unix(start["startedAt"]) < until]
        found.append(Generation(item, items[number - 1] if number else None, of_it))
    return found


def _starts(restarts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each start with its reason; after a crash, that is how the one before it ended."""
    starts = []
    for number, start in enumerate(restarts):
        why = ""
        if number and start["trigger"] in _AFTER_AN_END:
            why = restarts[number - 1]["diagnosis"] or how_ended(restarts[number - 1])
        told = {key: start[key] for key in ("uid", "trigger", "startedAt", "readyAt", "endedAt")}
        starts.append({**told, "because": why})
    return starts


def manifest_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """A generation as a document that can be declared."""
    metadata = {key: value for key, value in item["metadata"].items() if value}
    return {"apiVersion": API_VERSION, "kind": item["kind"], "metadata": metadata, "spec": item["own"]}
