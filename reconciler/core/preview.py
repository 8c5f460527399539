"""What would happen: for each server the action, why, and what changes field by field."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.core.accept import Acceptance, Seen, accept
from reconciler.core.history import History, Requests
from reconciler.core.model import Document
from reconciler.core.pruning import LONG_DELAY, Memory
from reconciler.core.spec import ServerSpec, dump_spec

ABSENT = None


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field that differs; None where it is not written."""

    path: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Change:
    """What would happen to one server."""

    server: str
    action: str
    """start, restart, update (nothing restarts), stop, hold, invalid, unchanged."""
    reason: str
    fields: tuple[FieldChange, ...] = ()


def preview(
    accepted: Mapping[str, Document],
    seen: Seen,
    history: History,
    requests: Requests,
    fingerprint: Callable[[ServerSpec], str],
) -> tuple[tuple[Change, ...], Acceptance]:
    """The changes that this look at the manifests would lead to. Documents that are missing count as gone."""
    first = accept(accepted, seen, Memory(), -LONG_DELAY)
    acceptance = accept(accepted, seen, first.memory, 0.0)
    names = sorted({*accepted, *acceptance.documents, *acceptance.problems})
    return tuple(_change(name, accepted, acceptance, history, requests, fingerprint) for name in names), acceptance


def compare(
    before: Mapping[str, Document], after: Mapping[str, Document], fingerprint: Callable[[ServerSpec], str]
) -> tuple[Change, ...]:
    """The same without a machine: what would happen where all that `before` declares runs as it says."""
    return tuple(
        _declared_change(name, before.get(name), after.get(name), fingerprint) for name in sorted({*before, *after})
    )


def _declared_change(
    name: str, before: Document | None, after: Document | None, fingerprint: Callable[[ServerSpec], str]
) -> Change:
    if after is None:
        return Change(name, "stop", "its document is gone")
    fields = _document_changes(before, after)
    runs = before is not None and not before.spec.suspend
    if after.spec.suspend:
        return Change(
            name, "stop" if runs else "update" if fields else "unchanged", "suspended by its manifest", fields
        )
    if before is None or not runs:
        return Change(name, "start", "new" if before is None else "no longer suspended", fields)
    if fingerprint(before.spec) != fingerprint(after.spec):
        changed = [field.path.removeprefix("spec.") for field in fields if field.path.startswith("spec.")]
        return Change(name, "restart", f"{', '.join(changed) or 'the command line'} changed", fields)
    return Change(name, "update", "nothing restarts", fields) if fields else Change(name, "unchanged", "")


def _change(
    name: str,
    accepted: Mapping[str, Document],
    acceptance: Acceptance,
    history: History,
    requests: Requests,
    fingerprint: Callable[[ServerSpec], str],
) -> Change:
    before, after = accepted.get(name), acceptance.documents.get(name)
    instance = history.instances.get(name)
    if name in acceptance.problems:
        return Change(name, "invalid", "; ".join(str(problem) for problem in acceptance.problems[name]))
    if after is None or name in acceptance.held:
        held = acceptance.held.get(name)
        return Change(name, "hold", held) if held else Change(name, "stop", "its document is gone")
    if after.spec.suspend:
        fields = _document_changes(before, after)
        running = "suspended by its manifest"
        return Change(name, "stop" if instance else "update" if fields else "unchanged", running, fields)
    if instance is None:
        return _idle_change(name, before, after, history, requests)
    if instance.fingerprint != fingerprint(after.spec):
        fields = _spec_changes(instance.spec, dump_spec(after.spec))
        changed = ", ".join(field.path.removeprefix("spec.") for field in fields) or "the command line"
        return Change(name, "restart", f"{changed} changed", fields or _document_changes(before, after))
    fields = _document_changes(before, after)
    return Change(name, "update", "nothing restarts", fields) if fields else Change(name, "unchanged", "")


def _idle_change(name: str, before: Document | None, after: Document, history: History, requests: Requests) -> Change:
    record = history.servers.get(name)
    if name in requests.stop:
        fields = _document_changes(before, after)
        return Change(name, "update" if fields else "unchanged", "stopped by request", fields)
    if before is None:
        return Change(name, "start", "new", _document_changes(None, after))
    fields = _document_changes(before, after)
    rests = record is not None and (record.failed is not None or record.completed)
    if rests and not fields:
        return Change(name, "unchanged", "it has failed or completed")
    return Change(name, "start", "changed" if fields else "not running", fields)


def _document_changes(before: Document | None, after: Document) -> tuple[FieldChange, ...]:
    old = dump_spec(before.spec) if before else {}
    metadata = [
        change
        for part in ("labels", "annotations")
        for change in _differences(f"metadata.{part}", getattr(before, part, {}), getattr(after, part))
    ]
    return (*_spec_changes(old, dump_spec(after.spec)), *metadata)


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
