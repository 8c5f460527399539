"""What stands above single servers: profiles, defaults, sources, facts, and how all of it is."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from reconciler.api.feed import Feed
from reconciler.api.shown import count
from reconciler.api.tables import Raw
from reconciler.store import read
from reconciler.store.items import Item, timestamp


class Standing:
    """As of the last look."""

    def __init__(self) -> None:
        self.profiles: Sequence[Item] = []
        self.defaults: Sequence[Item] = []
        self.sources: Sequence[Item] = []
        self.facts: Item = {}
        self._made_of: Any = None

    @property
    def controller(self) -> Item:
        """What the controller has told of itself."""
        return _table(self.facts, "controller")

    def take(self, raw: Raw, db: sqlite3.Connection, feed: Feed) -> None:
        """Make it anew where something of it has changed, and tell of that."""
        servers = [(name, one.document, _phase(one.record)) for name, one in raw.servers.items()]
        made_of = (list(raw.rest), servers)
        if made_of == self._made_of:
            return
        self._made_of = made_of
        self.facts = read.meta(db)
        profiles, defaults, sources = read.profiles(db), read.defaults(db), read.sources(db)
        for kind, found, before in (
            ("profiles", profiles, self.profiles),
            ("defaults", defaults, self.defaults),
            ("sources", sources, self.sources),
        ):
            if found != before:
                feed.add(kind, to_json(found))
        self.profiles, self.defaults, self.sources = profiles, defaults, sources


def _phase(record: str) -> str:
    """What a record says of the phase, as text: enough to see that it is another one."""
    _, _, rest = record.partition('"phase":')
    return rest[:16]


def summary_of(about: Mapping[str, Any], standing: Standing, items: Iterable[Item]) -> dict[str, Any]:
    """How all of it is; `about` is what the controller says of itself."""
    facts = standing.facts
    manifests, invalid = _table(facts, "manifests"), _table(facts, "invalid").values()
    return {
        **count(items),
        "problems": [*manifests.get("problems", ()), *(one for each in invalid for one in each)],
        "folderProblem": str(manifests.get("folderProblem", "")),
        "profile": _table(facts, "selection").get("profile") or None,
        "installation": facts.get("installation"),
        "version": about["version"],
        "controller": {
            "pid": about["pid"],
            "startedAt": timestamp(standing.controller.get("startedAt")),
            "passes": about["passes"],
            "conditions": about["conditions"],
        },
    }


def _table(facts: Item, name: str) -> Item:
    found = facts.get(name)
    return found if isinstance(found, dict) else {}
