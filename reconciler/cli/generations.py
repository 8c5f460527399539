"""Generations of a document as people look at them: with what changed, and what was started of each."""

import itertools
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.cli.deltas import ABSENT, Delta, document_deltas
from reconciler.cli.output import API_VERSION
from reconciler.cli.servers import unix
from reconciler.cli.targets import SERVER, Target
from reconciler.core.exits import how_ended
from reconciler.store import past

_AFTER_AN_END = ("Crashed", "Unresponsive", "Fallback")
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
        """Whether the document was gone before it, as far as that can be told."""
        if self.before is None:
            return False
        same = not document_deltas(self.before, self.item) and not self.changes
        return same or self.number <= self.before["generation"]

    @property
    def changes(self) -> list[Delta]:
        """What is another than before, with what defaults give."""
        return [] if self.before is None else document_deltas(self.before, self.item, "spec")

    @property
    def rewritten(self) -> list[Delta]:
        """What its file says in another way than before, but so that all stays as it was: with defaults, or without."""
        if self.before is None:
            return []
        changed = [delta.path for delta in self.changes]
        found = document_deltas(self.before, self.item)
        return [one for one in found if not any(_is_of(one.path, path) for path in changed)]

    def sources(self, delta: Delta) -> list[str]:
        """Names of the defaults that a change comes from; none where it is the document's own."""
        return defaults_of((self.before or self.item) if delta.new is ABSENT else self.item, delta.path)

    @property
    def words(self) -> str:
        """What is another than before, in one line; empty when nothing is."""
        changes = [
            f"{delta}{f' (from {named(names)})' if (names := self.sources(delta)) else ''}" for delta in self.changes
        ]
        return ", ".join([*changes, *map(self._how_rewritten, self.rewritten)])

    def _how_rewritten(self, delta: Delta) -> str:
        if names := defaults_of(self.item, delta.path):
            return f"{delta.field} now from {named(names)}"
        if self.before and (names := defaults_of(self.before, delta.path)):
            return f"{delta.field} now its own, not from {named(names)}"
        return str(delta)


def defaults_of(item: Mapping[str, Any], path: Sequence[str]) -> list[str]:
    """Names of the defaults that a field of a generation comes from, or a part of it."""
    found = item["fromDefaults"]
    return sorted({name for at, name in found.items() if _is_of(tuple(at.split(".")), tuple(path))})


def _is_of(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether one of the fields is the other, or within it."""
    least = min(len(one), len(other))
    return one[:least] == other[:least]


def named(names: Sequence[str]) -> str:
    """Defaults as people know them."""
    return f"LlamaServerDefaults {', '.join(names)}"


def defaults_behind(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the defaults that the newest change comes from which is theirs; none where there is no such change."""
    for before, item in reversed(list(itertools.pairwise(items))):
        generation = Generation(item, before)
        if names := sorted({name for delta in generation.changes for name in generation.sources(delta)}):
            return names
    return []


def generations_of(db: sqlite3.Connection, target: Target) -> list[Generation]:
    """All that are kept, oldest first. Starts are those of servers."""
    items = past.generations(db, target.name, target.kind)
    starts = _starts(past.restarts(db, [target.name])) if target.kind == SERVER else []
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
