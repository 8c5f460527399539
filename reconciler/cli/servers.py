"""Servers as rows of a table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from reconciler.cli.asked import (
    DEGRADED,
    context_cell,
    context_size,
    device,
    gpu_layers,
    gpu_layers_cell,
    shown_phase,
    slots_cell,
    with_asked,
)
from reconciler.cli.loading import message_of
from reconciler.cli.tables import Table, breadth, narrowed
from reconciler.cli.terminal import clean, paint, width
from reconciler.core.durations import describe_duration
from reconciler.store.items import running_spec

HEADERS = ("NAME", "PHASE", "MODEL", "CTX", "NGL", "PORT", "PID", "RESTARTS", "UPTIME", "MESSAGE")
WIDE = (*HEADERS[:-1], "SLOTS", "DEVICE", "GENERATION", "INSTANCE", "SOURCE", "MESSAGE")
NOTHING = "-"
SEE_WARNING = "held, see the warning"
_DROPPED = ("MODEL", "MESSAGE", "NGL", "CTX")
"""Columns that go, in this order, where a server's reason has to be told: what runs is not told by the reason."""
LEAST_MESSAGE = 20
"""Columns of a message that is worth its room."""
_SCARCE = ((HEADERS[-1], 8), ("NAME", 8))
_GIVES_WAY = (("MESSAGE", 20), ("MODEL", 12), ("MESSAGE", 0), ("MODEL", 8), ("NAME", 8))


def server_table(*, wide: bool = False) -> Table:
    """An empty table of servers; a wide one is never cut."""
    if wide:
        return Table(WIDE, width=None)
    return Table(HEADERS, width=width(), gives_way=_GIVES_WAY)


def server_lines(items: Sequence[Mapping[str, Any]], now: float, told: str, columns: int | None) -> list[str]:
    """The table of servers in so many columns: where their messages do not fit, it says at least why in a word."""
    rows = [server_row(item, now, told=told) for item in items]
    if columns is None or breadth(HEADERS, rows) <= columns:
        return Table(HEADERS, width=None).lines(rows, paint_phase)
    messages, reasons = [clean(row[-1]) for row in rows], [_reason(item) for item in items]
    if any(reasons):
        headers = (*HEADERS[:2], "REASON", *HEADERS[2:])
        rows = [[*row[:2], reason or NOTHING, *row[2:]] for row, reason in zip(rows, reasons, strict=True)]
        shown_headers, shown_rows = narrowed(headers, rows, _DROPPED, columns, LEAST_MESSAGE)
        shown = Table(shown_headers, width=columns, gives_way=_SCARCE).lines(shown_rows, paint_phase)
    else:
        shown = server_table().lines(rows, paint_phase)
    cut = [item for item, text, line in zip(items, messages, shown[1:], strict=True) if not line.endswith(text)]
    worst = sorted(cut, key=lambda item: (is_ready(item), not _reason(item)))[:1]
    return [*shown, *(f"why: reconciler describe server {item['metadata']['name']}" for item in worst)]


def _reason(item: Mapping[str, Any]) -> str:
    """What is to be told of it in one word; nothing of a server that is as it should be."""
    ready, reconciled = condition(item, "Ready"), condition(item, "Reconciled")
    phase = item["status"]["phase"]
    told = reconciled if phase == "Ready" and reconciled["status"] == "False" else ready
    if shown_phase(item) != phase:
        told = condition(item, "Degraded")
    return "" if told["reason"] == phase else str(told["reason"])


def server_row(item: Mapping[str, Any], now: float, *, wide: bool = False, told: str = "") -> list[str]:
    """The cells of one server; `now` is Unix time. What was `told` of all servers stands in its row as a few words."""
    status, spec = item["status"], running_spec(item)
    instance = status["instance"] or {}
    source = item["metadata"].get("source")
    effective = status["effective"]
    more = [
        slots_cell(item),
        device(effective) or NOTHING,
        str(status["generation"]),
        instance.get("uid") or NOTHING,
        f"{source['file']}:{source['line']}" if source else NOTHING,
    ]
    return [
        item["metadata"]["name"],
        shown_phase(item),
        _model_cell(item) if wide else model_name(spec.get("model"), short=True),
        context_cell(item) if wide else context_size(spec, effective),
        gpu_layers_cell(item) if wide else gpu_layers(spec, effective),
        str(status["port"] or "auto"),
        str(instance.get("pid") or NOTHING),
        restart_count(status, now),
        uptime(status),
        *(more if wide else ()),
        without(told, message_of(status)),
    ]


def _model_cell(item: Mapping[str, Any]) -> str:
    running, asked = (model_name(spec.get("model"), short=False) for spec in (running_spec(item), item["spec"]))
    return with_asked(running, asked, is_less=asked not in (running, NOTHING))


def without(told: str, message: str) -> str:
    """A message that does not repeat at length what was told of all servers."""
    return message.replace(told, SEE_WARNING) if told else message


def paint_phase(cell: str, column: str) -> str:
    """Colour for the phase, and for nothing else."""
    return paint(cell, cell.strip()) if column == "PHASE" else cell


def summary(items: Sequence[Mapping[str, Any]]) -> str:
    """`3 total, 3 ready, 3 running`, and what is wrong."""
    ready = sum(is_ready(item) for item in items)
    running = sum(item["status"]["instance"] is not None for item in items)
    bad = Counter(
        item["status"]["phase"] for item in items if item["status"]["phase"] in ("Failed", "Blocked", "Invalid")
    )
    bad["Degraded"] = sum(shown_phase(item) == DEGRADED for item in items)
    return ", ".join(
        [f"{len(items)} total", f"{ready} ready", f"{running} running"]
        + [f"{count} {phase.lower()}" for phase, count in sorted(bad.items()) if count]
    )


def is_ready(item: Mapping[str, Any]) -> bool:
    """By the condition, which knows more than the phase."""
    return bool(condition(item, "Ready")["status"] == "True")


def condition(item: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """A condition of a server; one that nobody set yet is False."""
    unset = {"type": kind, "status": "False", "reason": "NotLookedYet", "message": ""}
    return next((found for found in item["status"]["conditions"] if found["type"] == kind), unset)


def model_name(model: Any, *, short: bool) -> str:
    """A model as people name it: the file's name, or `hf:user/repo:quant`."""
    if isinstance(model, Mapping):
        return f"hf:{model.get('hf', '')}"
    if not model:
        return NOTHING
    return str(model).rstrip("/").rpartition("/")[2] if short else str(model)


def restart_count(status: Mapping[str, Any], now: float) -> str:
    """Restarts of its life; during a back-off with the count that matters and the time left: `3 (2/3 in 4s)`."""
    count = str(status["restarts"])
    if status["phase"] != "BackOff":
        return count
    left = max(0.0, unix(status["backoffUntil"]) - now) if status["backoffUntil"] else 0.0
    return f"{count} ({status['backoffAttempt']}/{status['maxRestarts']} in {describe_duration(left)})"


def uptime(status: Mapping[str, Any]) -> str:
    """How long its process runs; `>9.8s` for one that ran before it was taken over, at least so long."""
    if status["uptimeSeconds"] is None:
        return NOTHING
    return f"{'>' if is_taken_over(status) else ''}{describe_duration(status['uptimeSeconds'])}"


def is_taken_over(status: Mapping[str, Any]) -> bool:
    """Whether its process ran before it was known here."""
    return bool(status["instance"]) and status["instance"]["trigger"] == "Adopted"


def unix(text: str) -> float:
    """Unix time of an RFC 3339 text."""
    return datetime.fromisoformat(text).timestamp()
