"""What the owner of a server can do about its trouble: commands with its own names and numbers."""

import re
from collections.abc import Iterator, Sequence

from reconciler.core.particulars import cause_within, does_not_apply, fillings, particular_ways
from reconciler.core.reasons import Mends, Reason, filled, find
from reconciler.core.reasons.ends import ENDS
from reconciler.core.safer import safer_settings
from reconciler.core.trouble import EASED, Facts, Trouble, is_from_git, place_of

UNKNOWN = next(reason for reason in ENDS if reason.word == "Unknown")
GOES_ON = frozenset({"Pending", "BackOff", "Unhealthy", "Stopped"})
"""Phases of servers that need nothing but a controller."""
ENDED, NOT_STARTED = "why it ended", "why it does not start"
_PLACES = {"Blocked": NOT_STARTED, "Pending": NOT_STARTED, "Invalid": NOT_STARTED, "Degraded": ENDED}
_PLACES |= {"Failed": ENDED, "BackOff": ENDED, "Starting": ENDED, "Unhealthy": "it is there, but not Ready"}
_EDITS = re.compile(r"`\w+ (set|unset|edit) ")
_COMMAND = re.compile(r"reconciler (?:set|unset) \S+ [^`]+")
_LAST_CODE = re.compile(r"^([^`]*: )`([^`]+)`$")


def ways_out(trouble: Trouble, facts: Facts) -> tuple[str, ...]:
    """The most usual one first; what has to follow begins with `then`."""
    if not facts.controller and trouble.state in GOES_ON:
        return ("start a controller, which goes on with it: reconciler run",)
    own = [*safer_settings(trouble, facts), *particular_ways(trouble)]
    told = [way for way in _known(trouble, facts, elsewhere=not own) if not _is_told(way, own)]
    found = (*dict.fromkeys([*own, *told]), *_afterwards(trouble, facts))
    return found or (f"see how its starts have ended: reconciler get restarts {trouble.name}",)


def cause_reason(diagnosis: str) -> Reason:
    """What is known of a cause; an end that older versions named otherwise is an unknown one."""
    return next((reason for reason in ENDS if reason.word == diagnosis), UNKNOWN)


def _is_told(way: str, own: Sequence[str]) -> bool:
    """Whether a command of it is among the server's own ways."""
    return any(command in one for command in _COMMAND.findall(way) for one in own)


# ---------------------------------------------------------------- what is known of the reason


def _known(trouble: Trouble, facts: Facts, *, elsewhere: bool) -> Iterator[str]:
    """What helps against such a reason in general; `elsewhere`: nothing is known that is about this server."""
    if trouble.state == "Blocked" and not trouble.reason:
        yield "put right what the message says"
        yield f"edit {place_of(trouble)}"
        return
    general = _reason(trouble).do
    if trouble.reason in EASED:  # with its own numbers, or not at all
        general = tuple(way for way in general if "spec.ctx=" not in way and "spec.gpuLayers=" not in way)
    known = fillings(trouble, facts)
    told = [filled(way, **known) for way in general if not does_not_apply(trouble, way)]
    here = [way for way in told if not (is_from_git(trouble) and _EDITS.search(way))]
    yield from map(_within_a_line, here)
    if (trouble.state == "Blocked" and elsewhere) or len(here) < len(told):
        yield f"edit {place_of(trouble)}"


def _reason(trouble: Trouble) -> Reason:
    if trouble.state in ("Failed", "BackOff") or trouble.is_shown_by_a_start:
        return cause_reason(trouble.reason)
    if within := cause_within(trouble):
        return find(within, NOT_STARTED) or UNKNOWN
    place = _PLACES.get(trouble.state, "it runs, but not as the file says")
    return find(trouble.reason, place) or find(trouble.state) or UNKNOWN


def _within_a_line(sentence: str) -> str:
    """It behind others; a command that ends it needs no marks."""
    text = (sentence[:1].lower() + sentence[1:]).rstrip(".")
    return _LAST_CODE.sub(r"\1\2", text)


def _afterwards(trouble: Trouble, facts: Facts) -> Iterator[str]:
    """What has to follow, and the try that nobody makes by itself."""
    if not facts.controller and trouble.state not in ("Failed", "Degraded"):
        yield "then start a controller: reconciler run"
    elif trouble.state == "Failed" and cause_reason(trouble.reason).mends is not Mends.EDIT:
        yield f"try again as it is: reconciler restart {trouble.name}"
    elif trouble.state == "Degraded" and trouble.tried:
        once = "the GPU is back" if trouble.reason == "GpuUnavailable" else "there is room"
        yield f"try again what was asked for, once {once}: reconciler restart {trouble.name} --primary"
