"""What was accepted of each document, one generation after the other: a history to look at, and to go back to."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from reconciler.core.kinds import OtherDocument
from reconciler.core.model import Document
from reconciler.core.source import GIT, SourceRecord
from reconciler.store.changes import Statement

KEPT = 20
"""The newest generations of a document that are kept."""
_FREE = ("flags", "env", "matchLabels")
_INSERT = """
    insert into generations (kind, name, generation, accepted_at, own, spec, came_from, labels, annotations, file, line,
        origin, revision)
    select :kind, :name, :generation, :accepted_at, :own, :spec, :came_from, :labels, :annotations, :file, :line,
        :origin, :revision
    where not exists (
        select 1 from generations where kind = :kind and name = :name and generation = :generation and own = :own
            and spec = :spec and labels = :labels and annotations = :annotations
            and id = (select max(id) from generations where kind = :kind and name = :name)
    )
"""
_TRIM = """
    delete from generations where kind = ? and name = ? and id not in
        (select id from generations where kind = ? and name = ? order by id desc limit ?)
"""


def changes_of(
    document: Document | OtherDocument, wall: float | None, sources: Mapping[str, SourceRecord]
) -> list[Statement]:
    """Keep this generation of a document, unless it is the newest one already: a file may only have moved.

    `wall` is when it was accepted, where that is known. Generations of a document that was gone meanwhile stay, and
    those of its return go on counting.
    """
    key = (document.kind, document.name)
    values = {
        "kind": document.kind,
        "name": document.name,
        "generation": document.generation,
        "accepted_at": wall,
        "own": _spec(document.written if isinstance(document, Document) else document.spec),
        "spec": _spec(document.spec),
        "came_from": json.dumps(_sorted(dict(document.came_from))) if isinstance(document, Document) else "",
        "labels": json.dumps(_sorted(dict(document.labels))),
        "annotations": json.dumps(_sorted(dict(document.annotations))),
        "file": document.file,
        "line": document.line,
        "origin": document.origin,
        "revision": _revision(document, sources),
    }
    return [
        Statement(_INSERT, values, ("generations", *key, document.generation)),
        Statement(_TRIM, [*key, *key, KEPT], ("generations trimmed", *key)),
    ]


def _spec(spec: BaseModel) -> str:
    """Only what was written, in the order of the schema."""
    return json.dumps(_settled(spec.model_dump(mode="json", by_alias=True, exclude_unset=True)))


def _settled(value: Any) -> Any:
    """With one order for mappings whose keys are the user's own: in another one they say the same."""
    if not isinstance(value, dict):
        return value
    return {key: _sorted(below) if key in _FREE else _settled(below) for key, below in value.items()}


def _sorted(value: Any) -> Any:
    return {key: value[key] for key in sorted(value)} if isinstance(value, dict) else value


def _revision(document: Document | OtherDocument, sources: Mapping[str, SourceRecord]) -> str:
    """The commit that a document of Git was read from; empty for others."""
    source = sources.get(GIT) if document.origin == GIT else None
    return source.applied.commit if source and source.applied else ""
