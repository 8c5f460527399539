"""Why the controller does not do what it is asked for; each text says what there is, or what to do."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class UnknownServersError(Exception):
    """Names that no manifest declares."""

    def __init__(self, names: Sequence[str], what: str = "server", known: Iterable[str] = ()) -> None:
        """`known`: those that there are, to tell which may be meant."""
        super().__init__(f"no such {what}: {', '.join(names)}")
        self.names = list(names)
        self.what = what
        self.known = sorted(known)


class NoSourceError(Exception):
    """A source that the controller does not have."""

    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        remedy = "set `url` under [source.git] in reconciler.toml, and start the controller anew"
        there = f"there is: {', '.join(known)}" if known else f"none is configured; {remedy}"
        super().__init__(f"no such source: {name}: {there}")


class BadRevisionError(Exception):
    """A revision that cannot be looked at; the text says why, and what to do."""


class EditRefusedError(Exception):
    """A manifest is not shown, written or removed as asked; nothing was changed."""

    def __init__(self, reason: str, happened: str, do: str = "", problems: Sequence[Mapping[str, Any]] = ()) -> None:
        """`reason` is one word; `problems` are those of manifests, as a preview has them."""
        super().__init__(happened)
        self.reason = reason
        self.happened = happened
        self.do = do
        self.problems = list(problems)
