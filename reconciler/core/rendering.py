"""For a server that is not well: what happened, what was tried, and what its owner can do.

There is one such text of it, for the command line, the API and the dashboard. It is made of a server and its starts as
`-o json` shows them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from reconciler.core.durations import describe_duration, format_duration
from reconciler.core.exits import how_ended, telling
from reconciler.core.reasons import Mends, find
from reconciler.core.remedy_actions import actions_of
from reconciler.core.trouble import Facts, Trouble
from reconciler.core.ways_out import cause_reason, ways_out

__all__ = ["Explanation", "Facts", "explanation"]

ENDED = frozenset({"Failed", "BackOff"})
IN_TROUBLE = ENDED | {"Blocked", "Invalid", "Unhealthy"}
UNATTENDED = IN_TROUBLE | {"Pending"}
"""Phases of servers that need somebody, as long as no controller goes on with them."""
ON_ITS_WAY = frozenset({"Starting", "Stopping", "Pending"})
PAUSED = frozenset({"ResourcesExhausted", "LogUnwritable"})
"""Reasons of which only a try tells whether they hold still."""
NOTES = ("Slow", "ContextCapped")
"""Types of conditions that are only there while something is to be told."""
MOST_DELAYS = 6
_STUCK = re.compile(r"which is (?:Failed|Blocked|Invalid)\b")
"""A dependency for which it is of no use to wait."""
AS_ASKED = "as asked"
WATCHED = Facts()
"""A controller runs."""


class Explanation(NamedTuple):
    """What is told of a server that is not well."""

    server: str
    state: str
    """How it stands, such as `Failed` or `Degraded`."""
    reason: str
    """The word for why; each is explained by `reconciler explain WORD`."""
    happened: str
    tried: tuple[str, ...]
    can_do: tuple[str, ...]

    @property
    def headline(self) -> str:
        """It in one line."""
        return f"✗ {self.server}  {self.state}{f': {self.reason}' if self.reason else ''}"

    @property
    def rows(self) -> tuple[tuple[str, tuple[str, ...], str], ...]:
        """Each heading with what stands behind it, and between two of these."""
        return (
            ("What happened", (self.happened,), ""),
            ("What I tried", self.tried, "   "),
            ("What you can do", tuple(_chosen(self.can_do)), "     "),
        )

    @property
    def data(self) -> dict[str, Any]:
        """It as `status.explanation` of `-o json`."""
        told = {name: getattr(self, name) for name in ("headline", "state", "reason", "happened")}
        return {**told, "tried": list(self.tried), "canDo": list(self.can_do), "actions": actions_of(self.can_do)}


def _chosen(ways: Sequence[str]) -> Iterator[str]:
    """Ways out, of which one is to be chosen."""
    for number, way in enumerate(ways):
        yield f"or {way}" if number and not way.startswith("then") else way


def explanation(
    item: Mapping[str, Any], restarts: Sequence[Mapping[str, Any]], facts: Facts = WATCHED
) -> Explanation | None:
    """What is to be told of a server; None of one that is well. `restarts` are its newest starts, oldest first."""
    ended = [start for start in restarts if start["endedAt"]]
    last = ended[-1] if ended else None
    state, reason, message = _standing(item, last, controller=facts.controller)
    if not state:
        return None
    trouble = Trouble(item, state, reason, last, message)
    return Explanation(
        item["metadata"]["name"],
        state,
        reason,
        _happened(trouble) or _meaning(reason),
        _tried(trouble, ended, facts),
        ways_out(trouble, facts),
    )


# ---------------------------------------------------------------- how it stands


def _standing(item: Mapping[str, Any], last: Mapping[str, Any] | None, *, controller: bool) -> tuple[str, str, str]:
    """How it stands, why in a word, and in a line; nothing of one that is well."""
    phase, message = item["status"]["phase"], str(item["status"]["message"])
    conditions = {one["type"]: one for one in item["status"]["conditions"]}
    words = [conditions[kind]["reason"] for kind in ("Ready", "Reconciled") if kind in conditions]
    if phase in (IN_TROUBLE if controller else UNATTENDED):
        cause = last["diagnosis"] if last and phase in ENDED else ""
        return (
            phase,
            cause or next((word for word in words if word not in (phase, "NoController", "AsDeclared")), ""),
            message,
        )
    if phase == "Stopped":
        unseen = not controller and item["status"]["instance"] is None and "NoController" in words
        return (phase, "NoController", message) if unseen and "ended" in message else ("", "", "")
    if phase == "Pending" and "WaitingForDependency" in words and _STUCK.search(message):
        return phase, "WaitingForDependency", message
    fallback = item["status"].get("fallback") or {}
    if phase in ON_ITS_WAY and fallback.get("cause"):
        return phase, fallback["cause"], message
    return _running(phase, conditions)


def _running(phase: str, conditions: Mapping[str, Mapping[str, Any]]) -> tuple[str, str, str]:
    """The same of one that runs."""
    degraded, reconciled = conditions.get("Degraded"), conditions.get("Reconciled")
    if degraded and degraded["status"] == "True":
        return "Degraded", degraded["reason"], degraded["message"]
    if phase == "Ready" and reconciled and reconciled["status"] == "False" and reconciled["message"]:
        return f"{phase}, not as declared", reconciled["reason"], reconciled["message"]
    for kind in NOTES:
        if kind in conditions and conditions[kind]["status"] == "True":
            return phase, kind, conditions[kind]["message"]
    return "", "", ""


# ---------------------------------------------------------------- what happened


def _happened(trouble: Trouble) -> str:
    """The most telling line; what else shows it stands with each start."""
    first = next((one["evidence"] for one in trouble.tried if one["evidence"]), "")
    if trouble.state == "Degraded" or trouble.state in ON_ITS_WAY:
        return telling(first) or trouble.message
    last = trouble.last
    if last is None or not (trouble.state in ENDED or trouble.is_shown_by_a_start):
        return trouble.message
    ran = describe_duration(max(0.0, _unix(last["endedAt"]) - _unix(last["startedAt"])))
    evidence = f": {telling(last['evidence'])}" if last["evidence"] else ""
    if not last["logTail"] and trouble.state in ENDED:
        evidence += "; its log is empty"
    if last["stopReason"]:
        return f"the controller ended it after {ran}{evidence}"
    return f"it ended after {ran} ({how_ended(last)}){evidence}"


def _meaning(reason: str) -> str:
    found = find(reason)
    return found.means if found else reason


# ---------------------------------------------------------------- what was tried


def _tried(trouble: Trouble, ended: Sequence[Mapping[str, Any]], facts: Facts) -> tuple[str, ...]:
    if len(trouble.tried) > 1 or (trouble.state == "Degraded" and trouble.tried):
        return tuple(f"{number}. {_outcome(trouble, one)}" for number, one in enumerate(trouble.tried, 1))
    if not facts.controller and trouble.state in UNATTENDED - {"Failed", "Invalid"}:
        return ("nothing for now: no controller is running",)
    return (_retries(trouble, ended, facts),) if trouble.state in IN_TROUBLE else ()


def _outcome(trouble: Trouble, one: Mapping[str, Any]) -> str:
    """A step and what came of it."""
    status = trouble.item["status"]
    runs = status["instance"] is not None and one["step"] == status["fallback"]["step"] and not one["result"]
    ready = "" if one["readyAfter"] is None else f"Ready in {_took(one['readyAfter'])}"
    result = ", then ".join(text for text in (ready, one["result"]) if text)
    now = " (running now)" if runs and ready else ""
    return f"{one['told'] or AS_ASKED} → {result or ('starting now' if runs else 'Unknown')}{now}"


def _took(seconds: float) -> str:
    return (
        f"{seconds:.2g} s" if seconds < 10 else f"{round(seconds)} s" if seconds < 120 else describe_duration(seconds)
    )


_UNCOUNTED = "such tries do not count against restart.maxRestarts"
_SAME_AGAIN = "nothing more: another try would end in the same way"
_NONE_ALLOWED = "nothing more: restart.policy and restart.maxRestarts allow no restart"
_NOT_COUNTED = {
    "Invalid": "nothing was started: no valid version of its manifest was ever accepted",
    "Unhealthy": "it is asked again and again, and restarted if it stays so",
    "Blocked": f"it is looked at again each second, and starts by itself once that is put right; {_UNCOUNTED}",
}


def _retries(trouble: Trouble, ended: Sequence[Mapping[str, Any]], facts: Facts) -> str:
    status = trouble.item["status"]
    if trouble.state == "Blocked" and trouble.reason in PAUSED:
        return f"it is tried again and again, after pauses of 0.5 to 10 s; {_UNCOUNTED}"
    if trouble.is_shown_by_a_start:
        return f"a start has shown it; it is tried again when that changes, and now and then; {_UNCOUNTED}"
    if trouble.state in _NOT_COUNTED:
        return _NOT_COUNTED[trouble.state]
    count = status["backoffAttempt"]
    delays = [format_duration(start["delay"]) for start in ended[-count:] if start["delay"]][-MOST_DELAYS:]
    after = f" (after {', '.join(delays)})" if delays else ""
    if trouble.state == "BackOff":
        due = max(0.0, _unix(status["backoffUntil"]) - facts.now) if facts.now else 0.0
        when = f"in {describe_duration(due)}" if due >= 1 else "soon"
        return f"{count} of {status['maxRestarts']} restarts{after}; the next one {when}"
    if count < 2:
        return _SAME_AGAIN if cause_reason(trouble.reason).mends is Mends.EDIT else _NONE_ALLOWED
    return f"{count - 1} restarts{after}, then it gave up"


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
