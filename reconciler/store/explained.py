"""What happened to servers that are not well, and what can be done about it: from what is on record of them."""

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconciler.core.rendering import Explanation
    from reconciler.core.trouble import OnGpu

NEWEST = 10
"""How many starts of a server are looked at."""

Item = Mapping[str, Any]
OnGpus = Callable[[Mapping[int, str]], "Sequence[OnGpu]"]


def explained(
    db: sqlite3.Connection, item: Item, *, controller: bool, on_gpu: "OnGpus | None" = None, now: float | None = None
) -> "Explanation | None":
    """What is to be told of a server; None of one that is well. `on_gpu` tells who has GPUs' memory, if it is out.

    It is given our own processes: names of servers by pid. `now` is Unix time, by default the clock's; with 0 nothing
    is said that is true for a moment only.
    """
    if _is_surely_well(item):
        return None
    from reconciler.core.rendering import Facts, explanation  # noqa: PLC0415 - only what is not well needs it
    from reconciler.store import past  # noqa: PLC0415

    restarts = past.restarts(db, [item["metadata"]["name"]], limit=NEWEST)
    launch = past.launch(db, restarts[-1]["uid"]) if restarts else None
    facts = Facts(controller, program=launch["argv"][0] if launch else "", now=time.time() if now is None else now)
    found = explanation(item, restarts, facts)
    if found is not None and on_gpu is not None and found.reason == "GpuOutOfMemory":
        found = explanation(item, restarts, facts._replace(on_gpu=on_gpu(_ours(db))))
    return found


def _is_surely_well(item: Item) -> bool:
    """Told at a glance."""
    told = {one["type"] for one in item["status"]["conditions"] if one["status"] == "True"}
    return {"Ready", "Reconciled"} <= told <= {"Ready", "Reconciled", "Adopted"}


def explain_all(db: sqlite3.Connection, items: Iterable[dict[str, Any]], *, controller: bool) -> None:
    """Put `status.explanation` into servers, for programs: None into those that are well."""
    for item in items:
        found = explained(db, item, controller=controller)
        item["status"]["explanation"] = found.data if found else None


def _ours(db: sqlite3.Connection) -> Mapping[int, str]:
    from reconciler.store import read  # noqa: PLC0415 - seldom asked

    return {identity["pid"]: name for name, identity in read.identities(db).items()}
