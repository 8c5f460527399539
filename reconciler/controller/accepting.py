"""What an acceptance leads to: what is kept of it, what is told, and what the planner is given."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from reconciler.core.accept import Acceptance, Seen
from reconciler.core.actions import Event
from reconciler.core.model import Desired, Now, Wanted
from reconciler.core.pruning import Memory
from reconciler.core.selection import Selection
from reconciler.engines import engine_of
from reconciler.manifests.folder import Look
from reconciler.store.writer import Store

MEMORY = "manifestsMemory"
"""What is kept under this key for the next controller's acceptance."""
SELECTION = "selection"
"""Which servers are wanted is kept under this key."""

JUDGE_AGAIN = 1.0
"""Seconds for which a look with missing documents need not be judged again, if nothing comes of it sooner."""


@dataclass(slots=True)
class Accepted:
    """The newest acceptance, and the look it came from."""

    look: Look | None = None
    acceptance: Acceptance = field(default_factory=lambda: Acceptance({}))
    confirmed: frozenset[str] = frozenset()
    asked: str | None = None
    """The profile that a person asked for."""
    at: float = float("-inf")
    """Monotonic time of the judgement."""

    def is_quiet(self, now: Now) -> bool:
        """Whether the same look would be judged the same. What is missing, and held for it, is judged by the clock."""
        wake_at = self.acceptance.wake_at
        if wake_at is not None and wake_at <= now.monotonic:
            return False
        return not self.acceptance.memory.missing or now.monotonic < self.at + JUDGE_AGAIN


def seen_in(look: Look) -> Seen:
    """A look as it is judged."""
    return Seen(look.documents, look.problems, look.failed, look.empty, look.devices, look.others)


# ---------------------------------------------------------------- what is kept


def _memory_facts(acceptance: Acceptance) -> dict[str, str]:
    """What the next controller has to know."""
    memory, selection = acceptance.memory, acceptance.selection
    names = None if selection.names is None else sorted(selection.names)
    chosen = {"profile": selection.profile, "names": names, "switch": selection.switch, "held": selection.held}
    return {
        MEMORY: json.dumps({"doubted": sorted(memory.doubted), "devices": memory.devices}),
        SELECTION: json.dumps(chosen),
    }


def memory_of(store: Store) -> Memory:
    """What the controller before this one held until a person confirms it, and on which file systems the folders were.

    A device may have another number after a start of the machine: what is missing as well is then held, not removed.
    """
    doubted, devices = frozenset[str](), dict[str, int]()
    with suppress(ValueError, TypeError, KeyError):  # what cannot be read is told anew with the first pass
        doubted = frozenset(str(name) for name in json.loads(store.meta["manifests"])["prunable"])
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        kept = json.loads(store.meta[MEMORY])
        doubted |= frozenset(str(name) for name in kept["doubted"])
        devices = {str(folder): int(device) for folder, device in kept["devices"].items()}
    return Memory(doubted=doubted, devices=devices)


def selection_of(facts: Mapping[str, str]) -> Selection:
    """Which servers the controller before this one wanted, by `meta`; all of them where that cannot be read."""
    with suppress(ValueError, TypeError, KeyError):
        kept = json.loads(facts[SELECTION])
        names = None if kept["names"] is None else frozenset(str(name) for name in kept["names"])
        switch: Literal["StopFirst", "StartFirst"] = "StartFirst" if kept["switch"] == "StartFirst" else "StopFirst"
        return Selection(str(kept["profile"]), names, switch, str(kept["held"]))
    return Selection()


def any_changes(acceptance: Acceptance) -> bool:
    """Whether documents came, changed or went."""
    found = acceptance
    return bool(found.changed or found.removed or found.others_changed or found.others_removed)


def save_documents(store: Store, acceptance: Acceptance, now: Now) -> None:
    """Keep what is in force, within a transaction."""
    for other in acceptance.others_changed:
        store.save_other(other, now)
    for key in acceptance.others_removed:
        store.remove_other(store.others[key])
    for document in acceptance.changed:
        store.save_document(document, now)
    for name in acceptance.removed:
        store.remove_document(name)


