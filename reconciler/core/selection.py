"""Which servers the active profile wants: plain questions to plain data, for the command line asks them too."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

USE = "choose another of `reconciler get profiles`, or run all with: reconciler profile use --none"


def matches(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether the labels hold all that a selector wants."""
    return all(labels.get(key) == value for key, value in wanted.items())


def belongs(spec: Mapping[str, Any], name: str, labels: Mapping[str, str]) -> bool:
    """Whether a server belongs to a profile, of which `spec` is the JSON-ready spec as it is written."""
    if name in spec.get("servers", ()):
        return True
    selector = spec.get("selector")
    return selector is not None and matches(selector.get("matchLabels", {}), labels)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which servers are wanted."""

    profile: str = ""
    """The active profile; empty for none."""
    names: frozenset[str] | None = None
    """Servers that it selects; None: all there are."""
    switch: Literal["StopFirst", "StartFirst"] = "StopFirst"
    held: str = ""
    """Why this is not what the newest documents say, and what to do; empty when it is."""

    def wants(self, name: str) -> bool:
        """Whether a server is to run."""
        return self.names is None or name in self.names

    def parked(self, name: str) -> str:
        """Why a server is not to run now; empty when it is."""
        return "" if self.wants(name) else f"the active profile '{self.profile}' leaves it out; {USE}"


@dataclass(frozen=True, slots=True)
class Leaving:
    """Servers that are wanted still, though the active profile selects them no more. Times are monotonic."""

    names: frozenset[str] = frozenset()
    since: float = -inf
    """When the first of them stopped fitting."""
    stirred: float = -inf
    """When others than before stopped fitting, or fitted again."""


NOBODY = Leaving()
