"""What going back in one file does not bring back, because it came from defaults; and where that is gone back to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.cli.deltas import ABSENT, Delta, deltas, in_words
from reconciler.cli.drafts import Draft
from reconciler.cli.generations import defaults_behind, defaults_of, named
from reconciler.cli.output import say
from reconciler.cli.standing import opened
from reconciler.cli.targets import SERVER, Target
from reconciler.cli.terminal import clean
from reconciler.core.kinds import DEFAULTS
from reconciler.core.model import Document
from reconciler.core.spec import dump_spec
from reconciler.store import past

Item = Mapping[str, Any]


def way_back(known: Sequence[Item], target: Target) -> str:
    """What helps where all generations of a file say the same; defaults may have changed what they come to."""
    if names := defaults_behind(known):
        commands = " and ".join(f"reconciler rollback defaults/{name}" for name in names)
        return f"what changed comes from {named(names)}; go back there: {commands}"
    return f"see them with: reconciler rollout history {target}"


def tell_shortfall(draft: Draft, target: Target, then: Item) -> None:
    """Say what will still be another than in that generation, once the edit is made."""
    if target.kind != SERVER:
        return
    checked = draft.checked(edited=True)
    now = next((one for one in checked.documents if one.name == target.name), None)
    if now is None or checked.problems:
        return
    left = list(deltas(then["spec"], dump_spec(now.spec), ("spec",)))
    names = sorted({name for delta in left for name in _sources(delta, then, now)})
    if names:
        told = f"generation {then['generation']} is not all back by that: {in_words(left)}, by {named(names)}"
        commands = " and ".join(_command(draft.state, name, then) for name in names)
        say(clean(f"{told}; go back there too: {commands}"), err=True)


def _sources(delta: Delta, then: Item, now: Document) -> list[str]:
    present = {"fromDefaults": now.came_from}
    return [*defaults_of(then, delta.path), *(defaults_of(present, delta.path) if delta.new is not ABSENT else [])]


def _command(state: Path, name: str, then: Item) -> str:
    """What puts defaults back to what they said when that generation was accepted, as far as that is kept."""
    with opened(state) as db:
        found = past.generations(db, name, DEFAULTS)
    at = then["acceptedAt"] or ""
    numbers = [one["generation"] for one in found if (one["acceptedAt"] or "") <= at]
    return f"reconciler rollback defaults/{name}" + (f" --to {numbers[-1]}" if numbers else "")
