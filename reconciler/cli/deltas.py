"""How two versions of a document differ, field by field."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ABSENT = object()
"""What a field is that is not written."""
_MOST = 32
"""Characters of a value that is told beside its field's name."""
_PRIVATE = ("env",)
"""Fields whose values are not told in passing: they may be secrets."""


@dataclass(frozen=True)
class Delta:
    """A field that differs."""

    path: tuple[str, ...]
    """From the document's root."""
    old: Any
    new: Any

    @property
    def field(self) -> str:
        """Its path as people write it; `spec.` is left out."""
        return ".".join(self.path[1:] if self.path[0] == "spec" else self.path)

    def __str__(self) -> str:
        """`ctx 4096→8192`, `+flags.jinja=true`, `-flags.jinja`; long values, and what may be secret, are left out."""
        old, new = _short(self.old), _short(self.new)
        tells = self.path[1:2] not in [(name,) for name in _PRIVATE]
        if self.old is ABSENT:
            return f"+{self.field}={new}" if tells and new else f"+{self.field}"
        if self.new is ABSENT:
            return f"-{self.field}"
        return f"{self.field} {old}→{new}" if tells and old and new else self.field


def deltas(old: Mapping[str, Any], new: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[Delta]:
    """What has to change in one mapping for it to be the other; mappings within are compared key by key."""
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key, ABSENT), new.get(key, ABSENT)
        if isinstance(before, Mapping) and isinstance(after, Mapping) and before and after:
            yield from deltas(before, after, (*path, key))
        elif not _same(before, after):
            yield Delta((*path, key), before, after)


def _same(one: Any, other: Any) -> bool:
    """Also in their types: 1 and true are equal in Python, but not on a command line."""
    return repr(one) == repr(other)


def _short(value: Any) -> str:
    if value is ABSENT or isinstance(value, Mapping):
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST else ""


def document_deltas(old: Mapping[str, Any], new: Mapping[str, Any], spec: str = "own") -> list[Delta]:
    """How two generations differ, as the database tells them; `spec`: which of their specs is meant."""
    found = list(deltas(old[spec], new[spec], ("spec",)))
    for part in ("labels", "annotations"):
        found += deltas(old["metadata"][part], new["metadata"][part], ("metadata", part))
    return found


def in_words(found: Sequence[Delta]) -> str:
    """All of them in one line."""
    return ", ".join(map(str, found))
