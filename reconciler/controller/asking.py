"""What people ask for: committed first, and acted on by the pass that follows."""

from collections.abc import Iterable, Sequence

from reconciler.core.kinds import PROFILE, OtherDocument
from reconciler.core.model import Now
from reconciler.store.writer import Store

OPPOSITE = {"stop": "adopt", "adopt": "stop"}
"""Requests that take another back."""


def profiles_among(documents: Iterable[OtherDocument]) -> frozenset[str]:
    """The names that may be asked for as a profile; '' asks for none of them."""
    return frozenset({"", *(one.name for one in documents if one.kind == PROFILE)})


def commit(store: Store, kind: str, names: Sequence[str], now: Now) -> list[int]:
    """Keep what is asked for of these servers, or of this profile; the ids. Raises StateUnwritableError."""
    with store.transaction():
        if kind == "profile":
            return [_ask_for_profile(store, name, now) for name in names[:1]]
        if kind == "start":
            return [number for name in names for number in _ask_to_start(store, name, now)]
        return [_ask(store, kind, name, now) for name in names]


def _ask(store: Store, kind: str, name: str, now: Now) -> int:
    if kind in OPPOSITE:
        store.withdraw(OPPOSITE[kind], name, now)
    return store.add_request(kind, name, now)


def _ask_to_start(store: Store, name: str, now: Now) -> list[int]:
    """A stop is taken back, and what has failed or completed is tried anew."""
    store.withdraw("stop", name, now)
    record = store.history().servers.get(name)
    rests = record is not None and (record.failed or record.completed)
    return [store.add_request("restart", name, now)] if rests else []


def _ask_for_profile(store: Store, name: str, now: Now) -> int:
    """One is asked for at a time."""
    asked = store.asked_profile()
    if asked is not None and asked != name:
        store.withdraw("profile", asked, now)
    return store.add_request("profile", name, now)
