"""Servers as the interface shows them: read from their rows once, encoded once, aged whenever they are asked for."""

import json
import secrets
import sqlite3
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pydantic_core import to_json

from reconciler.api.loading import loading_of
from reconciler.api.tables import OfServer
from reconciler.store.explained import explained
from reconciler.store.items import Item, Rows, server_item

_AGE = secrets.token_hex(16)
"""Stands where `uptimeSeconds` will; nobody can write it into a manifest, for nobody knows it."""
_MARK = f'"{_AGE}"'.encode()


class Shown(NamedTuple):
    """One server."""

    of: OfServer
    """What it was made of."""
    item: Item
    began: float | None
    """Unix time of its process's start; None while none runs."""
    head: bytes
    """Its JSON before the uptime."""
    tail: bytes
    """And behind it."""

    def encoded(self, now: float) -> bytes:
        """As JSON at a moment (Unix time)."""
        return b"%s%s%s" % (self.head, age(self.began, now), self.tail)

    def says_the_same(self, other: "Shown | None") -> bool:
        """Whether it differs from another at most by the uptime."""
        return other is not None and (self.began, self.head, self.tail) == (other.began, other.head, other.tail)

    @property
    def is_loading(self) -> bool:
        """Whether it tells something that nobody commits."""
        return bool(self.item["status"]["phase"] == "Starting")


def age(began: float | None, now: float) -> bytes:
    """An uptime as JSON."""
    return b"null" if began is None else repr(round(max(0.0, now - began), 3)).encode()


def show(db: sqlite3.Connection, name: str, of: OfServer) -> Shown:
    """A server from its rows."""
    rows = Rows(of.document, _object(of.record), _object(of.instance) or None, of.port)
    item = server_item(name, rows, time.time())
    status = item["status"]
    status["loading"] = loading_of(db, status)
    found = explained(db, item, controller=True, now=0.0)
    status["explanation"] = found.data if found else None
    uptime, began = status["uptimeSeconds"], rows.instance["intent"]["wall"] if rows.instance else None
    status["uptimeSeconds"] = _AGE
    head, _, tail = to_json(item).partition(_MARK)
    status["uptimeSeconds"] = uptime
    return Shown(of, item, began, head, tail)


def _object(text: str) -> dict[str, Any]:
    """An empty one for what is none: the controller drops such rows at its next start."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def list_json(kind: str, items: Iterable[bytes]) -> bytes:
    """A list of things that are JSON already, as `-o json` prints it."""
    head = b'{"apiVersion":"llama.reconciler/v1alpha1","kind":"%s","items":[' % kind.encode()
    return head + b",".join(items) + b"]}"


def count(items: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """How many there are, and how they are."""
    phases: dict[str, int] = {}
    found = {"total": 0, "ready": 0, "running": 0, "degraded": 0, "restarts": 0}
    for item in items:
        status = item["status"]
        true = {one["type"] for one in status["conditions"] if one["status"] == "True"}
        phases[status["phase"]] = phases.get(status["phase"], 0) + 1
        found["total"] += 1
        found["ready"] += "Ready" in true
        found["running"] += status["instance"] is not None
        found["degraded"] += status["phase"] == "Ready" and "Degraded" in true
        found["restarts"] += status["restarts"]
    return {**found, "phases": phases}
