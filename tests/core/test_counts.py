"""What is counted of the plans that were carried out."""

from dataclasses import replace

import pytest

from reconciler.core.actions import Action, Kill, SaveInstance, Start, Terminate
from reconciler.core.counts import Counts, Histogram
from reconciler.core.history import Instance, Stamp, StopReason, Trigger
from reconciler.core.model import Identity

WHO = Identity("boot", 7, 1)
OPEN = Instance("u1", "chat", "f", 1, 8001, Stamp("boot", 10, 1000))
LATER = Stamp("boot", 13, 1003)
READY = replace(OPEN, ready=LATER, first_ready=LATER)
KILLED = replace(OPEN, ended=LATER, diagnosis="Killed")


def counted(*actions: Action, before: Instance | None = OPEN) -> Counts:
    counts = Counts()
    counts.note(actions, {"chat": before} if before else {})
    return counts


def test_a_histogram_counts_up_to_each_bound() -> None:
    found = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        found.observe(value)
    assert list(found.buckets()) == [("0.1", 2), ("1.0", 3), ("+Inf", 4)]
    assert found.count == 4
    assert found.sum == pytest.approx(7.65)


def test_deeds() -> None:
    start = Start("chat", Trigger.CREATED, 0, 0.0, 8001)
    found = counted(start, start, Terminate("u1", WHO), Kill("u1", WHO), SaveInstance(OPEN))
    assert found.actions == {"start": 2, "terminate": 1, "kill": 1}


@pytest.mark.parametrize(
    ("instance", "before", "ends"),
    [
        (KILLED, OPEN, {("chat", "Killed"): 1}),
        (replace(KILLED, diagnosis=""), OPEN, {("chat", "Unknown"): 1}),
        (replace(KILLED, diagnosis="Hung", stop_reason=StopReason.UNRESPONSIVE), OPEN, {("chat", "Hung"): 1}),
        (replace(KILLED, stop_reason=StopReason.SPEC_CHANGED), OPEN, {}),
        (OPEN, OPEN, {}),
        (KILLED, None, {}),
        (KILLED, replace(OPEN, uid="u2"), {}),
    ],
    ids=["killed", "no cause", "hung", "asked for", "goes on", "known to be over", "another instance"],
)
def test_ends_that_nobody_asked_for(
    instance: Instance, before: Instance | None, ends: dict[tuple[str, str], int]
) -> None:
    assert counted(SaveInstance(instance), before=before).ends == ends


def test_an_end_that_is_saved_twice_in_a_plan_is_one() -> None:
    first = replace(KILLED, diagnosis="")
    assert counted(SaveInstance(first), SaveInstance(KILLED)).ends == {("chat", "Killed"): 1}


@pytest.mark.parametrize(
    ("instance", "before", "seconds"),
    [
        (READY, OPEN, [3]),
        (READY, READY, []),
        (replace(READY, first_ready=Stamp("another", 1, 2000)), OPEN, []),
        (OPEN, OPEN, []),
    ],
    ids=["becomes Ready", "was so before", "another boot", "loads"],
)
def test_how_long_starts_take(instance: Instance, before: Instance, seconds: list[float]) -> None:
    found = counted(SaveInstance(instance), before=before).starts
    assert (found.count, found.sum) == (len(seconds), sum(seconds))


def test_nothing_is_kept_of_servers_that_are_gone() -> None:
    counts = counted(SaveInstance(KILLED))
    counts.forget(frozenset({"chat"}))
    assert counts.ends == {("chat", "Killed"): 1}
    counts.forget(frozenset())
    assert counts.ends == {}
