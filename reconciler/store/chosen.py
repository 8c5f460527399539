"""Documents of other kinds in the words and shapes of `-o json`, from their rows."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.core.selection import belongs, matches
from reconciler.core.source import GIT

Item = dict[str, Any]


def profile_item(row: sqlite3.Row, servers: Iterable[sqlite3.Row], phases: Mapping[str, str], facts: Item) -> Item:
    """A profile; `servers` are the documents in force, `facts` what the controller keeps in `meta`."""
    spec = json.loads(row["spec"])
    name = row["name"]
    selected = sorted(one["name"] for one in servers if belongs(spec, one["name"], json.loads(one["labels"])))
    chosen = facts.get("selection") or {}
    is_in_force = chosen.get("profile") == name
    held = _held(row, facts)
    if is_in_force and chosen.get("held"):
        held, selected = chosen["held"], sorted(chosen.get("names") or ())
    elif spec.get("active") and not is_in_force and chosen.get("held"):
        held = chosen["held"]
    return {
        **_head(row, spec),
        "status": {
            "active": is_in_force,
            "selected": selected,
            "ready": sum(phases.get(one) == "Ready" for one in selected),
            "total": len(selected),
            "switch": spec.get("switch", "StopFirst"),
            "held": held,
            "problems": _problems(row, facts),
        },
    }


def defaults_item(row: sqlite3.Row, servers: Iterable[sqlite3.Row], facts: Item) -> Item:
    """Defaults, and the servers that take them over."""
    spec = json.loads(row["spec"])
    selector = spec.get("selector")
    labels = selector.get("matchLabels", {}) if selector else {}
    # What comes from Git reaches Git's servers alone (see core.defaults).
    within = [one for one in servers if row["origin"] != GIT or one["origin"] == GIT]
    selected = sorted(one["name"] for one in within if matches(labels, json.loads(one["labels"])))
    status = {"selected": selected, "total": len(selected), "held": _held(row, facts)}
    return {**_head(row, spec), "status": {**status, "problems": _problems(row, facts)}}


def _head(row: sqlite3.Row, spec: Item) -> Item:
    metadata = {
        "name": row["name"],
        "labels": json.loads(row["labels"]),
        "annotations": json.loads(row["annotations"]),
        "source": {key: row[key] for key in ("file", "line", "origin")},
        "generation": row["generation"],
    }
    return {"kind": row["kind"], "metadata": metadata, "spec": spec}


def _held(row: sqlite3.Row, facts: Item) -> str:
    """Why it is in force though it is missing; empty where it is not."""
    held = (facts.get("manifests") or {}).get("held") or {}
    return str(held.get(f"{row['kind']}/{row['name']}", ""))


def _problems(row: sqlite3.Row, facts: Item) -> list[str]:
    """What is wrong with its newest text."""
    others = (facts.get("manifests") or {}).get("others") or {}
    return list(others.get(f"{row['kind']}/{row['name']}", ()))
