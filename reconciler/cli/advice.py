"""For a server that is in trouble: what happened, what was tried, and what its owner can do."""

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.cli.history import how_ended
from reconciler.cli.servers import condition, unix
from reconciler.core.durations import describe_duration, format_duration
from reconciler.core.source import GIT

IN_TROUBLE = frozenset({"Failed", "Blocked", "Invalid", "BackOff"})
ON_ITS_WAY = frozenset({"Pending", "Blocked", "BackOff"})
"""Phases of servers that a controller would go on with."""
UNATTENDED = "nothing for now: no controller is running"
PAUSED = frozenset({"ResourcesExhausted", "LogUnwritable"})
"""Reasons of which only a try tells whether they hold still."""
MOST_DELAYS = 6


def advice(
    item: Mapping[str, Any], restarts: Sequence[Mapping[str, Any]], *, controller: bool
) -> list[tuple[str, str]]:
    """The three lines with their headings; none for a server that is well. `restarts` is its history, oldest first.

    Without a running `controller` nothing is promised that only one would do.
    """
    phase = item["status"]["phase"]
    if phase not in (IN_TROUBLE if controller else IN_TROUBLE | ON_ITS_WAY):
        return []
    ended = [start for start in restarts if start["endedAt"]]
    last = ended[-1] if ended else None
    return [
        ("What happened", _happened(item, last)),
        ("What was tried", _tried(item, ended) if controller or phase not in ON_ITS_WAY else UNATTENDED),
        ("What you can do", _remedy(item, last) if controller else _remedy_unattended(item, last)),
    ]


def _happened(item: Mapping[str, Any], last: Mapping[str, Any] | None) -> str:
    status = item["status"]
    if status["phase"] in ("Blocked", "Invalid", "Pending") or last is None:
        return str(status["message"])
    ran = describe_duration(max(0.0, _seconds(last)))
    evidence = f": {last['evidence']}" if last["evidence"] else ""
    return f"it ended after {ran} ({how_ended(last)}), diagnosed as {last['diagnosis'] or 'Unknown'}{evidence}"


def _seconds(start: Mapping[str, Any]) -> float:
    return unix(start["endedAt"]) - unix(start["startedAt"])


def _tried(item: Mapping[str, Any], ended: Sequence[Mapping[str, Any]]) -> str:
    status = item["status"]
    if status["phase"] == "Invalid":
        return "nothing was started: no valid version of its manifest was ever accepted"
    if status["phase"] == "Blocked" and condition(item, "Ready")["reason"] in PAUSED:
        return "it is tried again and again, after pauses of 0.5 to 10 s; no restart was counted"
    if status["phase"] == "Blocked":
        return "it is looked at again each second, and starts by itself once that is put right; no restart was counted"
    count = status["backoffAttempt"]
    delays = [format_duration(start["delay"]) for start in ended[-count:] if start["delay"]][-MOST_DELAYS:]
    after = f" (after {', '.join(delays)})" if delays else ""
    if status["phase"] == "BackOff":
        return f"{count} of {status['maxRestarts']} restarts{after}; the next one is at {status['backoffUntil']}"
    return f"{max(0, count - 1)} restarts{after}, then it gave up"


def _remedy(item: Mapping[str, Any], last: Mapping[str, Any] | None) -> str:
    phase = item["status"]["phase"]
    if phase == "Invalid":
        return "correct the manifest at the place named above, and it is taken up; check it with: reconciler validate"
    if phase == "Blocked":
        reason = condition(item, "Ready")["reason"]
        return f"put right what the message says ({reason}), or edit {_place(item)}; it is taken up by itself"
    return _mend(item, last)


def _remedy_unattended(item: Mapping[str, Any], last: Mapping[str, Any] | None) -> str:
    phase = item["status"]["phase"]
    if phase == "Invalid":
        return "correct the manifest at the place named above; then start a controller: reconciler run"
    if phase == "Blocked":
        return f"put right what the message says, or edit {_place(item)}; then start a controller: reconciler run"
    if phase == "Failed":
        return _mend(item, last)
    return "start a controller, which goes on with it: reconciler run"


def _place(item: Mapping[str, Any]) -> str:
    source = item["metadata"].get("source")
    if not source:
        return "its manifest"
    push = ", commit and push" if source["origin"] == GIT else ""
    return f"{source['file']}:{source['line']}{push}"


def _mend(item: Mapping[str, Any], last: Mapping[str, Any] | None) -> str:
    """What the last end calls for. Nothing newer runs, so its log is that of the newest instance."""
    from reconciler.engines.diagnosis import remedy  # noqa: PLC0415 - the engines are slow to import

    name = item["metadata"]["name"]
    advised = remedy(last["diagnosis"], name).rstrip(".") if last else f"edit {_place(item)}"
    log = f"reconciler logs {name}"
    sentences = [advised] if log in advised or not last else [advised, f"See: {log}"]
    if item["status"]["phase"] == "Failed":
        sentences.append(f"Then: reconciler restart {name}")
    return ". ".join(sentences)
