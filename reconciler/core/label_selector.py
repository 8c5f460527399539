"""Label selectors, as in Kubernetes: `tier=prod,!canary,zone in (a,b)`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_KEY = r"(?P<key>(?:[A-Za-z0-9.-]+/)?[A-Za-z0-9._-]+)"
"""As in Kubernetes: a name, and before it perhaps a domain. What stands in it else is a misspelt operator."""
_SET = re.compile(rf"{_KEY}\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUAL = re.compile(rf"{_KEY}\s*(?P<operator>==|!=|=)(?P<value>[^=!,()]*)")
_PRESENT = re.compile(rf"(?P<no>!?)\s*{_KEY}")
_PART = re.compile(r"(?:[^(),]|\([^)]*+\)?|\))*+")
"""Up to a comma outside of parentheses; never looked at twice, however it is written."""


@dataclass(frozen=True)
class Requirement:
    """What one label has to be."""

    key: str
    values: frozenset[str] | None
    """One of these; None: any value."""
    negated: bool = False

    def fits(self, labels: Mapping[str, str]) -> bool:
        """As in Kubernetes, a label that is not there is unlike every value."""
        found = self.key in labels and (self.values is None or labels[self.key] in self.values)
        return found != self.negated


@dataclass(frozen=True)
class LabelSelector:
    """Requirements that all have to hold."""

    requirements: tuple[Requirement, ...]

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels are meant."""
        return all(each.fits(labels) for each in self.requirements)


def label_selector(text: str) -> LabelSelector:
    """From `key=value,key!=x,key,!key,key in (a,b),key notin (a,b)`. Raises ValueError."""
    return LabelSelector(tuple(_requirement(part.strip()) for part in _parts(text)))


def _parts(text: str) -> Iterator[str]:
    """Divided at commas, but not at those between parentheses."""
    at = 0
    while at <= len(text):
        part = _PART.match(text, at)
        assert part is not None  # it may be empty
        yield part[0]
        at = part.end() + 1


def _requirement(text: str) -> Requirement:
    if found := _SET.fullmatch(text):
        values = frozenset(value.strip() for value in found["values"].split(","))
        return Requirement(found["key"], values, found["operator"] == "notin")
    if found := _EQUAL.fullmatch(text):
        return Requirement(found["key"], frozenset({found["value"].strip()}), found["operator"] == "!=")
    if found := _PRESENT.fullmatch(text):
        return Requirement(found["key"], None, bool(found["no"]))
    raise ValueError(f"'{text}' is none of key=value, key!=value, key, !key, key in (a,b), key notin (a,b)")
