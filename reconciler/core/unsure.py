"""Missing documents of which a look says nothing, or whose removal would harm: they stay in force."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from reconciler.core.candidates import Candidates, Seen
from reconciler.core.guard import CONFIRM, Held
from reconciler.core.kinds import OtherDocument, Others, ProfileDocument
from reconciler.core.model import Document, Problem
from reconciler.core.profiles import without_surprises
from reconciler.core.source import GIT, LOCAL, PREFIX

_Documents = Mapping[str, Document | OtherDocument]


def bare_origins(accepted: _Documents, found: Candidates, seen: Seen) -> dict[str, str]:
    """Origins that declare nothing any more, and that in words. An unreadable folder says nothing of itself."""
    left = {document.origin for document in (*seen.documents, *seen.others)}
    left |= {_origin(problem) for problem in seen.problems} | ({LOCAL} if seen.failed else set())
    bare = {}
    for origin in {document.origin for key, document in accepted.items() if key not in found} - left:
        count = sum(one.origin == origin for one in accepted.values())
        where = " in Git" if origin == GIT else ""
        bare[origin] = f"no manifest is left{where}, but {count} were accepted: nothing is stopped; {CONFIRM}"
    return bare


def unsure_of(in_force: _Documents, missing: Collection[str], seen: Seen, broken: frozenset[str]) -> dict[str, Held]:
    """Which of the missing ones stay, and why. `broken` are files with an error."""
    general = tuple(problem for problem in seen.problems if not problem.server)
    return {
        **dict(_with_folder(in_force, missing, seen)),
        **_emptied(in_force, missing, seen.empty),
        **_unreadable(in_force, missing, broken, general, seen.failed),
    }


def _with_folder(in_force: _Documents, missing: Iterable[str], seen: Seen) -> Iterator[tuple[str, Held]]:
    """What tells many servers something has gone with its whole folder: a mount, or a link, may be what is gone."""
    for key in missing if seen.devices else ():
        document = in_force[key]
        folder = document.file.rpartition("/")[0]
        if not isinstance(document, Document) and document.origin == LOCAL and folder and folder not in seen.devices:
            yield key, Held(f"not removed, for its whole folder {folder} is gone: bring it back; {CONFIRM}", True)


def _emptied(in_force: _Documents, missing: Iterable[str], empty: frozenset[str]) -> dict[str, Held]:
    """An empty file is a half-written one, or an accident: who means it removes the file, or confirms."""
    return {
        name: Held(f"{in_force[name].file} is empty: write the document again or remove the file; {CONFIRM}", True)
        for name in missing
        if in_force[name].file in empty
    }


def _unreadable(
    in_force: _Documents,
    missing: Iterable[str],
    broken: frozenset[str],
    general: tuple[Problem, ...],
    failed: str,
) -> dict[str, Held]:
    """Missing documents that this look says nothing about.

    What cannot be read of the manifests folder may have declared what was declared there, and nothing of Git's.
    """
    unreadable = {_origin(problem): problem for problem in reversed(general)}
    unsure = {}
    for name in missing:
        document = in_force[name]
        if failed and document.origin == LOCAL:
            unsure[name] = Held(failed, lasting=True)
        elif document.origin in unreadable:
            unsure[name] = Held(f"not removed while a manifest cannot be read: {unreadable[document.origin]}")
        elif document.file in broken:
            # The documents with errors have names, and this one's is not among them.
            unsure[name] = Held(f"not removed while its file has an error: {document.file}", unless_named=True)
    return unsure


def _origin(problem: Problem) -> str:
    return GIT if problem.file.startswith(PREFIX) else LOCAL


def removal_clash(
    accepted: Mapping[str, Document],
    servers: Mapping[str, Document],
    others: Others,
    active: ProfileDocument,
    found: Candidates,
) -> dict[str, Held]:
    """The active profile that is missing, where servers would want one port without it; `servers` would be in force."""
    left = {key: one for key, one in others.items() if isinstance(one, ProfileDocument) and key != active.key}
    newest = {key: one for key, one in found.others.items() if isinstance(one, ProfileDocument)}
    _, told = without_surprises(accepted, servers, others, {**left, **newest})
    problem = told.get(active.key)
    return {active.key: Held(f"not removed: {problem.message}")} if problem else {}
