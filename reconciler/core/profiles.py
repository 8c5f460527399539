"""Which profiles are in force, and which servers the active one selects."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from reconciler.core.candidates import Problems, problem_of
from reconciler.core.clashes import clashing
from reconciler.core.kinds import Others, ProfileDocument, dump_other, say_the_same
from reconciler.core.model import Document, Problem
from reconciler.core.selection import belongs

_Profiles = dict[str, ProfileDocument]


def profiles_in_force(
    accepted: Others, candidates: Mapping[str, ProfileDocument], known: Collection[str], problems: Problems
) -> _Profiles:
    """The newest ones that may be: they name `known` servers, and at most one of them is active.

    One with an error gives way to its last accepted form, and so does one that becomes active while the one before it
    has just gone missing: that may be back in a moment. Keys are those of documents.
    """
    there = candidates.keys() | problems.keys()
    before = {key: one for key, one in accepted.items() if isinstance(one, ProfileDocument)}
    effective = {**before, **candidates}
    for key, document in candidates.items():
        if unknown := [name for name in document.spec.servers if name not in known]:
            message = f"no manifest declares {listed(unknown)}: declare it, or take the name out"
            problems[key].append(problem_of(document, message, "spec.servers"))
            _give_way(key, before, effective)
    while len(active := [key for key, document in effective.items() if document.spec.active]) > 1:
        for key in active:
            rivals = [effective[other] for other in active if other != key and other in there]
            if rivals and key in there:
                problems[key].append(problem_of(effective[key], _rivalry(rivals), "spec.active"))
        yielding = [key for key in active if _is_changed(key, before, effective)]
        if not yielding:
            break
        for key in yielding:
            _give_way(key, before, effective)
    return effective


def active_of(profiles: Iterable[object]) -> ProfileDocument | None:
    """The active profile, if there is one."""
    active = (one for one in profiles if isinstance(one, ProfileDocument) and one.spec.active)
    return min(active, key=lambda one: one.name, default=None)


def members(profile: ProfileDocument, documents: Iterable[Document]) -> frozenset[str]:
    """The servers that a profile selects."""
    spec = dump_other(profile)
    return frozenset(one.name for one in documents if belongs(spec, one.name, one.labels))


def may_select(profile: ProfileDocument, broken: Problem) -> bool:
    """Whether the profile selects a server with an error; one whose labels cannot be read may bear any."""
    if broken.labels is None:
        return profile.spec.selector is not None or broken.server in profile.spec.servers
    return belongs(dump_other(profile), broken.server, broken.labels)


def clashes_elsewhere(others: Iterable[object], documents: Collection[Document]) -> list[Problem]:
    """What would be wrong with another profile, or with none: servers that never ran at once may want one port."""
    profiles = sorted((one for one in others if isinstance(one, ProfileDocument)), key=lambda one: one.name)
    active = active_of(profiles)
    found = []
    for profile in profiles:
        names = members(profile, documents)
        for one, rival in clashing(document for document in documents if document.name in names):
            if profile is not active and one.name < rival.name:
                found.append(problem_of(profile, f"were it active, {_both(one, rival)}", "spec"))
    if active is not None:
        found += [
            problem_of(active, f"were no profile active, {_both(one, rival)}", "spec.active")
            for one, rival in clashing(documents)
            if one.name < rival.name
        ]
    return found


def _both(one: Document, rival: Document) -> str:
    return (
        f"servers '{one.name}' ({one.file}:{one.line}) and '{rival.name}' ({rival.file}:{rival.line}) would both want "
        f"port {one.spec.port}; give one of them another port, or port: auto"
    )


def without_surprises(
    accepted: Mapping[str, Document], servers: Mapping[str, Document], before: Others, profiles: _Profiles
) -> tuple[_Profiles, dict[str, Problem]]:
    """A change of profiles gives way, where servers that did not change would want one port by it.

    What may be in force, and by key what is wrong.
    """
    former = {key: one for key, one in before.items() if isinstance(one, ProfileDocument)}
    old, new = active_of(former.values()), active_of(profiles.values())
    changed = [one.key for one in (old, new) if one and _is_changed(one.key, former, profiles)]
    same = [one for name, one in servers.items() if name in accepted and one.says_the_same(accepted[name])]
    names = members(new, same) if new else {one.name for one in same}
    names_before = members(old, same) if old else {one.name for one in same}
    for one, rival in clashing(document for document in same if changed and document.name in names):
        if names_before.issuperset((one.name, rival.name)):
            continue
        who = f"profile '{new.name}'" if new else "no active profile"
        message = f"with {who} {_both(one, rival)}"
        return former, {key: problem_of({**former, **profiles}[key], message, "spec") for key in changed}
    return profiles, {}


def _give_way(key: str, before: Mapping[str, ProfileDocument], effective: _Profiles) -> None:
    if key in before:
        effective[key] = before[key]
    else:
        effective.pop(key, None)


def _is_changed(key: str, before: Mapping[str, ProfileDocument], effective: _Profiles) -> bool:
    return not (key in before and key in effective and say_the_same(before[key], effective[key]))


def _rivalry(others: Sequence[ProfileDocument]) -> str:
    places = listed([f"{one.name} ({one.file}:{one.line})" for one in others], quote="")
    return f"{places} is active too; at most one may be: reconciler profile use {others[0].name}"


def listed(names: Collection[str], quote: str = "'") -> str:
    """Some of them by name, and how many more there are."""
    few = [f"{quote}{name}{quote}" for name in list(names)[:5]]
    return ", ".join(few) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
