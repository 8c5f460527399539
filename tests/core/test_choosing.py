"""Who is wanted while a selection is held, and while labels are edited file by file."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.controller.accepting import desired_of
from reconciler.core.accept import Acceptance
from reconciler.core.kinds import ProfileDocument
from reconciler.core.model import Desired, Document, Problem
from reconciler.core.pruning import LONGEST_DELAY, PRUNE_DELAY
from tests.core.declaring import Judge, profile, texts
from tests.core.worlds import document_of


def labelled(name: str, tier: str, **more: Any) -> Document:
    return replace(document_of(name, **more), labels={"tier": tier})


def by_label(tier: str, name: str = "day", **more: Any) -> ProfileDocument:
    return profile(name, selector={"matchLabels": {"tier": tier}}, active=True, **more)


def wanted(judge: Judge) -> list[str]:
    return sorted(name for name in judge.documents if judge.selection.wants(name))


# ---------------------------------------------------------------- while a selection is held


def held() -> Judge:
    judge = Judge()
    judge.look(0, labelled("a", "x"), labelled("b", "x"), labelled("c", "z"), by_label("x"))
    judge.look(1, labelled("a", "x"), labelled("b", "x"), labelled("c", "z"), by_label("y"))
    assert judge.selection.held
    return judge


def test_the_prune_guard_counts_who_is_wanted_by_a_held_selection() -> None:
    judge = held()
    for now in (2.0, 20.0, 60.0, 100.0):
        acceptance = judge.look(now, labelled("c", "z"), by_label("y"))
        assert sorted(acceptance.prunable) == ["a", "b"]
    assert wanted(judge) == ["a", "b"]


def test_who_is_wanted_by_a_held_selection_may_not_want_one_port() -> None:
    judge = held()
    on_port = [labelled(name, "x", port=8001) for name in "ab"]
    acceptance = judge.look(2, *on_port, labelled("c", "z", port=8001), by_label("y"))
    assert sorted(acceptance.problems) == ["a", "b"]
    assert "c" not in acceptance.problems


def test_a_broken_server_counts_where_the_held_selection_wants_it() -> None:
    acceptance = held().look(2, labelled("b", "x"), labelled("c", "z"), by_label("y"))
    assert (acceptance.names("a"), acceptance.names("new")) == (True, False)


# ---------------------------------------------------------------- labels that change file by file

SERVERS = [f"s{number}" for number in range(6)]


def rename(judge: Judge, old: str, new: str, *, every: float, is_profile_first: bool) -> set[str]:
    """Give all a new label, one file after the other; who was ever left out."""
    now, parked = 100.0, set()
    tiers = dict.fromkeys(SERVERS, old)
    selector = new if is_profile_first else old
    for name in (*SERVERS, ""):
        judge.look(now, *(labelled(one, tier) for one, tier in tiers.items()), by_label(selector))
        parked |= set(SERVERS) - set(wanted(judge))
        now += every
        if name:
            tiers[name] = new
    judge.look(now, *(labelled(one, new) for one in SERVERS), by_label(new))
    return parked | (set(SERVERS) - set(wanted(judge)))


@pytest.mark.parametrize("is_profile_first", [True, False])
@pytest.mark.parametrize("every", [0.01, 0.5, PRUNE_DELAY - 0.1])
def test_labels_that_are_renamed_one_after_the_other_leave_nobody_out(every: float, is_profile_first: bool) -> None:
    judge = Judge()
    judge.look(0, *(labelled(name, "x") for name in SERVERS), by_label("x"))
    assert rename(judge, "x", "y", every=every, is_profile_first=is_profile_first) == set()
    assert judge.selection.held == ""


def look(judge: Judge, now: float, chosen: ProfileDocument, **tiers: str) -> Acceptance:
    return judge.look(now, *(labelled(name, tier) for name, tier in tiers.items()), chosen)


def test_a_label_that_stays_another_one_leaves_its_server_out_after_the_delay() -> None:
    judge = Judge()
    look(judge, 0, by_label("x"), a="x", b="x", c="z")
    acceptance = look(judge, 10, by_label("x"), a="x", b="y", c="x")
    assert (wanted(judge), acceptance.wake_at) == (["a", "b"], 10 + PRUNE_DELAY)
    acceptance = look(judge, 10 + PRUNE_DELAY, by_label("x"), a="x", b="y", c="x")
    assert (wanted(judge), acceptance.wake_at) == (["a", "c"], None)


def test_labels_that_come_and_go_are_followed_at_last() -> None:
    judge = Judge()
    look(judge, 0, by_label("x"), a="x", b="x", c="x")
    now = 1.0
    while wanted(judge) == ["a", "b", "c"]:
        look(judge, now, by_label("x"), a="x", b="y", c="y" if int(now) % 2 else "x")
        now += 1
        assert now <= 2 + LONGEST_DELAY
    assert now > LONGEST_DELAY


def test_the_next_controller_goes_on_waiting() -> None:
    judge = Judge()
    look(judge, 0, by_label("x"), a="x", b="x")
    look(judge, 1, by_label("x"), a="x", b="y")
    after = Judge(judge.documents, judge.others, selection=judge.selection)
    look(after, 50, by_label("x"), a="x", b="y")
    assert wanted(after) == ["a", "b"]
    look(after, 50 + PRUNE_DELAY, by_label("x"), a="x", b="y")
    assert wanted(after) == ["a"]


def test_what_is_meant_is_done_at_once() -> None:
    judge, tiers = Judge(), {"a": "x", "b": "x", "c": "z"}
    look(judge, 0, by_label("x", servers=["c"]), **tiers)
    look(judge, 1, by_label("x"), **tiers)
    assert wanted(judge) == ["a", "b"]  # a name was taken out of the profile
    judge.asked = "day"
    look(judge, 2, by_label("z"), **tiers)
    assert wanted(judge) == ["c"]  # a person asked for it
    judge.asked = None
    judge.look(3, *(labelled(name, tier) for name, tier in tiers.items()), profile("day"), by_label("x", "night"))
    assert wanted(judge) == ["a", "b"]  # another profile is active
    assert texts(look(judge, 4, by_label("x", "night"), **tiers)) == []


# ---------------------------------------------------------------- servers with an error


@pytest.mark.parametrize(
    ("labels", "is_wanted"), [({"tier": "x"}, True), ({"tier": "y"}, False), ({}, False), (None, True)]
)
def test_a_broken_newcomer_counts_where_the_active_profile_may_select_it(
    labels: dict[str, str] | None, is_wanted: bool
) -> None:
    broken = Problem("new.yaml", "expected a number", 6, 9, "spec.ctx", "new", "LlamaServer", labels=labels)
    judge = Judge()
    acceptance = judge.look(0, labelled("a", "x"), by_label("x"), problems=(broken,))
    assert acceptance.names("new") is is_wanted
    assert desired_of(acceptance, Desired({})).broken == ({"new"} if is_wanted else set())


def test_one_whose_labels_cannot_be_read_belongs_to_no_profile_without_a_selector() -> None:
    broken = Problem("new.yaml", "this is not YAML", 6, 9, server="new", kind="LlamaServer")
    day = profile("day", servers=["a"], active=True)
    assert not Judge().look(0, labelled("a", "x"), day, problems=(broken,)).names("new")
