"""Why the controller does not do what it is asked for; each text says what there is, or what to do."""

from collections.abc import Sequence


class UnknownServersError(Exception):
    """Names that no manifest declares."""

    def __init__(self, names: Sequence[str], what: str = "server") -> None:
        super().__init__(f"no such {what}: {', '.join(names)}")
        self.names = list(names)
        self.what = what


class NoSourceError(Exception):
    """A source that the controller does not have."""

    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        remedy = "set `url` under [source.git] in reconciler.toml, and start the controller anew"
        there = f"there is: {', '.join(known)}" if known else f"none is configured; {remedy}"
        super().__init__(f"no such source: {name}: {there}")


class BadRevisionError(Exception):
    """A revision that cannot be looked at; the text says why, and what to do."""
