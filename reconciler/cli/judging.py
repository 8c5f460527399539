"""When a server is as somebody wants it, told from what `get servers -o json` shows of it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from reconciler.cli.asked import runs_with_less
from reconciler.cli.loading import message_of
from reconciler.cli.servers import condition, without

Item = Mapping[str, Any]

AT_REST = frozenset({"Suspended", "StopRequested", "NotInProfile", "Completed"})
"""Reasons of a Stopped server that is as declared."""
LEFT_OUT = frozenset({"Suspended", "NotInProfile"})
"""Those that only a change of manifests ends."""
PASSING = frozenset({"ModelGrowing", "NotLookedYet", "WaitingForPort", "WaitingForSlot", "WaitingForLeftovers"})
"""Reasons that pass without anybody's doing."""
BEGUN = frozenset({"Starting", "Unhealthy", "BackOff"})
"""Phases of servers that are on their way, and for now need nobody."""


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


Judge = Callable[[str, Item | None], Judgement]
"""Given a server's name, and what is shown of it: None when it is gone."""


def up(name: str, item: Item | None) -> Judgement:
    """Ready, or at rest because that is what was asked."""
    del name
    if item is None:
        return Judgement(Verdict.DONE, "removed")
    verdict, words = _verdict(item), _words(item)
    if verdict is Verdict.DONE:
        phase, message = item["status"]["phase"], item["status"]["message"]
        words = f"{phase} ({message})" if phase == "Stopped" and message else phase
    return Judgement(verdict, words)


def resting(item: Item, reasons: Collection[str] = AT_REST - {"Completed"}) -> str:
    """Why a server is not to run, where it is for one of the reasons; empty otherwise."""
    ready = condition(item, "Ready")
    return str(ready["message"]) if item["status"]["phase"] == "Stopped" and ready["reason"] in reasons else ""


def way_out(item: Item) -> str:
    """What has a server run that rests."""
    reason = condition(item, "Ready")["reason"]
    if reason == "Suspended":
        return f"have it run again with: reconciler resume {name_of(item)}"
    if reason == "NotInProfile":
        return "choose another of `reconciler get profiles`, or run all with: reconciler profile use --none"
    return f"start it with: reconciler start {name_of(item)}"


def awake(judge: Judge) -> Judge:
    """The same, for those that are asked to run: one that rests is not as wanted."""

    def judge_awake(name: str, item: Item | None) -> Judgement:
        found = judge(name, item)
        if item is None or found.verdict is not Verdict.DONE or not resting(item):
            return found
        firm = resting(item, LEFT_OUT)
        return Judgement(Verdict.FAILED if firm else Verdict.STUCK, found.text)

    return judge_awake


def as_declared(specs: Mapping[str, Any]) -> Judge:
    """Up, and that as its manifest says. `specs` are those of the manifests as they were read, by name."""

    def judge(name: str, item: Item | None) -> Judgement:
        found = up(name, item) if item is None else _as_accepted(name, item)
        taken_up = name not in specs or (item is not None and item["spec"] == specs[name])
        if found.verdict is Verdict.DONE and not taken_up:
            return Judgement(Verdict.WAITING, "its manifest is not taken up yet")
        return found

    return judge


def _as_accepted(name: str, item: Item) -> Judgement:
    found = up(name, item)
    phase, reconciled = item["status"]["phase"], condition(item, "Reconciled")
    if reconciled["reason"] in ("InvalidManifest", "InvalidProfile", "InvalidDefaults", "PruneHeld"):
        return Judgement(Verdict.FAILED, f"{phase}, not as declared: {reconciled['message']}")
    if phase == "Ready" and reconciled["reason"] == "WaitingForSwitch":
        return Judgement(Verdict.WAITING, f"Ready: {reconciled['message']}")
    if phase == "Ready" and found.verdict is Verdict.DONE and reconciled["status"] != "True":
        return Judgement(Verdict.STUCK, f"Ready, not as declared: {reconciled['message']}")
    return found