def finished_requests(acceptance: Acceptance, before: Selection, store: Store) -> list[tuple[str, str]]:
    """Requests about documents that are done or say nothing any more: their kinds, and whom they are about."""
    # One that came back: what was confirmed then says nothing about the next time.
    # What is held though it was meant goes as soon as nothing holds it any more.
    gone = {*acceptance.memory.missing, *acceptance.held, *acceptance.removed, *acceptance.others_removed}
    stale = [("prune", name) for name in store.confirmed_prunes() - gone]
    asked, selection = store.asked_profile(), acceptance.selection
    in_force = selection.profile == asked and not selection.held
    if asked is not None and (in_force or selection.profile != before.profile):
        stale.append(("profile", asked))
    return stale


# ---------------------------------------------------------------- what is told


def facts_of(acceptance: Acceptance, folder: str) -> dict[str, str]:
    """All of it as it is kept: JSON by key."""
    return {"manifests": told(acceptance, folder), "invalid": told_of_servers(acceptance), **_memory_facts(acceptance)}


def told(acceptance: Acceptance, folder: str) -> str:
    """What is wrong with the manifests as a whole, as JSON for whoever reads the state."""
    others = {key: [str(one) for one in found] for key, found in acceptance.other_problems.items()}
    return json.dumps(
        {
            "folder": folder,
            "problems": [*map(str, acceptance.general), *(text for found in others.values() for text in found)],
            "folderProblem": folder_problem(acceptance),
            "prunable": list(acceptance.prunable),
            "others": others,
            "held": {key: why for key, why in acceptance.held.items() if key in acceptance.others},
        }
    )


def told_of_servers(acceptance: Acceptance) -> str:
    """What is wrong with the documents of servers, as JSON by name."""
    return json.dumps({name: [str(one) for one in found] for name, found in acceptance.problems.items() if found})


def folder_problem(acceptance: Acceptance) -> str:
    """What holds the manifests as a whole, and what to do."""
    return "; ".join(filter(None, (acceptance.folder_problem, acceptance.selection.held)))


def news(acceptance: Acceptance, before: Acceptance) -> list[Event]:
    """What is wrong now that no server's own events tell."""
    return list(_news(acceptance, before))


def _news(acceptance: Acceptance, before: Acceptance) -> Iterator[Event]:
    for problem in acceptance.general:
        yield Event("", "ManifestUnreadable", str(problem), warning=True)
    known = {problem for found in before.other_problems.values() for problem in found}
    for problem in (problem for found in acceptance.other_problems.values() for problem in found):
        if problem not in known:
            yield Event("", "InvalidManifest", str(problem), warning=True)
    for key, why in acceptance.held.items():
        if key in acceptance.others and key not in before.held:
            kind, _, name = key.partition("/")
            yield Event("", "PruneHeld", f"{kind} '{name}': {why}", warning=True)
    if why := folder_problem(acceptance):
        yield Event("", "ManifestsHeld", why, warning=True)


# ---------------------------------------------------------------- what the planner is given


def desired_of(acceptance: Acceptance, before: Desired) -> Desired:
    """What the documents in force ask for; what did not change stays the same object."""
    servers = {}
    for name, document in acceptance.documents.items():
        known = before.servers.get(name)
        same = known is not None and known.document is document
        wanted = Wanted(
            document,
            known.fingerprint if known and same else engine_of(document.spec).fingerprint(document.spec),
            acceptance.problems.get(name, ()),
            acceptance.held.get(name, ""),
            acceptance.parked(name),
        )
        servers[name] = known if known == wanted else wanted
    invalid = {name: found for name, found in acceptance.problems.items() if name not in servers}
    invalid |= {name: (why,) for name, why in acceptance.postponed.items()}
    return Desired(
        servers,
        scope=before.scope,
        invalid=invalid,
        broken=frozenset(name for name in invalid if acceptance.names(name)),
        unreadable=bool(acceptance.general or acceptance.folder_problem),
        limits=before.limits,
        profile=acceptance.selection.profile,
        switch=acceptance.selection.switch,
    )
