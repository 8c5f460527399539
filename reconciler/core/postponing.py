"""Servers that are new, while an error hides how they are to run, or whether: what runs of them goes on as it is.

After the loss of the database all are new. Those that are in force already are not touched by such an error at all.
"""

from collections.abc import Callable, Iterable, Mapping

from reconciler.core.candidates import Candidates
from reconciler.core.choosing import Choice
from reconciler.core.defaults import selected_by
from reconciler.core.kinds import DEFAULTS, PROFILE, DefaultsDocument, Others, ProfileDocument
from reconciler.core.model import Document, Problem
from reconciler.core.source import GIT, PREFIX


def postponed(
    new: Iterable[Document], found: Candidates, accepted: Others, choice: Choice, *, is_first: bool, asked: str | None
) -> dict[str, Problem]:
    """Which of the new servers wait, and for what. `is_first`: no server is in force yet.

    `asked`: the profile that a person asked for, '' for none.
    """
    why_none = _of_profiles(found, accepted, choice, asked) if is_first else ""
    defaults = [_about(key, found) for key in _never_accepted(DEFAULTS, found, accepted)]
    if not why_none and not defaults:
        return {}
    held = {}
    for document in new:
        why = why_none or next((why for concerns, why in defaults if concerns(document)), "")
        if why:
            reason = "InvalidProfile" if why_none else "InvalidDefaults"
            held[document.name] = Problem(
                document.file, why, server=document.name, kind=document.kind, labels=document.labels, reason=reason
            )
    return held


def _of_profiles(found: Candidates, accepted: Others, choice: Choice, asked: str | None) -> str:
    """Why nobody can know which servers are to run; empty when that is known."""
    if choice.selection.held:
        return choice.selection.held
    if choice.selection.profile or asked == "":
        return ""
    for key in _never_accepted(PROFILE, found, accepted):
        declared = found.others.get(key)
        if not isinstance(declared, ProfileDocument) or declared.spec.active:
            return _why(key, found, "say which servers run")
    return ""


def _about(key: str, found: Candidates) -> tuple[Callable[[Document], bool], str]:
    """Which servers may take over defaults that have an error, and what they are told."""
    declared, why = found.others.get(key), _why(key, found, "be about this one")
    if isinstance(declared, DefaultsDocument):
        return lambda document: selected_by(declared, document), why
    of_git = all(problem.file.startswith(PREFIX) for problem in found.other_problems[key])
    return lambda document: document.origin == GIT or not of_git, why


def _why(key: str, found: Candidates, what: str) -> str:
    kind, _, name = key.partition("/")
    wait = f"what runs goes on, and nothing is started before the error in {kind} '{name}' is mended, for it may {what}"
    return f"{wait}: {found.other_problems[key][0]}"


def _never_accepted(kind: str, found: Candidates, accepted: Mapping[str, object]) -> list[str]:
    """Keys of those with an error of which nothing is in force."""
    problems = found.other_problems
    return [key for key in problems if key.startswith(f"{kind}/") and problems[key] and key not in accepted]
