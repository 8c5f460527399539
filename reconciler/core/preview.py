"""What would happen: for each server the action, why, and what changes field by field."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from reconciler.core.accept import Acceptance, Beside, Seen, accept
from reconciler.core.history import History, Instance, Requests
from reconciler.core.model import Document
from reconciler.core.pruning import LONG_DELAY, Memory
from reconciler.core.selection import Selection
from reconciler.core.spec import ServerSpec, dump_spec

ABSENT = None
SUSPENDED = "suspended by its manifest"
"""Why a server does not run that its own document, or its defaults, let rest."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field that differs; None where it is not written."""

    path: str
    old: Any
    new: Any
    source: str = ""
    """Name of the LlamaServerDefaults that the value comes from, or came from; empty for the server's own."""


@dataclass(frozen=True, slots=True)
class Change:
    """What would happen to one server."""

    server: str
    action: str
    """start, restart, update (nothing restarts), stop, hold, invalid, unchanged."""
    reason: str
    fields: tuple[FieldChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand before."""

    accepted: Mapping[str, Document]
    history: History
    requests: Requests
    beside: Beside = field(default_factory=Beside)


def preview(
    standing: Standing,
    seen: Seen,
    fingerprint: Callable[[ServerSpec], str],
    confirmed: frozenset[str] = frozenset(),
) -> tuple[tuple[Change, ...], Acceptance]:
    """The changes that this look at the manifests would lead to. Documents that are missing count as gone.

    `confirmed` are those whose removal a person means.
    """
    accepted, beside = standing.accepted, standing.beside
    first = accept(accepted, seen, Memory(), -LONG_DELAY, beside=beside)
    acceptance = accept(accepted, seen, first.memory, 0.0, confirmed, beside)
    names = sorted({*accepted, *acceptance.documents, *acceptance.problems, *acceptance.postponed})
    return tuple(_change(name, standing, acceptance, fingerprint) for name in names), acceptance


@dataclass(frozen=True, slots=True)
class Declared:
    """What manifests declare, as if a machine had nothing else."""

    documents: Mapping[str, Document]
    selection: Selection = field(default_factory=Selection)

    def why_not(self, name: str) -> str:
        """Why a server that is declared does not run; empty where it does."""
        suspended = name in self.documents and self.documents[name].spec.suspend
        return SUSPENDED if suspended else self.selection.parked(name)


def compare(before: Declared, after: Declared, fingerprint: Callable[[ServerSpec], str]) -> tuple[Change, ...]:
    """The same without a machine: what would happen where all that `before` declares runs as it says."""
    names = sorted({*before.documents, *after.documents})
    return tuple(_declared_change(name, before, after, fingerprint) for name in names)


def _declared_change(name: str, former: Declared, later: Declared, fingerprint: Callable[[ServerSpec], str]) -> Change:
    before, after = former.documents.get(name), later.documents.get(name)
    if after is None:
        return Change(name, "stop", "its document is gone")
    fields = _document_changes(before, after)
    runs = before is not None and not former.why_not(name)
    if why := later.why_not(name):
        return Change(name, "stop" if runs else "update" if fields else "unchanged", why, fields)
    if before is None:
        return Change(name, "start", "new", fields)
    if not runs:
        again = "no longer suspended" if before.spec.suspend else _wanted_by(later.selection)
        return Change(name, "start", again, fields)
    if fingerprint(before.spec) != fingerprint(after.spec):
        return _restart(name, dump_spec(before.spec), before, after, fingerprint)
    return Change(name, "update", "nothing restarts", fields) if fields else Change(name, "unchanged", "")


def _wanted_by(selection: Selection) -> str:
    return "the active profile wants it" if selection.profile else "no profile is active any more"


def _restart(
    name: str,
    runs: Mapping[str, Any],
    before: Document | None,
    after: Document,
    fingerprint: Callable[[ServerSpec], str],
) -> Change:
    """The restart that a changed fingerprint leads to; `runs` is the spec of what runs.

    Only what restarts is compared with that: other fields may have been changed since, and be in force.
    """
    causes = _causes(runs, after.spec, fingerprint)
    accepted = dump_spec(before.spec) if before else {}
    old = {key: value for key, value in accepted.items() if key not in causes}
    fields = _document_changes(before, after, old | {key: runs[key] for key in causes & runs.keys()})
    restarting = [one for one in fields if one.path.startswith("spec.") and one.path.split(".")[1] in causes]
    changed = ", ".join(one.path.removeprefix("spec.") for one in restarting) or "the command line"
    return Change(name, "restart", f"{changed} changed{_by(restarting)}", fields)


def _causes(runs: Mapping[str, Any], wanted: ServerSpec, fingerprint: Callable[[ServerSpec], str]) -> frozenset[str]:
    """The fields of a spec that make its fingerprint another than that of what runs."""
    new, its = dump_spec(wanted), fingerprint(wanted)
    causes = set()
    for key in {*runs, *new} if runs else ():
        if repr(runs.get(key, ABSENT)) == repr(new.get(key, ABSENT)):
            continue
        one_back = {other: value for other, value in new.items() if other != key}
        one_back |= {key: runs[key]} if key in runs else {}
        try:
            if fingerprint(ServerSpec.model_validate(one_back)) != its:
                causes.add(key)
        except ValidationError:
            causes.add(key)
    return frozenset(causes)


def _change(name: str, standing: Standing, acceptance: Acceptance, fingerprint: Callable[[ServerSpec], str]) -> Change:
    if not (problems := acceptance.problems.get(name)):
        return _valid_change(name, standing, acceptance, fingerprint)
    # What was accepted last of it is in force, and defaults or a profile may change what comes of that.
    if name in acceptance.documents:
        found = _valid_change(name, standing, acceptance, fingerprint)
        if found.action != "unchanged":
            return replace(found, reason=f"{found.reason}; its own document has an error, and stays as accepted last")
    return Change(name, "invalid", "; ".join(str(problem) for problem in problems))


def _valid_change(
    name: str, standing: Standing, acceptance: Acceptance, fingerprint: Callable[[ServerSpec], str]
) -> Change:
    before, after = standing.accepted.get(name), acceptance.documents.get(name)
    instance = standing.history.instances.get(name)
    if name in acceptance.postponed:
        return Change(name, "hold", acceptance.postponed[name].message)
    if after is None or name in acceptance.held:
        held = acceptance.held.get(name)
        return Change(name, "hold", held) if held else Change(name, "stop", "its document is gone")
    if rests := SUSPENDED if after.spec.suspend else acceptance.parked(name):
        fields = _document_changes(before, after)
        return Change(name, "stop" if instance else "update" if fields else "unchanged", rests, fields)
    if instance is None:
        return _idle_change(name, before, after, standing, acceptance.selection)
    if instance.fingerprint != fingerprint(after.spec):
        return _restart(name, instance.spec, before, after, fingerprint)
    fields = _document_changes(before, after)
    return _change_of_policies(name, instance, after, fields) if fields else Change(name, "unchanged", "")


def _change_of_policies(name: str, instance: Instance, after: Document, fields: tuple[FieldChange, ...]) -> Change:
    """What comes of a change that is none of the command line."""
    if instance.step and dict(instance.spec) != dump_spec(after.spec):
        told = f"it runs on a fallback step ({instance.step_told}), and is tried as declared again"
        return Change(name, "restart", told, fields)
    return Change(name, "update", "nothing restarts", fields)


def _idle_change(
    name: str, before: Document | None, after: Document, standing: Standing, selection: Selection
) -> Change:
    record = standing.history.servers.get(name)
    if name in standing.requests.stop:
        fields = _document_changes(before, after)
        return Change(name, "update" if fields else "unchanged", "stopped by request", fields)
    if before is None:
        return Change(name, "start", "new", _document_changes(None, after))
    fields = _document_changes(before, after)
    if not standing.beside.selection.wants(name):
        return Change(name, "start", _wanted_by(selection), fields)
    rests = record is not None and (record.failed is not None or record.completed)
    if rests and not fields:
        return Change(name, "unchanged", "it has failed or completed")
    return Change(name, "start", "changed" if fields else "not running", fields)


def _document_changes(
    before: Document | None, after: Document, spec: Mapping[str, Any] | None = None
) -> tuple[FieldChange, ...]:
    """What differs; `spec` is to be compared with, in place of that of `before`."""
    old = spec if spec is not None else dump_spec(before.spec) if before else {}
    metadata = [
        change
        for part in ("labels", "annotations")
        for change in _differences(f"metadata.{part}", getattr(before, part, {}), getattr(after, part))
    ]
    return (*_with_source(_spec_changes(old, dump_spec(after.spec)), before, after), *metadata)


def _with_source(fields: Iterable[FieldChange], before: Document | None, after: Document) -> tuple[FieldChange, ...]:
    """With the names of the defaults that a new value comes from, or an old one came from."""
    was = before.came_from if before else {}
    return tuple(
        replace(one, source=source) if (source := after.came_from.get(one.path) or was.get(one.path)) else one
        for one in fields
    )


def _by(fields: Iterable[FieldChange]) -> str:
    """The defaults that changes come from, behind what changed."""
    names = sorted({one.source for one in fields if one.source})
    return f" (from LlamaServerDefaults {', '.join(names)})" if names else ""


def _spec_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    return tuple(_differences("spec", old, new))


def _differences(path: str, old: Any, new: Any) -> Iterable[FieldChange]:
    """Mappings are compared key by key; everything else as a whole."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _differences(f"{path}.{key}", old.get(key, ABSENT), new.get(key, ABSENT))
    elif isinstance(new, Mapping) and old is ABSENT and new:
        yield from _differences(path, {}, new)
    elif isinstance(old, Mapping) and new is ABSENT and old:
        yield from _differences(path, old, {})
    elif repr(old) != repr(new):
        # 1 and true are equal in Python, but not on a command line.
        yield FieldChange(path, old, new)
