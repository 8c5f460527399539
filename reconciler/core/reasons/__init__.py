"""Every word that the program shows as a reason: what it means, whether another try can help, and what to do.

Light to import: the verbs that read need it. What the planner makes of causes is in core.causes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from reconciler.core.reasons.ends import ENDS
from reconciler.core.reasons.events import EVENTS, STATE
from reconciler.core.reasons.history import STOPS, TRIGGERS
from reconciler.core.reasons.reason import Mends, Reason
from reconciler.core.reasons.refusals import REFUSALS
from reconciler.core.reasons.sources import SOURCES, SYNCED
from reconciler.core.reasons.standing import RUNNING, WAITING, WELL
from reconciler.core.reasons.starts import STARTS

__all__ = ["KNOWN", "MENDED", "PLACES", "Mends", "Reason", "filled", "find", "meanings"]

PLACES: Mapping[str, Sequence[Reason]] = {
    "why it ended": ENDS,
    "why it does not start": STARTS,
    "it runs, but not as the file says": RUNNING,
    "it is there, but not Ready": WAITING,
    "how it is": WELL,
    "why it was started": TRIGGERS,
    "why it was stopped": STOPS,
    "a source": SOURCES,
    "a source that is well": SYNCED,
    "an event": EVENTS,
    "an event of the state folder": STATE,
    "an edit that is refused": REFUSALS,
}
"""All of them, by where they are shown; the first place that has a word tells most of it."""
KNOWN: frozenset[str] = frozenset(reason.word for reasons in PLACES.values() for reason in reasons)
"""Every word."""
MENDED: Mapping[Mends, str] = {
    Mends.RETRY: "another try may go well, and is made by itself",
    Mends.WORLD: "a retry helps only when something outside the manifest has changed; it is looked for",
    Mends.LATER: "another try may go well; it is made when asked for, or after the time that the manifest sets",
    Mends.EDIT: "no retry helps; something must be changed first",
    Mends.PASSES: "it passes by itself",
    Mends.NOTHING: "nothing needs a retry",
}
"""Whether another try can help, in words."""
UNKNOWN: Mapping[str, str] = {"server": "NAME", "port": "PORT", "file": "FILE", "program": "llama-server"}
"""What stands for the placeholders of a text where nothing is known of them."""
_LINK = re.compile(r"\[([^]]+)]\([^)]+\)")


def meanings(word: str) -> Iterator[tuple[str, Reason]]:
    """All that a word means, each with where it is shown; nothing for one that is not known."""
    for place, reasons in PLACES.items():
        yield from ((place, reason) for reason in reasons if reason.word == word)


def find(word: str, *places: str) -> Reason | None:
    """What a word means: in the first of these places that has it, else anywhere."""
    found = dict(reversed(list(meanings(word))))
    wanted = [found[place] for place in places if place in found]
    return next(iter([*wanted, *reversed(found.values())]), None)


def filled(text: str, **known: str) -> str:
    """A text for a terminal, about a server: without links, and with what is `known` of it."""
    for name, unknown in UNKNOWN.items():
        text = text.replace(f"{{{name}}}", known.get(name, unknown))
    return _LINK.sub(r"\1", text)