def restarted(before: Mapping[str, str | None]) -> Judge:
    """Up, with another instance than the one `before` (uids by server)."""

    def judge(name: str, item: Item | None) -> Judgement:
        found = up(name, item)
        if item is None or uid_of(item) is None or uid_of(item) != before.get(name):
            return found
        reconciled = condition(item, "Reconciled")
        if reconciled["reason"] in ("GateShut", "WaitingForSwitch", "SwitchHeld"):
            return Judgement(Verdict.STUCK, f"{item['status']['phase']}, not restarted: {reconciled['message']}")
        return Judgement(Verdict.WAITING, _words(item))

    return judge


def as_asked(judge: Judge) -> Judge:
    """The same, and that as asked for: on no fallback step, and with no less than was asked for."""

    def judge_as_asked(name: str, item: Item | None) -> Judgement:
        found = judge(name, item)
        if found.verdict is not Verdict.DONE or item is None or not runs_with_less(item):
            return found
        fallback, told = item["status"].get("fallback") or {}, condition(item, "Degraded")
        less = f"Degraded: {told['reason']}: {told['message']}"
        if fallback.get("step"):
            less = f"on a fallback step: {fallback['told']} ({fallback['cause']})"
        instead = f"{found.text}, but {less}"
        return Judgement(Verdict.FAILED, f"{instead}; see why with: reconciler describe server {name}")

    return judge_as_asked


def adopted(name: str, item: Item | None) -> Judgement:
    """Up, and it is a process that was taken over."""
    found = up(name, item)
    if item is None or found.verdict is not Verdict.DONE or condition(item, "Adopted")["status"] == "True":
        return found
    return Judgement(Verdict.FAILED, f"{found.text}, but nothing was taken over; see: reconciler get events {name}")


def begun(judge: Judge) -> Judge:
    """As far as a controller is needed: nothing waits for its turn, a port or an end; what was spawned may load."""

    def judge_begun(name: str, item: Item | None) -> Judgement:
        found = judge(name, item)
        if found.verdict is Verdict.WAITING and item is not None and item["status"]["phase"] in BEGUN:
            return Judgement(Verdict.DONE, str(item["status"]["phase"]))
        return found

    return judge_begun


def briefly(judge: Judge, told: str) -> Judge:
    """The same, without repeating at length what was told of all servers."""

    def judge_briefly(name: str, item: Item | None) -> Judgement:
        found = judge(name, item)
        return replace(found, text=without(told, found.text))

    return judge_briefly


def stopped(name: str, item: Item | None) -> Judgement:
    """Nothing of it runs, and nothing is going to."""
    del name
    if item is None:
        return Judgement(Verdict.DONE, "removed")
    status = item["status"]
    if status["instance"] is None and status["phase"] in ("Stopped", "Invalid"):
        return Judgement(Verdict.DONE, status["phase"])
    return Judgement(
        Verdict.WAITING, f"{status['phase']}: {status['message']}" if status["message"] else status["phase"]
    )


def _verdict(item: Item) -> Verdict:
    phase, ready = item["status"]["phase"], condition(item, "Ready")
    if phase in ("Failed", "Invalid"):
        return Verdict.FAILED
    if phase == "Blocked" and ready["reason"] not in PASSING:
        return Verdict.STUCK
    if phase == "Stopped":
        return Verdict.DONE if ready["reason"] in AT_REST else Verdict.WAITING
    return Verdict.DONE if phase == "Ready" and ready["status"] == "True" else Verdict.WAITING


def _words(item: Item) -> str:
    phase, message = item["status"]["phase"], message_of(item["status"])
    return f"{phase}: {message}" if message else str(phase)


def name_of(item: Item) -> str:
    """The server's name."""
    return str(item["metadata"]["name"])


def uid_of(item: Item) -> str | None:
    """The running instance's uid."""
    instance = item["status"]["instance"]
    return instance["uid"] if instance else None
