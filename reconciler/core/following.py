"""How a look at a source ends: what is remembered of it afterwards, and what people are told. Each thing once."""

from collections.abc import Sequence
from dataclasses import replace

from reconciler.core.actions import Event
from reconciler.core.clean import clean, escaped
from reconciler.core.model import Problem
from reconciler.core.source import Revision, SourceRecord, event_object

SHOWN = 5
"""Problems or files that an event names."""
REMEMBERED = 50
"""Commits of which it is remembered that people were told their errors."""
KEPT = 100
"""Problems of a revision that are remembered; the others are counted."""

Outcome = tuple[SourceRecord, list[Event]]
Problems = Sequence[Problem]


def _event(record: SourceRecord, reason: str, message: str, *, warning: bool = False) -> Event:
    return Event(event_object(record.name), reason, message, warning=warning)


def unreachable(record: SourceRecord, reason: str, error: str, wall: float) -> Outcome:
    """The look went wrong. Told when it begins and when its cause changes, not each time."""
    error = clean(error)
    told = f"{error}; {record.applied.short} stays in force" if record.applied else error
    events = [] if reason == record.reason else [_event(record, reason, told, warning=True)]
    return replace(record, reason=reason, error=error, error_since=record.error_since or wall), events


def reached(record: SourceRecord, wall: float) -> Outcome:
    """The look went well."""
    told = f"{record.ref} of {record.url} can be read again"
    events = [_event(record, "SourceRecovered", told)] if record.reason else []
    return replace(record, checked_at=wall, reason="", error="", error_since=None), events


def unchanged(record: SourceRecord) -> Outcome:
    """What the remote has is in force."""
    return replace(record, pending=None, problems=()), []


def waiting(record: SourceRecord, found: Revision) -> Outcome:
    """The source is suspended: what the remote has is shown, and waits."""
    pending = None if record.is_applied(found.commit) else found
    return replace(record, pending=pending, problems=()), []


def rejected(record: SourceRecord, found: Revision, problems: Problems) -> Outcome:
    """A revision with errors is not applied, not even in part. Each commit is told once, however it comes back."""
    texts = tuple(clean(str(problem)) for problem in problems[:KEPT])
    if len(problems) > KEPT:
        texts += (f"and {len(problems) - KEPT} more problems",)
    stays = f"{record.applied.short} stays in force" if record.applied else "what runs goes on"
    more = f" (and {len(problems) - SHOWN} more)" if len(problems) > SHOWN else ""
    told = f"{found} is not applied, not even in part; {stays}: {'; '.join(texts[:SHOWN])}{more}"
    record = replace(record, pending=found, problems=texts)
    if found.commit in record.told:
        return record, []
    known = (*record.told, found.commit)[-REMEMBERED:]
    return replace(record, told=known), [_event(record, "RevisionRejected", told, warning=True)]


def applied(record: SourceRecord, found: Revision, wall: float, *, follows: bool) -> Outcome:
    """A revision is put in force; `follows`: the one before it is in its history."""
    before, events = record.applied, []
    if before is not None and not follows:
        told = (
            f"{before.short} is not among the last commits before {found.short}: the history was rewritten, or has "
            "gone far ahead; it is followed all the same"
        )
        events.append(_event(record, "HistoryRewritten", told, warning=True))
    told = f"{found} is in force" + (f", before it {before.short}" if before else "")
    events.append(_event(record, "RevisionApplied", told))
    put = replace(record, applied=found, applied_at=wall, applied_from=(record.url, record.path))
    return replace(put, pending=None, problems=()), events


def suspended(record: SourceRecord) -> Outcome:
    """A person suspended it."""
    told = f"no further revision is put in force; go on with: reconciler resume source {record.name}"
    return replace(record, suspended=True), [] if record.suspended else [_event(record, "SourceSuspended", told)]


def resumed(record: SourceRecord) -> Outcome:
    """A person lets it go on."""
    told = "what the remote has is put in force again"
    return replace(record, suspended=False), [_event(record, "SourceResumed", told)] if record.suspended else []


def restored(record: SourceRecord, files: Sequence[str], kept: str) -> Outcome:
    """Somebody changed synced files; `kept` is where theirs are now."""
    names = ", ".join(escaped(name) for name in files[:SHOWN])
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    told = f"put back as in the repository, where it is to be edited: {names}{more}; what stood here is kept in {kept}"
    return record, [_event(record, "SyncedFilesRestored", told, warning=True)]
