"""Which field of which kind of manifest a text means."""

from collections.abc import Sequence

from reconciler.cli.failure import BAD_INPUT, Failure, did_you_mean
from reconciler.cli.targets import KINDS, SERVER, kind_of
from reconciler.manifests.fields import Field, deepest, every, kinds

_STARTS: Sequence[Sequence[str]] = ((), ("spec",), ("metadata",))
"""What may be left out."""


def top_of(kind: str) -> Field:
    """All fields of a kind's manifests."""
    return kinds()[kind]


def field_named(text: str) -> tuple[str, Field]:
    """The kind and the field: `server.spec.ctx`, `server.ctx`, or `ctx` alone for a server. Raises Failure."""
    first, *rest = text.strip(".").split(".")
    kind = kind_of(first)
    if not kind:
        found = _found(top_of(SERVER), [first, *rest])
        if isinstance(found, Failure):
            raise _unknown(first) if not rest and not _is_near(first) else found
        return SERVER, found
    found = _found(top_of(kind), rest, kind)
    if isinstance(found, Failure):
        raise found
    return kind, found


def _found(top: Field, path: Sequence[str], kind: str = SERVER) -> Field | Failure:
    """The field at a path that may begin below `spec` or `metadata`."""
    tried = sorted((deepest(top, [*start, *path]) for start in _STARTS), key=lambda one: len(one[1]))
    field, left = tried[0]
    if not left:
        return field
    for near, unknown in tried:
        if name := closest(unknown[0], [one.name for one in near.below]):
            return _no_field(kind, near, path, (*near.path, name))
    places = {one.name: one.path for one in reversed(list(every(top)))}
    return _no_field(kind, field, path, places.get(closest(path[-1], list(places)), ()))


def closest(word: str, names: Sequence[str]) -> str:
    """The name most like a word; empty when none is."""
    from reconciler.manifests.explain import closest as found  # noqa: PLC0415 - pydantic is slow to import

    return found(word, names)


def _no_field(kind: str, near: Field, path: Sequence[str], meant: Sequence[str]) -> Failure:
    place = ".".join([KINDS[kind], *near.path])
    hint = f", did you mean '{'.'.join(meant)}'?" if meant else ""
    message = f"no field '{'.'.join(path)}' in {kind}{hint}"
    return Failure(message, f"see which there are with: reconciler explain {place}", exit_code=BAD_INPUT)


def _is_near(word: str) -> bool:
    return bool(closest(word, [one.name for one in every(top_of(SERVER))]))


def _unknown(word: str) -> Failure:
    hint = did_you_mean(word.lower(), KINDS.values())
    known = ", ".join(f"reconciler explain {kind}" for kind in KINDS.values())
    return Failure(f"no kind or field '{word}'{hint}", f"there are: {known}", exit_code=BAD_INPUT)
