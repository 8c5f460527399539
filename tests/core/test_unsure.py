"""Profiles and defaults that are missing, and stay in force: by accident, or because their removal would harm."""

from dataclasses import replace

import pytest

from reconciler.core.kinds import OtherDocument
from reconciler.core.pruning import LONGEST_DELAY
from reconciler.core.source import GIT
from tests.core.declaring import Judge, defaults, profile
from tests.core.worlds import document_of

A, B = document_of("a"), document_of("b")
DAY = profile("day", "manifests/shared/day.yaml", servers=["a"], active=True)
ALL = replace(defaults("all", {"threads": 2}), file="manifests/shared/all.yaml")
WITH, WITHOUT = {"manifests": 1, "manifests/shared": 1}, {"manifests": 1}
LATER = 2 * LONGEST_DELAY


@pytest.mark.parametrize("document", [DAY, ALL])
def test_what_is_gone_with_its_whole_folder_stays_until_a_person_confirms_it(document: OtherDocument) -> None:
    judge = Judge()
    judge.look(0, A, B, document, devices=WITH)
    for now in (1.0, 11.0, LATER):
        acceptance = judge.look(now, A, B, devices=WITHOUT)
        assert (list(judge.others), acceptance.prunable) == ([document.key], (document.key,))
    assert acceptance.held[document.key] == (
        "not removed, for its whole folder manifests/shared is gone: bring it back; "
        "if this is meant, confirm it with: reconciler apply --prune"
    )
    judge.look(LATER + 1, A, B, devices=WITHOUT, confirmed=frozenset({document.key}))
    assert judge.others == {}


def test_what_is_gone_from_a_folder_that_is_there_is_gone() -> None:
    judge = Judge()
    judge.look(0, A, DAY, devices=WITH)
    judge.look(1, A, devices=WITH)
    judge.look(LATER, A, devices=WITH)
    assert judge.others == {}


def test_what_is_found_in_another_folder_is_not_missing() -> None:
    judge = Judge()
    judge.look(0, A, DAY, devices=WITH)
    judge.look(1, A, replace(DAY, file="manifests/day.yaml"), devices=WITHOUT)
    assert judge.others["Profile/day"].file == "manifests/day.yaml"


def test_what_comes_from_git_has_no_folder() -> None:
    judge, from_git = Judge(), replace(ALL, origin=GIT, file="git:shared/all.yaml")
    judge.look(0, A, replace(B, origin=GIT, file="git:b.yaml"), from_git, devices=WITHOUT)
    judge.look(1, A, replace(B, origin=GIT, file="git:b.yaml"), devices=WITHOUT)
    judge.look(LATER, A, replace(B, origin=GIT, file="git:b.yaml"), devices=WITHOUT)
    assert judge.others == {}


# ---------------------------------------------------------------- an active profile without which two would want a port

X, Y = document_of("x", port=9001), document_of("y", port=9001)


def without_day(*left: OtherDocument) -> tuple[Judge, str]:
    """The active profile's document goes; why it stays."""
    judge = Judge()
    judge.look(0, X, Y, profile("day", servers=["x"], active=True), profile("night", servers=["y"]))
    for now in (1.0, 11.0, LATER):
        acceptance = judge.look(now, X, Y, *left)
    return judge, acceptance.held.get("Profile/day", "")


def test_the_active_profile_stays_while_servers_would_want_one_port_without_it() -> None:
    judge, why = without_day(profile("night", servers=["y"]))
    assert (judge.selection.profile, judge.selection.names) == ("day", frozenset({"x"}))
    assert why == (
        "not removed: with no active profile servers 'x' (x.yaml:1) and 'y' (y.yaml:1) would both want port 9001; "
        "give one of them another port, or port: auto"
    )
    judge.look(LATER + 1, X, Y, profile("night", servers=["y"]), confirmed=frozenset({"Profile/day"}))
    assert judge.selection.profile == "day"
    moved = document_of("y", port=9002)
    for now in (LATER + 2, 2 * LATER):
        judge.look(now, X, moved, profile("night", servers=["y"]))
    assert judge.selection.names is None


@pytest.mark.parametrize("servers", [["y"], ["x"]])
def test_it_goes_where_another_profile_takes_its_place(servers: list[str]) -> None:
    judge, why = without_day(profile("night", servers=servers, active=True))
    assert (judge.selection.profile, judge.selection.names, why) == ("night", frozenset(servers), "")


def test_it_stays_where_the_one_in_its_place_would_want_a_port_twice() -> None:
    judge, why = without_day(profile("night", servers=["x", "y"], active=True))
    assert (judge.selection.profile, "with profile 'night'" in why) == ("day", True)
