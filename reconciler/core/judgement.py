"""What of a look may be in force, before it is asked what is missing: one kind after the other, who changed gives way.

Defaults come first, for they make the servers' specs; profiles then say which servers need their ports.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from reconciler.core.beside import Beside
from reconciler.core.candidates import Candidates, Problems, problem_of
from reconciler.core.choosing import Choice, Chooser
from reconciler.core.clashes import without_port_clashes
from reconciler.core.defaults import applying, defaults_that_fit, merged
from reconciler.core.dependencies import without_cycles
from reconciler.core.kinds import (
    DefaultsDocument,
    OtherDocument,
    Others,
    ProfileDocument,
    dump_other,
    say_the_same,
)
from reconciler.core.model import Document, Problem
from reconciler.core.postponing import postponed
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
    choice: Choice
    """Which servers are wanted."""
    postponed: Mapping[str, tuple[Document, Problem]]
    """New servers that are not put in force before something else is mended, and what."""

    @property
    def broken(self) -> frozenset[str]:
        """Files with an error."""
        every = (*self.problems.values(), *self.other_problems.values())
        return frozenset(problem.file for found in every for problem in found)


def judge(accepted: Mapping[str, Document], beside: Beside, found: Candidates, chooser: Chooser) -> Judged:
    """Judge what a look declares; `accepted` and what is `beside` are in force."""
    others, check = beside.others, beside.check
    before = {key: one for key, one in others.items() if isinstance(one, DefaultsDocument)}
    newest = {**before, **_of_kind(found, DefaultsDocument)}
    there = [document for name, document in _newest(accepted, found).items() if name not in found.problems]
    defaults = defaults_that_fit(before, newest, there, check, found.other_problems)
    servers = _with_defaults(accepted, found, defaults, beside)
    known = {*accepted, *found.servers, *found.problems, *beside.known}
    profiles = profiles_in_force(others, _of_kind(found, ProfileDocument), known, found.other_problems)
    profiles, told = without_surprises(accepted, servers, others, profiles)
    for key, problem in told.items():
        found.other_problems[key].append(problem)
    active = active_of(profiles.values())
    choice = chooser.choose(active, {**accepted, **servers})
    effective = _settled(accepted, servers, found.problems, _selects(active, choice))
    changed = {one.name: one for one in _generations(accepted, effective, beside.counted)}
    new = [one for name, one in changed.items() if name not in accepted and not beside.nothing_runs]
    waits = postponed(new, found, others, choice, is_first=not accepted, asked=beside.asked)
    return Judged(
        tuple(one for name, one in changed.items() if name not in waits),
        _all_numbered({**defaults, **profiles}, beside),
        found.problems,
        found.other_problems,
        choice,
        {name: (changed[name], why) for name, why in waits.items()},
    )


def _all_numbered(effective: Others, beside: Beside) -> Others:
    return {key: _numbered(one, beside.others.get(key), beside.counted.get(key, 0)) for key, one in effective.items()}


def _of_kind(found: Candidates, kind: type[_Other]) -> dict[str, _Other]:
    return {key: one for key, one in found.others.items() if isinstance(one, kind)}


def _newest(accepted: Mapping[str, Document], found: Candidates) -> dict[str, Document]:
    """Servers as they are declared; those with an error as they are in force. Missing ones are judged by nobody."""
    return {**{name: accepted[name] for name in accepted if name in found.problems}, **found.servers}


def _with_defaults(
    accepted: Mapping[str, Document], found: Candidates, defaults: Mapping[str, DefaultsDocument], beside: Beside
) -> dict[str, Document]:
    """The candidates with what they take over, and those in force that take over something else now."""
    servers = {}
    for name, document in _newest(accepted, found).items():
        made = merged(document, applying(defaults, document), beside.check, accepted.get(name), beside.server_host)
        if isinstance(made, Document):
            servers[name] = made
        else:
            names = ", ".join(f"'{one.name}'" for one in applying(defaults, document))
            message = f"with LlamaServerDefaults {names}: {made.message}"
            found.problems[name].append(problem_of(document, message, made.field))
    return servers


def _selects(profile: ProfileDocument | None, choice: Choice) -> Callable[[Document], bool]:
    if choice.stays:
        return lambda document: choice.selection.wants(document.name)
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


def _generations(
    accepted: Mapping[str, Document], effective: Mapping[str, Document], counted: Mapping[str, int]
) -> Iterable[Document]:
    """Those that differ from what is in force, numbered; a moved file alone is no new generation."""
    for name, document in effective.items():
        before = accepted.get(name)
        if before is None or not document.says_the_same(before):
            yield replace(document, generation=_next(before, counted.get(name, 0)))
        elif (document.place, document.came_from) != (before.place, before.came_from):
            yield replace(document, generation=before.generation)


def _next(before: Document | OtherDocument | None, counted: int) -> int:
    return max(before.generation if before else 0, counted) + 1


def _numbered(document: OtherDocument, before: OtherDocument | None, counted: int) -> OtherDocument:
    """The same object as before, where nothing changed."""
    if before is None or not say_the_same(document, before):
        return replace(document, generation=_next(before, counted))
    return before if document.place == before.place else replace(document, generation=before.generation)
