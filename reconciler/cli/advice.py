"""For a server that is in trouble: what happened, what was tried, and what its owner can do."""

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.cli.history import how_ended
from reconciler.cli.servers import condition, unix
from reconciler.core.durations import describe_duration, format_duration

IN_TROUBLE = frozenset({"Failed", "Blocked", "Invalid", "BackOff"})
MOST_DELAYS = 6


def advice(item: Mapping[str, Any], restarts: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The three lines with their headings; none for a server that is well. `restarts` is its history, oldest first."""
    phase = item["status"]["phase"]
    if phase not in IN_TROUBLE:
        return []
    ended = [start for start in restarts if start["endedAt"]]
    last = ended[-1] if ended else None
    return [
        ("What happened", _happened(item, last)),
        ("What was tried", _tried(item, ended)),
        ("What you can do", _remedy(item, last)),
    ]


def _happened(item: Mapping[str, Any], last: Mapping[str, Any] | None) -> str:
    status = item["status"]
    if status["phase"] in ("Blocked", "Invalid") or last is None:
        return str(status["message"])
    ran = describe_duration(max(0.0, _seconds(last)))
    evidence = f": {last['evidence']}" if last["evidence"] else ""
    return f"it ended after {ran} ({how_ended(last)}), diagnosed as {last['diagnosis'] or 'Unknown'}{evidence}"


def _seconds(start: Mapping[str, Any]) -> float:
    return unix(start["endedAt"]) - unix(start["startedAt"])


def _tried(item: Mapping[str, Any], ended: Sequence[Mapping[str, Any]]) -> str:
    status = item["status"]
    if _is_unattended(item):
        return "nothing for now: no controller is running"
    if status["phase"] == "Invalid":
        return "nothing was started: no valid version of its manifest was ever accepted"
    if status["phase"] == "Blocked":
        return "it is looked at again each second, and starts by itself once that is put right; no restart was counted"
    count = status["backoffAttempt"]
    delays = [format_duration(start["delay"]) for start in ended[-count:] if start["delay"]][-MOST_DELAYS:]
    after = f" (after {', '.join(delays)})" if delays else ""
    if status["phase"] == "BackOff":
        return f"{count} of {status['maxRestarts']} restarts{after}; the next one is at {status['backoffUntil']}"
    return f"{max(0, count - 1)} restarts{after}, then it gave up"


def _is_unattended(item: Mapping[str, Any]) -> bool:
    return bool(condition(item, "Ready")["reason"] == "NoController")


def _remedy(item: Mapping[str, Any], last: Mapping[str, Any] | None) -> str:
    name, phase = item["metadata"]["name"], item["status"]["phase"]
    source = item["metadata"].get("source")
    place = f"{source['file']}:{source['line']}" if source else "its manifest"
    if _is_unattended(item) and phase in ("Blocked", "BackOff"):
        return "start a controller, which goes on with it: reconciler run"
    if phase == "Invalid":
        return "correct the manifest at the place named above, and it is taken up; check it with: reconciler validate"
    if phase == "Blocked":
        reason = condition(item, "Ready")["reason"]
        return f"put right what the message says ({reason}), or edit {place}; it is taken up by itself"
    from reconciler.engines.diagnosis import remedy  # noqa: PLC0415 - the engines are slow to import

    advised = remedy(last["diagnosis"], name).rstrip(".") if last else f"edit {place}"
    again = f" Then: reconciler restart {name}" if phase == "Failed" else ""
    return f"{advised}. See: reconciler logs {name} --previous.{again}"
