"""Servers that wait for each other in a circle would never start: who changed gives way."""

from collections.abc import Iterator, Mapping

from reconciler.core.model import Document, Problem

MOST_SHOWN = 6
"""Names of a circle that a problem tells."""
Circle = tuple[str, ...]
"""Names in the order in which they depend on each other; the first depends on itself over all others."""


def without_cycles(
    accepted: Mapping[str, Document], candidates: Mapping[str, Document], problems: dict[str, list[Problem]]
) -> dict[str, Document]:
    """What would be in force; a candidate in a circle gives way to its last accepted form, round by round.

    Each member of a circle is told of it. A name that nobody declares ends a circle: the planner tells of it.
    """
    effective = {**{name: accepted[name] for name in accepted if name in problems}, **candidates}
    told: set[str] = set()
    while circles := dict(cycles({name: document.spec.depends_on for name, document in effective.items()})):
        for name, circle in circles.items():
            if name not in told:
                told.add(name)
                problems[name].append(_problem(effective[name], circle))
        yielding = [name for name in circles if not _is_unchanged(effective[name], accepted.get(name))]
        if not yielding:
            break
        for name in yielding:
            if name in accepted:
                effective[name] = accepted[name]
            else:
                del effective[name]
    return effective


def cycles(depends_on: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, Circle]]:
    """Each name that depends on itself, with a circle of its group: through the name itself where that is short."""
    for group in _groups(depends_on):
        members = frozenset(group)
        within = {name: [one for one in depends_on[name] if one in members] for name in group}
        sample = _circle(group[0], within)
        if sample is None:
            continue  # one that depends on nobody who depends on it
        for name in within:
            found = sample if name in sample else _circle(name, within) if len(within) <= MOST_SHOWN else sample
            yield name, found or sample


def _is_unchanged(document: Document, before: Document | None) -> bool:
    return before is not None and document.says_the_same(before)


def _problem(document: Document, circle: Circle) -> Problem:
    name = document.name
    shown = circle if len(circle) <= MOST_SHOWN else (*circle[: MOST_SHOWN - 1], "…")
    way = " → ".join((*shown, circle[0]))
    if circle == (name,):
        message = "it depends on itself; take its name out of spec.dependsOn"
    elif name in circle:
        message = f"servers depend on each other in a circle ({way}); take a name out of one's spec.dependsOn"
    else:
        message = f"it belongs to servers that depend on each other in circles, such as {way}; take a name out there"
    return Problem(document.file, message, document.line, 1, field="spec.dependsOn", server=name, kind=document.kind)


def _circle(start: str, within: Mapping[str, list[str]]) -> Circle | None:
    """A shortest way from a name back to itself; None where there is none."""
    came_from: dict[str, str] = {}
    edge = [start]
    while edge:
        following = []
        for name in edge:
            for one in within[name]:
                if one == start:
                    return _way(name, start, came_from)
                if one not in came_from:
                    came_from[one] = name
                    following.append(one)
        edge = following
    return None


def _way(last: str, start: str, came_from: Mapping[str, str]) -> Circle:
    way = [last]
    while way[-1] != start:
        way.append(came_from[way[-1]])
    return tuple(reversed(way))


def _groups(depends_on: Mapping[str, tuple[str, ...]]) -> Iterator[list[str]]:
    """Names that reach each other (strongly connected, by Kosaraju's algorithm), sorted."""
    needed_by: dict[str, list[str]] = {name: [] for name in depends_on}
    for name, needed in depends_on.items():
        for one in needed:
            if one in needed_by:
                needed_by[one].append(name)
    seen: set[str] = set()
    for name in reversed(_finished(depends_on)):
        if name not in seen:
            yield sorted(_reached(name, needed_by, seen))


def _finished(depends_on: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The names in the order in which a walk in depth leaves them; without recursion, for chains can be long."""
    left: list[str] = []
    seen: set[str] = set()
    for root in depends_on:
        work = [] if root in seen else [(root, iter(depends_on[root]))]
        seen.add(root)
        while work:
            name, needed = work[-1]
            following = next((one for one in needed if one in depends_on and one not in seen), None)
            if following is None:
                left.append(name)
                work.pop()
            else:
                seen.add(following)
                work.append((following, iter(depends_on[following])))
    return left


def _reached(start: str, graph: Mapping[str, list[str]], seen: set[str]) -> list[str]:
    """The names that can be reached without those already seen, which grow by them."""
    seen.add(start)
    found = [start]
    for name in found:
        new = [one for one in dict.fromkeys(graph[name]) if one not in seen]
        seen.update(new)
        found += new
    return found
