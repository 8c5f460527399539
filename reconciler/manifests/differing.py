"""Changes to data: what a document says after them, and the fewest single steps that lead there."""

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from reconciler.manifests.emit import Grown
from reconciler.manifests.nodes import Path


class _Removed:
    def __repr__(self) -> str:
        return "REMOVED"


REMOVED: Final = _Removed()
"""In place of a value: the key, or the item, goes."""

Change = tuple[Path, Any]
"""A path from the document's root, such as `("spec", "flags", "threads")`, with its new value or `REMOVED`."""


class EditError(Exception):
    """An edit that is not possible; nothing was changed. Its text is the message."""

    def __init__(self, message: str, remedy: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        """What to do."""
        self.line = line
        """Where in the text, from 1; 0 when it is about no place."""
        self.column = column


def changed(data: Any, changes: Iterable[Change]) -> Any:
    """The data with changes made one after the other. Raises EditError."""
    if not isinstance(data, dict):
        raise EditError("the document is not a mapping", "give it apiVersion, kind, metadata and spec")
    for at, value in changes:
        if not at:
            raise EditError("a document cannot be set as a whole", "name a field, such as spec.ctx")
        data = _changed(data, at, 0, value if value is REMOVED else _plain(value, at))
    return data


def _changed(data: Any, at: Path, depth: int, value: Any) -> Any:
    if isinstance(data, list):
        return _changed_list(data, at, depth, value)
    if not isinstance(data, dict):
        if value is REMOVED:
            return data
        where = dotted(at[:depth])
        raise EditError(f"{where} is not a mapping: it has no {dotted(at[depth:])}", f"set {where} as a whole")
    new, key, last = copy.copy(data), str(at[depth]), depth == len(at) - 1
    below = data.get(key)
    if value is REMOVED and (last or below is None):
        if last:
            new.pop(key, None)
    else:
        if below is None and not last:
            below = [] if isinstance(at[depth + 1], int) else Grown()
        new[key] = value if last else _changed(below, at, depth + 1, value)
    return new


def _changed_list(items: list[Any], at: Path, depth: int, value: Any) -> list[Any]:
    part, last = str(at[depth]), depth == len(at) - 1
    index = int(part) if part.isdecimal() else -1
    if last and value is REMOVED and index >= len(items):
        return items
    if not 0 <= index < len(items) + last:
        where = dotted(at[:depth])
        message = f"{where} is a list of {len(items)}, and has no item '{part}'"
        raise EditError(message, f"count its items from 0, or set {where} as a whole")
    if not last:
        value = _changed(items[index], at, depth + 1, value)
    return [*items[:index], *([] if value is REMOVED else [value]), *items[index + 1 :]]


def _plain(value: Any, at: Path) -> Any:
    """The value in the types that reading a manifest gives. Raises EditError."""
    if isinstance(value, Mapping):
        plain = {str(key): _plain(below, at) for key, below in value.items()}
        return Grown(plain) if isinstance(value, Grown) else plain
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(below, at) for below in value]
    if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
        return value
    raise EditError(f"{dotted(at)}: a manifest cannot hold {value!r}", "give text, a number, true or false, or a list")


def steps(old: Any, new: Any, at: Path = ()) -> Iterator[Change]:
    """Single changes that lead from `old` to `new`, taken one after the other.

    Nothing is emptied on the way, and what stays in a list is not written anew.
    """
    if same(old, new):
        return
    if isinstance(old, dict) and isinstance(new, dict) and old:
        for key in new:
            if key in old:
                yield from steps(old[key], new[key], (*at, key))
            else:
                yield (*at, key), new[key]
        yield from (((*at, key), REMOVED) for key in old if key not in new)
    elif isinstance(old, list) and isinstance(new, list) and old:
        yield from _list_steps(old, new, at)
    else:
        yield at, new


def _list_steps(old: list[Any], new: list[Any], at: Path) -> Iterator[Change]:
    kept = 0
    removed: list[int] = []
    for index, item in enumerate(old):
        if kept < len(new) and same(item, new[kept]):
            kept += 1
        else:
            removed.append(index)
    others = sum(not same(one, other) for one, other in zip(old, new, strict=False))
    if len(old) == len(new) and others <= len(removed) + len(new) - kept:
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from steps(one, other, (*at, index))
    elif not kept:
        yield at, new
    else:
        yield from (((*at, index), item) for index, item in enumerate(new[kept:], len(old)))
        yield from (((*at, index), REMOVED) for index in reversed(removed))


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, in their types too: 1 is neither 1.0 nor true."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def dotted(at: Path) -> str:
    """A path as people type it."""
    return ".".join(str(part) for part in at)
