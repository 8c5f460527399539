"""When a server is as somebody wants it, told from what `get servers -o json` shows of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from reconciler.cli.servers import condition

Item = Mapping[str, Any]

AT_REST = frozenset({"Suspended", "StopRequested", "Completed"})
"""Reasons of a Stopped server that is as declared."""
PASSING = frozenset({"ModelGrowing", "NotLookedYet", "WaitingForPort", "WaitingForSlot", "WaitingForLeftovers"})
"""Reasons that pass without anybody's doing."""


class Verdict(Enum):
    """Where a server stands on its way."""

    WAITING = "waiting"
    DONE = "done"
    STUCK = "stuck"
    """As it is, it needs somebody's doing; but it may be a moment's state."""
    FAILED = "failed"


@dataclass(frozen=True)
class Judgement:
    """A verdict and its words."""

    verdict: Verdict
    text: str = ""


Judge = Callable[[Item | None], Judgement]


def as_declared(item: Item | None) -> Judgement:
    """Ready as its manifest says, or at rest because that is what was asked."""
    if item is None:
        return Judgement(Verdict.DONE, "removed")
    status = item["status"]
    phase, message = status["phase"], status["message"]
    ready, reconciled = condition(item, "Ready"), condition(item, "Reconciled")
    if reconciled["reason"] in ("InvalidManifest", "PruneHeld"):
        return Judgement(Verdict.FAILED, f"{phase}, not as declared: {reconciled['message'] or message}")
    if phase == "Ready" and ready["status"] == reconciled["status"] == "True":
        return Judgement(Verdict.DONE, "Ready")
    if phase == "Stopped":
        at_rest = ready["reason"] in AT_REST
        return Judgement(Verdict.DONE if at_rest else Verdict.WAITING, f"Stopped ({message})" if message else "Stopped")
    if phase in ("Failed", "Invalid"):
        return Judgement(Verdict.FAILED, f"{phase}: {message}")
    if phase == "Blocked" and ready["reason"] not in PASSING:
        return Judgement(Verdict.STUCK, f"Blocked: {message}")
    if phase == "Ready" and reconciled["status"] != "True":
        return Judgement(Verdict.STUCK, f"Ready, but not as declared: {reconciled['message']}")
    return Judgement(Verdict.WAITING, f"{phase}: {message}" if message else phase)


def stopped(item: Item | None) -> Judgement:
    """Nothing of it runs, and nothing is going to."""
    if item is None:
        return Judgement(Verdict.DONE, "removed")
    status = item["status"]
    if status["instance"] is None and status["phase"] in ("Stopped", "Invalid"):
        return Judgement(Verdict.DONE, status["phase"])
    return Judgement(Verdict.WAITING, f"{status['phase']}: {status['message']}" if status["message"] else status["phase"])


def restarted(before: Mapping[str, str | None]) -> Callable[[Item | None], Judgement]:
    """As declared, with another instance than the one `before` (uids by server)."""

    def judge(item: Item | None) -> Judgement:
        found = as_declared(item)
        same = item is not None and item["status"]["instance"] is not None and uid_of(item) == before.get(name_of(item))
        if found.verdict is Verdict.DONE and same:
            return Judgement(Verdict.WAITING, "the old instance still runs")
        return found

    return judge


def name_of(item: Item) -> str:
    """The server's name."""
    return str(item["metadata"]["name"])


def uid_of(item: Item) -> str | None:
    """The running instance's uid."""
    instance = item["status"]["instance"]
    return instance["uid"] if instance else None
