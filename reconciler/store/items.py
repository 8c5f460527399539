"""The rows of the database in the words and shapes of `-o json`."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from reconciler.core.durations import format_duration
from reconciler.store.steps import asked_item, fallback_item

MAX_RESTARTS = 3
"""`spec.restart.maxRestarts` where nobody wrote it."""
AT_REST = frozenset({"Failed", "Stopped", "Invalid"})
"""Phases that stay true while no controller runs."""
UNKNOWN = "Unknown"
"""The phase of a process that is alive, while nobody asks how it is."""
NO_CONTROLLER = "NoController"
ENDED_ALONE = "ended while no controller was running; start one with: reconciler run"
"""The message of a server that did so: it is Stopped, and nobody asked for that."""

Item = dict[str, Any]


class Rows(NamedTuple):
    """What the tables have of one server."""

    document: sqlite3.Row | None
    """The accepted one."""
    record: Item
    instance: Item | None
    """The open one."""
    port: int | None
    """The assigned one."""


def timestamp(unix: float | None) -> str | None:
    """RFC 3339 in UTC with milliseconds."""
    if unix is None:
        return None
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def server_item(name: str, rows: Rows, now: float) -> Item:
    """A server as `-o json` shows it; `now` is Unix time."""
    document = rows.document
    metadata: Item = {"name": name, "labels": {}, "annotations": {}}
    spec: Item = {}
    if document is not None:
        metadata["labels"], metadata["annotations"] = (
            json.loads(document["labels"]),
            json.loads(document["annotations"]),
        )
        metadata["source"] = {key: document[key] for key in ("file", "line", "origin")}
        spec = json.loads(document["spec"])
    generation = document["generation"] if document is not None else rows.record.get("generation", 0)
    status = _status(rows, spec, generation, now)
    status["fromDefaults"] = json.loads(document["came_from"] or "{}") if document is not None else {}
    return {"metadata": metadata, "spec": spec, "status": status}


def _status(rows: Rows, spec: Item, generation: int, now: float) -> Item:
    record, instance = rows.record, rows.instance
    shown = record.get("status") or {"phase": "Pending", "message": "not looked at yet", "conditions": []}
    backing_off = shown["phase"] == "BackOff" and record.get("ended")
    return {
        "phase": shown["phase"],
        "conditions": [_condition(condition) for condition in shown["conditions"]],
        "instance": _instance(instance) if instance else None,
        "port": instance["port"] if instance else _port(spec, rows.port),
        "restarts": record.get("restarts", 0),
        "backoffAttempt": record.get("n", 0),
        "maxRestarts": (spec.get("restart") or {}).get("maxRestarts", MAX_RESTARTS),
        "backoffUntil": timestamp(record["ended"]["wall"] + record["delay"]) if backing_off else None,
        "lastError": record.get("last_error", ""),
        "uptimeSeconds": round(max(0.0, now - instance["intent"]["wall"]), 3) if instance else None,
        "fingerprint": instance["fingerprint"] if instance else None,
        "generation": generation,
        "asked": asked_item(spec),
        "effective": _effective(instance),
        "fallback": fallback_item(record, instance),
        "models": list(instance["models"]) if instance else [],
        "message": shown["message"],
    }


def _condition(condition: Item) -> Item:
    return {
        "type": condition["type"],
        "status": "True" if condition["status"] else "False",
        "reason": condition["reason"],
        "message": condition["message"],
        "lastTransitionTime": timestamp(condition["since"]),
    }


def _instance(row: Item) -> Item:
    return {
        "uid": row["uid"],
        "pid": row["identity"]["pid"] if row["identity"] else None,
        "port": row["port"],
        "startedAt": timestamp(row["intent"]["wall"]),
        "trigger": row["trigger"],
        "readyAt": _wall(row["first_ready"]),
        "spec": row["spec"] or None,
    }


def _port(spec: Item, assigned: int | None) -> int | None:
    """Where it will listen, as far as that is known."""
    declared = spec.get("port", "auto")
    return assigned if declared == "auto" else int(declared)


def _wall(stamp: Item | None) -> str | None:
    return timestamp(stamp["wall"]) if stamp else None


def _effective(instance: Item | None) -> Item | None:
    found = instance.get("effective") if instance else None
    if not found:
        return None
    shown = {
        "ctxPerSlot": found["ctx_per_slot"],
        "slots": found["slots"],
        "gpuLayers": found["gpu_layers"],
        "device": found.get("device") or None,
        "model": found.get("model") or None,
        "trainedContext": found.get("trained"),
        "capped": found.get("is_capped", False),
    }
    return {**shown, "unverified": found["unverified"]} if found.get("unverified") else shown


def distrust(item: Item, instance: Item | None, alive: Callable[[Mapping[str, Any]], bool]) -> None:
    """Put what can be known without a controller in place of what the last one wrote; `alive` judges an identity."""
    status = item["status"]
    ready = [condition for condition in status["conditions"] if condition["type"] == "Ready"]
    last = f"{status['phase']}: {status['message']}" if status["message"] else status["phase"]
    if instance is not None and instance["identity"] and alive(instance["identity"]):
        status["phase"] = UNKNOWN
        status["message"] = f"no controller is running; pid {instance['identity']['pid']} is alive, last seen {last}"
    elif instance is not None:
        status.update(phase="Stopped", instance=None, uptimeSeconds=None, fingerprint=None, effective=None, models=[])
        status["message"] = ENDED_ALONE
        ready += [one for one in status["conditions"] if one["type"] == "Reconciled" and one["status"] == "True"]
    elif status["phase"] not in AT_REST and not any(condition["reason"] == NO_CONTROLLER for condition in ready):
        status["message"] = f"no controller is running; last seen {last}"
    for condition in ready:
        condition.update(status="False", reason=NO_CONTROLLER, message=status["message"])


def running_spec(item: Mapping[str, Any]) -> Item:
    """What its process was started with, a fallback step included; where none runs or nobody knows, the declared."""
    status = item["status"]
    spec = (status["instance"] or {}).get("spec") or item["spec"]
    changes = (status.get("fallback") or {}).get("changes") or {}
    if not changes:
        return dict(spec)
    return {**spec, **changes, "flags": {**(spec.get("flags") or {}), **(changes.get("flags") or {})}}


def generation_item(row: sqlite3.Row, *, in_force: bool) -> Item:
    """One generation of a document as `rollout history -o json` shows it."""
    return {
        "kind": row["kind"],
        "metadata": {"name": row["name"], **{key: json.loads(row[key]) for key in ("labels", "annotations")}},
        "generation": row["generation"],
        "inForce": in_force,
        "acceptedAt": timestamp(row["accepted_at"]),
        "source": {key: row[key] for key in ("file", "line", "origin", "revision")},
        "own": json.loads(row["own"] or row["spec"]),
        "spec": json.loads(row["spec"]),
        "fromDefaults": json.loads(row["came_from"] or "{}"),
    }


def restart_item(row: Item) -> Item:
    """A start and its end as `get restarts -o json` shows it, from an instance's row."""
    ended = row["exit"] or {}
    return {
        "server": row["server"],
        "uid": row["uid"],
        "generation": row["generation"],
        "attempt": row["attempt"],
        "trigger": row["trigger"],
        "step": row.get("step", 0),
        "told": row.get("step_told", ""),
        "adopted": row.get("adopted", False),
        "delay": row["delay"],
        "startedAt": timestamp(row["intent"]["wall"]),
        "readyAt": _wall(row["first_ready"]),
        "endedAt": _wall(row["ended"]),
        "exitCode": ended.get("code"),
        "signal": ended.get("signal"),
        "stopReason": row["stop_reason"],
        "diagnosis": row["diagnosis"],
        "evidence": row["evidence"],
        "logTail": row["log_tail"],
        "port": row["port"],
        "pid": row["identity"]["pid"] if row["identity"] else None,
    }


