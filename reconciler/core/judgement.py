"""What of a look may be in force, before it is asked what is missing: one kind after the other, who changed gives way.

Defaults come first, for they make the servers' specs; profiles then say which servers need their ports.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from reconciler.core.candidates import Candidates, Problems, problem_of
from reconciler.core.clashes import without_port_clashes
from reconciler.core.defaults import Check, applying, defaults_that_fit, merged
from reconciler.core.dependencies import without_cycles
from reconciler.core.kinds import (
    DefaultsDocument,
    OtherDocument,
    Others,
    ProfileDocument,
    dump_other,
    say_the_same,
)
from reconciler.core.model import Document
from reconciler.core.profiles import active_of, profiles_in_force, without_surprises
from reconciler.core.selection import belongs

_Other = TypeVar("_Other", ProfileDocument, DefaultsDocument)


@dataclass(frozen=True, slots=True)
class Judged:
    """What would be in force, if nothing that is missing were gone."""

    changed: tuple[Document, ...]
    """Documents of servers that differ from what is in force, numbered."""
    others: Others
    """All of the other kinds."""
    problems: Problems
    other_problems: Problems

    @property
    def broken(self) -> frozenset[str]:
        """Files with an error."""
        every = (*self.problems.values(), *self.other_problems.values())
        return frozenset(problem.file for found in every for problem in found)


def judge(
    accepted: Mapping[str, Document], others: Others, found: Candidates, check: Check, elsewhere: Collection[str] = ()
) -> Judged:
    """Judge what a look declares; `accepted` and `others` are in force, `elsewhere` are servers declared elsewhere."""
    before = {key: one for key, one in others.items() if isinstance(one, DefaultsDocument)}
    newest = {**before, **_of_kind(found, DefaultsDocument)}
    there = [document for name, document in _newest(accepted, found).items() if name not in found.problems]
    defaults = defaults_that_fit(before, newest, there, check, found.other_problems)
    servers = _with_defaults(accepted, found, defaults, check)
    known = {*accepted, *found.servers, *found.problems, *elsewhere}
    profiles = profiles_in_force(others, _of_kind(found, ProfileDocument), known, found.other_problems)
    profiles, told = without_surprises(accepted, servers, others, profiles)
    for key, problem in told.items():
        found.other_problems[key].append(problem)
    effective = _settled(accepted, servers, found.problems, _selects(active_of(profiles.values())))
    effective_others: dict[str, OtherDocument] = {**defaults, **profiles}
    in_force = {key: _numbered(one, others.get(key)) for key, one in effective_others.items()}
    changed = tuple(_generations(accepted, effective))
    return Judged(changed, in_force, found.problems, found.other_problems)


def _of_kind(found: Candidates, kind: type[_Other]) -> dict[str, _Other]:
    return {key: one for key, one in found.others.items() if isinstance(one, kind)}


def _newest(accepted: Mapping[str, Document], found: Candidates) -> dict[str, Document]:
    """Servers as they are declared; those with an error as they are in force. Missing ones are judged by nobody."""
    return {**{name: accepted[name] for name in accepted if name in found.problems}, **found.servers}


def _with_defaults(
    accepted: Mapping[str, Document], found: Candidates, defaults: Mapping[str, DefaultsDocument], check: Check
) -> dict[str, Document]:
    """The candidates with what they take over, and those in force that take over something else now."""
    servers = {}
    for name, document in _newest(accepted, found).items():
        made = merged(document, applying(defaults, document), check, accepted.get(name))
        if isinstance(made, Document):
            servers[name] = made
        else:
            names = ", ".join(f"'{one.name}'" for one in applying(defaults, document))
            message = f"with LlamaServerDefaults {names}: {made.message}"
            found.problems[name].append(problem_of(document, message, made.field))
    return servers


def _selects(profile: ProfileDocument | None) -> Callable[[Document], bool]:
    if profile is None:
        return lambda _: True
    spec = dump_other(profile)
    return lambda document: belongs(spec, document.name, document.labels)


def _settled(
    accepted: Mapping[str, Document],
    candidates: Mapping[str, Document],
    problems: Problems,
    is_selected: Callable[[Document], bool],
) -> dict[str, Document]:
    """Without circles and clashes: who gives way to one may come to be in another's way again."""
    effective = dict(candidates)
    while True:
        acyclic = without_cycles(accepted, effective, problems)
        found = without_port_clashes(accepted, acyclic, problems, is_selected)
        if all(found.get(name) is document for name, document in effective.items()):
            return found
        effective = found


def _generations(accepted: Mapping[str, Document], effective: Mapping[str, Document]) -> Iterable[Document]:
    """Those that differ from what is in force, numbered; a moved file alone is no new generation."""
    for name, document in effective.items():
        before = accepted.get(name)
        if before is None:
            yield replace(document, generation=1)
        elif not document.says_the_same(before):
            yield replace(document, generation=before.generation + 1)
        elif (document.place, document.came_from) != (before.place, before.came_from):
            yield replace(document, generation=before.generation)


def _numbered(document: OtherDocument, before: OtherDocument | None) -> OtherDocument:
    """The same object as before, where nothing changed."""
    if before is None:
        return replace(document, generation=1)
    if not say_the_same(document, before):
        return replace(document, generation=before.generation + 1)
    return before if document.place == before.place else replace(document, generation=before.generation)
