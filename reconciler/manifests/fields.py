"""The fields of manifests as `explain` tells them, read from a file: building the models takes far longer."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("fields.json")
"""Written by `python -m reconciler.manifests.schema`."""


@dataclass(frozen=True, slots=True)
class Field:
    """A place in a manifest, and all that may be said of it."""

    path: tuple[str, ...]
    value: str
    """What may stand there, in words."""
    meaning: str
    is_required: bool = False
    default: Any = None
    """As people write it; None where there is none."""
    examples: tuple[Any, ...] = ()
    shown: str = ""
    """The first example as it stands in a manifest, in YAML."""
    below: tuple["Field", ...] = ()
    """Its fields, where it has fields of its own."""
    is_free: bool = False
    """Its keys are the user's own."""

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path[-1] if self.path else ""

    @property
    def is_leaf(self) -> bool:
        """Whether it holds a value, and not only fields."""
        return not self.below or bool(self.examples)


@cache
def kinds() -> dict[str, Field]:
    """A whole manifest of each kind as a field without a name."""
    with FILE.open(encoding="utf-8") as file:
        return {kind: _field((), told) for kind, told in json.load(file).items()}


def _field(path: tuple[str, ...], told: Mapping[str, Any]) -> Field:
    below = tuple(_field((*path, name), one) for name, one in told.get("below", {}).items())
    rest = {key: value for key, value in told.items() if key not in ("below", "examples")}
    return Field(path, **rest, examples=tuple(told.get("examples", ())), below=below)


def deepest(top: Field, path: Sequence[str]) -> tuple[Field, Sequence[str]]:
    """How far a path leads: the last field on it, and what of it is unknown there.

    Of a mapping whose keys are the user's own every key is known.
    """
    for number, part in enumerate(path):
        if top.is_free:
            return top, ()
        below = next((field for field in top.below if field.name == part), None)
        if below is None:
            return top, path[number:]
        top = below
    return top, ()


def every(top: Field) -> Iterator[Field]:
    """All fields below one, in the order in which they are written."""
    for field in top.below:
        yield field
        yield from every(field)
