"""What is remembered of a look at a source, and what people are told: each thing once."""

from dataclasses import replace

import pytest

from reconciler.core import following
from reconciler.core.model import Problem
from reconciler.core.source import Revision, SourceRecord

OLD = Revision("a" * 40, "first", 10.0)
NEW = Revision("b" * 40, "second", 20.0)
EMPTY = SourceRecord("git", "https://example.org/models.git", "branch main")
RECORD = replace(EMPTY, applied=OLD, applied_at=11.0, applied_from=(EMPTY.url, EMPTY.path))
PROBLEM = Problem("git:a.yaml", "expected a number", 3, 5, field="spec.ctx", server="a")


def reasons(outcome: following.Outcome) -> list[str]:
    return [event.reason for event in outcome[1]]


def test_an_error_is_told_once_and_keeps_the_time_it_began() -> None:
    record, events = following.unreachable(RECORD, "RemoteUnreachable", "no answer", 100.0)
    assert [(event.server, event.reason, event.warning) for event in events] == [
        ("source/git", "RemoteUnreachable", True)
    ]
    assert events[0].message == "no answer; aaaaaaaa stays in force"
    again, more = following.unreachable(record, "RemoteUnreachable", "no answer still", 160.0)
    assert not more
    assert (again.error, again.error_since) == ("no answer still", 100.0)
    other = following.unreachable(again, "AuthenticationFailed", "wrong token", 170.0)
    assert reasons(other) == ["AuthenticationFailed"]
    assert other[0].applied == OLD


def test_an_end_of_the_trouble_is_told() -> None:
    down, _ = following.unreachable(RECORD, "RemoteUnreachable", "no answer", 100.0)
    up = following.reached(down, 200.0)
    assert reasons(up) == ["SourceRecovered"]
    assert (up[0].checked_at, up[0].reason, up[0].error, up[0].error_since) == (200.0, "", "", None)
    assert reasons(following.reached(up[0], 260.0)) == []


def test_a_bad_revision_is_told_once() -> None:
    record, events = following.rejected(RECORD, NEW, [PROBLEM])
    assert "bbbbbbbb (second) is not applied, not even in part; aaaaaaaa stays in force" in events[0].message
    assert "git:a.yaml:3:5: spec.ctx: expected a number" in events[0].message
    assert (record.pending, record.problems, record.applied) == (NEW, (str(PROBLEM),), OLD)
    again = following.rejected(record, NEW, [replace(PROBLEM, line=4)])
    assert (reasons(again), again[0].problems) == ([], (str(replace(PROBLEM, line=4)),))
    assert reasons(following.rejected(record, replace(NEW, commit="c" * 40), [PROBLEM])) == ["RevisionRejected"]


def test_a_bad_revision_that_comes_back_is_not_told_again() -> None:
    """After a suspension, or after the branch was set back and forth."""
    record, _ = following.rejected(RECORD, NEW, [PROBLEM])
    rested, _ = following.waiting(replace(record, suspended=True), NEW)
    assert reasons(following.rejected(rested, NEW, [PROBLEM])) == []
    good, _ = following.applied(record, replace(OLD, commit="d" * 40), 1.0, follows=True)
    assert reasons(following.rejected(good, NEW, [PROBLEM])) == []
    for number in range(200):
        record, _ = following.rejected(record, Revision(f"{number:040}"), [PROBLEM])
    assert len(record.told) == following.REMEMBERED


def test_many_problems_are_counted_and_all_remembered() -> None:
    many = [replace(PROBLEM, line=line) for line in range(1, 9)]
    record, events = following.rejected(EMPTY, NEW, many)
    assert events[0].message.endswith("(and 3 more)")
    assert "not even in part; what runs goes on: " in events[0].message
    assert len(record.problems) == 8


def test_of_endless_problems_some_are_remembered() -> None:
    record, events = following.rejected(EMPTY, NEW, [replace(PROBLEM, line=line) for line in range(5000)])
    assert len(record.problems) == 101
    assert record.problems[-1] == "and 4900 more problems"
    assert events[0].message.endswith("(and 4995 more)")


def test_a_good_revision_ends_what_was_pending() -> None:
    refused, _ = following.rejected(RECORD, NEW, [PROBLEM])
    third = Revision("c" * 40, "third", 30.0)
    record, events = following.applied(refused, third, 31.0, follows=True)
    assert [event.reason for event in events] == ["RevisionApplied"]
    assert events[0].message == "cccccccc (third) is in force, before it aaaaaaaa"
    assert (record.applied, record.applied_at, record.pending, record.problems) == (third, 31.0, None, ())


@pytest.mark.parametrize(
    ("before", "told"), [(RECORD, ["HistoryRewritten", "RevisionApplied"]), (EMPTY, ["RevisionApplied"])]
)
def test_rewritten_history_is_told_where_there_was_one(before: SourceRecord, told: list[str]) -> None:
    assert reasons(following.applied(before, NEW, 31.0, follows=False)) == told


def test_a_suspended_source_shows_what_waits() -> None:
    record, events = following.suspended(RECORD)
    assert (record.suspended, [event.reason for event in events]) == (True, ["SourceSuspended"])
    assert reasons(following.suspended(record)) == []
    assert following.waiting(record, NEW)[0].pending == NEW
    assert following.waiting(record, OLD)[0].pending is None


def test_a_resumed_source_is_told_once() -> None:
    record, events = following.resumed(following.suspended(RECORD)[0])
    assert (record.suspended, [event.reason for event in events]) == (False, ["SourceResumed"])
    assert reasons(following.resumed(record)) == []


@pytest.mark.parametrize("change", [{"url": "https://example.org/other.git"}, {"path": "elsewhere"}])
def test_what_was_applied_from_elsewhere_is_not_what_is_followed(change: dict[str, str]) -> None:
    assert RECORD.is_applied(OLD.commit)
    assert not RECORD.is_applied(NEW.commit)
    moved = replace(RECORD, **change)  # type: ignore[arg-type]
    assert not moved.is_applied(OLD.commit)
    assert following.waiting(moved, OLD)[0].pending == OLD
    assert following.applied(moved, OLD, 1.0, follows=True)[0].is_applied(OLD.commit)


def test_names_of_restored_files_cannot_reach_a_terminal_as_they_are() -> None:
    _, events = following.restored(RECORD, ["a\x1b[31m.yaml", *"bcdefg"], "state/git/replaced")
    assert "\x1b" not in events[0].message
    assert "and 2 more" in events[0].message
