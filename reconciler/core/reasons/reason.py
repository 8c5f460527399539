"""What is said of a word that the program shows."""

from enum import StrEnum
from typing import NamedTuple


class Mends(StrEnum):
    """What ends it. The first three are those of causes (see core.causes, which is slow to import)."""

    RETRY = "Retry"
    WORLD = "World"
    EDIT = "Edit"
    PASSES = "Passes"
    """It ends by itself."""
    LATER = "Later"
    """Another try may go well, but it is made only when asked for, or after a time that the manifest sets."""
    NOTHING = "Nothing"
    """There is nothing to be mended."""


class Reason(NamedTuple):
    """A word as it is meant in one place."""

    word: str
    mends: Mends
    means: str
    do: tuple[str, ...] = ()
    """Ways out, a sentence each, with placeholders (see `filled`) for what it is about; the most usual one first."""
