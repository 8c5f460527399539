"""Which of the listed are meant, and in what order: `-l`, `--field-selector`, `--sort-by`."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from reconciler.cli.fields import MISSING, Field, name_of, refuse_unknown_fields, texts
from reconciler.cli.terminal import COLOURS
from reconciler.core.label_selector import LabelSelector, label_selector

Item = Mapping[str, Any]

_UNESCAPED_COMMA = re.compile(r"(?<!\\),")
_COMPARISON = re.compile(r"(?P<path>[^=!\s]+)\s*(?P<operator>==|!=|=)\s*(?P<value>.*)", re.DOTALL)


# ---------------------------------------------------------------- labels


def labels_of(item: Item) -> Mapping[str, str]:
    """The labels of what has some."""
    found: Mapping[str, str] = item.get("metadata", {}).get("labels") or {}
    return found


# ---------------------------------------------------------------- fields


@dataclass(frozen=True)
class Comparison:
    """What one field has to be, as a text."""

    field: Field
    value: str
    negated: bool = False

    def fits(self, item: Item) -> bool:
        """A field that is not there is an empty text; of a list any one counts."""
        return (self.value in texts(self.field.of(item))) != self.negated


def comparisons(text: str) -> tuple[Comparison, ...]:
    r"""From `phase=Failed,spec.port!=8001`; a comma in a value is written `\,`. Raises ValueError."""
    return tuple(_comparison(part.strip()) for part in _UNESCAPED_COMMA.split(text))


def _comparison(text: str) -> Comparison:
    found = _COMPARISON.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text}' is neither field=value nor field!=value, such as phase=Failed or spec.port!=8001")
    field, value = Field(found["path"]), found["value"].replace("\\,", ",")
    if field.is_phase:
        value = phase(value)
    return Comparison(field, value, found["operator"] == "!=")


def phase(text: str) -> str:
    """A phase, in whatever case it was typed. Raises ValueError."""
    for known in COLOURS:
        if known.lower() == text.lower():
            return known
    raise ValueError(f"no phase '{text}'; there are: {', '.join(COLOURS)}")


# ---------------------------------------------------------------- the options


@dataclass(frozen=True)
class Choice:
    """What `-l`, `--field-selector` and `--sort-by` ask for."""

    labels: LabelSelector | None = None
    fields: tuple[Comparison, ...] = ()
    order: Field | None = None
    is_reversed: bool = False

    @property
    def selects(self) -> bool:
        """Whether some may be left out."""
        return self.labels is not None or bool(self.fields)

    @property
    def named(self) -> list[Field]:
        """The fields that are spoken of."""
        return [each.field for each in self.fields] + ([self.order] if self.order else [])

    @property
    def needs_explanations(self) -> bool:
        """Whether what is told of servers that are not well counts."""
        return any("explanation" in field.path for field in self.named)

    def refuse_unknown(self, items: Sequence[Item], kinds: Sequence[str]) -> None:
        """Raise Failure for a field that none of all the items of these kinds can have."""
        refuse_unknown_fields(self.named, items, kinds)

    def of(self, items: Sequence[Any], labels: Callable[[Item], Mapping[str, str]] = labels_of) -> list[Any]:
        """The items that are meant, in the order asked for."""
        found = [item for item in items if all(each.fits(item) for each in self.fields)]
        if self.labels is not None:
            found = [item for item in found if self.labels.fits(labels(item))]
        return self._sorted(found, self.order) if self.order else found

    def _sorted(self, items: list[Any], field: Field) -> list[Any]:
        """Those without the field last, whichever way round; numbers before texts."""
        by_name = sorted(items, key=name_of)
        there = [item for item in by_name if field.of(item) not in (MISSING, None)]
        rest = [item for item in by_name if field.of(item) in (MISSING, None)]
        there.sort(key=lambda item: _rank(field, field.of(item)), reverse=self.is_reversed)
        return [*there, *rest]


_WORST_FIRST = (
    *("Failed", "Invalid", "Blocked", "BackOff", "Unhealthy", "Unknown"),
    *("Stopping", "Pending", "Starting", "Stopped", "Ready"),
)


def _rank(field: Field, value: Any) -> tuple[int, float, str]:
    if field.is_phase and value in _WORST_FIRST:
        return 0, _WORST_FIRST.index(value), ""
    if isinstance(value, int | float):
        return 0, value, ""
    return 1, 0.0, ", ".join(texts(value))


class Parsed(click.ParamType[Any]):
    """A text that is understood by a function which raises ValueError."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Raises a usage error for what is not understood."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


selector_option = click.option(
    "-l",
    "--selector",
    "labels",
    type=Parsed("labels", label_selector),
    metavar="LABELS",
    help="Only those with these labels: key=value,key!=x,key,!key,'key in (a,b)'.",
)
"""Gives the function `labels`: a LabelSelector, or None."""
_fields = click.option(
    "--field-selector",
    "fields",
    type=Parsed("fields", comparisons),
    default=(),
    metavar="FIELDS",
    help="Only those with these values: phase=Failed,spec.port!=8001; paths as in -o json.",
)
_order = click.option(
    "--sort-by",
    "order",
    metavar="FIELD",
    help="Order by name, phase (worst first), restarts, uptime, port or a path such as status.port; -FIELD: reversed.",
)


def choosing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the three options; the function gets them as `choice`."""

    @functools.wraps(function)
    def with_choice(
        *arguments: Any, labels: LabelSelector | None, fields: tuple[Comparison, ...], order: str | None, **named: Any
    ) -> Any:
        field = Field(order.removeprefix("-")) if order else None
        choice = Choice(labels, fields, field, is_reversed=bool(order and order.startswith("-")))
        return function(*arguments, choice=choice, **named)

    return selector_option(_fields(_order(with_choice)))
