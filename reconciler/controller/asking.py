"""What people ask for: committed first, and acted on by the pass that follows."""

from collections.abc import Iterable, Sequence

from reconciler.core.kinds import PROFILE, OtherDocument
from reconciler.core.model import Now, Problem
from reconciler.store.writer import Store

OPPOSITE = {"stop": "adopt", "adopt": "stop"}
"""Requests that take another back."""
LAPSE = 60.0
"""Seconds from asking for a profile until its edit is to be seen in the files."""


def profiles_among(documents: Iterable[OtherDocument], problems: Iterable[Problem]) -> frozenset[str]:
    """The names that may be asked for as a profile; '' asks for none of them. Those with `problems` are there too."""
    broken = (one.server for one in problems if one.kind == PROFILE)
    return frozenset({"", *(one.name for one in documents if one.kind == PROFILE), *broken})


def commit(store: Store, kind: str, names: Sequence[str], now: Now) -> list[int]:
    """Keep what is asked for of these servers, or of this profile; the ids. Raises StateUnwritableError."""
    with store.transaction():
        if kind == "profile":
            return _ask_for_profile(store, names, now)
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


def _ask_for_profile(store: Store, names: Sequence[str], now: Now) -> list[int]:
    """One is asked for at a time, and counts from now on; without a name it is taken back."""
    asked = store.asked_profile()
    if asked is not None:
        store.withdraw("profile", asked, now)
    return [store.add_request("profile", name, now) for name in names[:1]]


class Lapse:
    """A profile that was asked for, but is not in force soon: the edit that was to follow has failed.

    Another edit, later, is not meant by it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._request: int | None = None
        self._at = 0.0
        self._is_first = True

    def look(self, now: Now) -> float | None:
        """Take it back when its time is over; else the monotonic time when that is, None where none is asked for."""
        request, asked = self._store.profile_request(), self._store.asked_profile()
        if request != self._request:
            # Asked of the controller before this one, only the wall clock tells how long ago.
            age = max(0.0, now.wall - self._store.asked_at(request)) if request and self._is_first else 0.0
            self._request, self._at = request, now.monotonic + LAPSE - age
        self._is_first = False
        if asked is None or now.monotonic < self._at:
            return None if asked is None else self._at
        with self._store.transaction(anyway=True):
            self._store.withdraw("profile", asked, now)
        return None
