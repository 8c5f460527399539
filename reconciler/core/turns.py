"""Whose turn it is where only so many servers may run: a place is kept for who had it, and free again for who rests."""

from collections.abc import Collection, Iterable, Mapping
from enum import IntEnum

from reconciler.core.history import History, Requests, ServerRecord, Trigger
from reconciler.core.model import Document, Phase
from reconciler.core.policy import Denial, to_write
from reconciler.core.rules import Rules

POLICY_DENIED = "PolicyDenied"
"""The gate's reason for what the policy refuses."""
_RESTARTS = frozenset(
    {
        Trigger.CRASHED,
        Trigger.UNRESPONSIVE,
        Trigger.SPEC_CHANGED,
        Trigger.REQUESTED,
        Trigger.REBOOTED,
        Trigger.FALLBACK,
        Trigger.PRIMARY_RETRIED,
        Trigger.CPU_ONLY,
        Trigger.UNBLOCKED,
    }
)


class Turn(IntEnum):
    """How near a server is to a place; the nearest come first."""

    RUNS = 0
    """It has an instance, if only one that is stopping."""
    RESTARTS = 1
    """It ran and will again: it backs off, or waits until it may start."""
    WAITS = 2
    """It is to run, and has no place yet."""
    RESTS = 3
    """It has failed or completed. Should it be tried again, it comes last."""
    STOPPED = 4
    """It is stopped by request, suspended or left out by the active profile, and needs no place."""


def turns(
    documents: Iterable[Document], history: History, requests: Requests, parked: Collection[str] = ()
) -> dict[str, Turn]:
    """The turn of each server, by name. `parked`: those that the active profile leaves out."""
    return {document.name: _turn(document, history, requests, parked) for document in documents}


def _turn(document: Document, history: History, requests: Requests, parked: Collection[str]) -> Turn:
    name = document.name
    if name in history.instances:
        return Turn.RUNS
    if document.spec.suspend or name in requests.stop or name in parked:
        return Turn.STOPPED
    record = history.servers.get(name)
    if record is None:
        return Turn.WAITS
    if record.failed is not None or record.completed:
        return Turn.RESTS
    return Turn.RESTARTS if record.next_trigger in _RESTARTS and not _was_refused(record) else Turn.WAITS


def _was_refused(record: ServerRecord) -> bool:
    """Who was told that there is no place has none to keep."""
    status = record.status
    if status is None or status.phase is not Phase.BLOCKED:
        return False
    return any(condition.reason == POLICY_DENIED for condition in status.conditions)


def over_limit(
    documents: Iterable[Document], rules: Rules, origin: str, turns: Mapping[str, Turn]
) -> dict[str, Denial]:
    """The servers beyond `max_servers`, by name: those that have a place keep it, then the order of names decides.

    Whose turn is not given waits for one.
    """
    if not rules.max_servers:
        return {}
    found = {document.name: turns.get(document.name, Turn.WAITS) for document in documents if document.origin == origin}
    names = [name for name, turn in found.items() if turn is not Turn.STOPPED]
    ranked = sorted(names, key=lambda name: (found[name], name))
    rule = f"policy.{origin}.max_servers"
    message = (
        f"{rule}: {len(names)} servers are to run, and {rules.max_servers} may; "
        f"stop, suspend or remove one, or {to_write(origin, 'max_servers', len(names))}"
    )
    return {name: Denial(rule, message) for name in ranked[rules.max_servers :]}