def source_item(row: Item) -> Item:
    """A source as `get sources -o json` shows it, from what is remembered of it."""
    return {
        "metadata": {"name": row["name"]},
        "spec": {
            **{key: row[key] for key in ("url", "ref", "path")},
            "interval": format_duration(row["interval"]),
        },
        "status": {
            "revision": _revision(row["applied"]),
            "appliedAt": timestamp(row["applied_at"]),
            "pending": _revision(row["pending"]),
            "problems": list(row["problems"]),
            "lastCheckedAt": timestamp(row["checked_at"]),
            "lastError": row["error"],
            "errorSince": timestamp(row["error_since"]),
            "suspended": row["suspended"],
            "conditions": _source_conditions(row),
        },
    }


def _revision(row: Item | None) -> Item | None:
    if row is None:
        return None
    return {"commit": row["commit"], "subject": row["subject"], "committedAt": timestamp(row["committed_at"])}


def _source_conditions(row: Item) -> list[Item]:
    """Ready: what the remote has is in force, as of the last look. Degraded: its newest revision is refused."""
    refused = "; ".join(row["problems"])
    reason = "RevisionRejected" if refused else row["reason"]
    suspended = "Suspended" if row["suspended"] else ""
    ready = row["applied"] is not None and not (reason or suspended)
    told = [
        ("Ready", ready, reason or suspended or ("UpToDate" if ready else "NotSyncedYet"), refused or row["error"]),
        ("Degraded", bool(reason), reason or "AsAsked", refused or row["error"]),
    ]
    return [
        {"type": kind, "status": "True" if status else "False", "reason": why, "message": message}
        for kind, status, why, message in told
    ]
