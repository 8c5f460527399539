"""Which servers the active profile wants, and what holds a selection that is no good."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.kinds import OTHER_KINDS
from reconciler.core.model import Document, Problem
from reconciler.core.profiles import clashes_elsewhere
from reconciler.core.pruning import PRUNE_DELAY
from reconciler.core.selection import belongs
from tests.core.declaring import Judge, defaults, profile, texts
from tests.core.worlds import document_of

A, B, C = document_of("a"), document_of("b"), document_of("c")


def day(*servers: str, active: bool = True, **more: Any) -> Any:
    return profile("day", servers=list(servers), active=active, **more)


def night(*servers: str, active: bool = True, **more: Any) -> Any:
    return profile("night", servers=list(servers), active=active, **more)


def wanted(judge: Judge) -> list[str]:
    return sorted(name for name in judge.documents if judge.selection.wants(name))


@pytest.mark.parametrize(
    ("spec", "labels", "is_member"),
    [
        ({"servers": ["a"]}, {}, True),
        ({"servers": ["b"]}, {}, False),
        ({}, {}, False),
        ({"selector": {}}, {}, True),
        ({"selector": {"matchLabels": {"x": "1"}}}, {"x": "1", "y": "2"}, True),
        ({"selector": {"matchLabels": {"x": "1", "y": "1"}}}, {"x": "1", "y": "2"}, False),
        ({"servers": ["b"], "selector": {"matchLabels": {"x": "1"}}}, {"x": "1"}, True),
        ({"servers": ["a"], "selector": {"matchLabels": {"x": "1"}}}, {}, True),
    ],
)
def test_a_profile_has_the_servers_it_names_and_those_it_selects(
    spec: dict[str, Any], labels: dict[str, str], is_member: bool
) -> None:
    assert belongs(spec, "a", labels) is is_member


def test_without_an_active_profile_all_are_wanted() -> None:
    judge = Judge()
    judge.look(0, A, B, day("a", active=False))
    assert wanted(judge) == ["a", "b"]
    assert judge.selection.profile == ""


def test_an_active_one_parks_the_others_and_says_so() -> None:
    judge = Judge()
    acceptance = judge.look(0, A, B, day("a"))
    assert wanted(judge) == ["a"]
    assert acceptance.parked("b").startswith("the active profile 'day' leaves it out; ")
    assert "reconciler profile use --none" in acceptance.parked("b")
    assert judge.look(1, A, B, day("a", active=False)).parked("b") == ""


def test_a_profile_that_names_nobody_known_is_refused_and_the_last_one_stays() -> None:
    judge = Judge()
    judge.look(0, A, B, day("a"))
    acceptance = judge.look(1, A, B, day("b", "x"))
    assert texts(acceptance) == [
        "day.yaml:1:1: spec.servers: no manifest declares 'x': declare it, or take the name out"
    ]
    assert wanted(judge) == ["a"]
    assert acceptance.others_changed == ()


def test_a_server_whose_document_is_broken_is_known() -> None:
    broken = Problem("x.yaml", "expected a number", 6, 9, "spec.ctx", "x", "LlamaServer")
    judge = Judge()
    acceptance = judge.look(0, A, B, day("a", "x"), problems=(broken,))
    assert acceptance.other_problems == {}
    assert wanted(judge) == ["a"]


def test_a_second_active_one_is_refused_on_both_and_the_first_stays() -> None:
    judge = Judge()
    judge.look(0, A, B, day("a"), night("b", active=False))
    acceptance = judge.look(1, A, B, day("a"), night("b"))
    assert texts(acceptance) == [
        (
            "day.yaml:1:1: spec.active: night (night.yaml:1) is active too; "
            "at most one may be: reconciler profile use night"
        ),
        "night.yaml:1:1: spec.active: day (day.yaml:1) is active too; at most one may be: reconciler profile use day",
    ]
    assert wanted(judge) == ["a"]


def test_two_that_are_new_and_active_are_both_refused() -> None:
    judge = Judge()
    acceptance = judge.look(0, A, B, day("a"), night("b"))
    assert sorted(acceptance.other_problems) == ["Profile/day", "Profile/night"]
    assert acceptance.others == {}
    assert wanted(judge) == []


def test_one_is_switched_for_the_other_in_one_look() -> None:
    judge = Judge()
    judge.look(0, A, B, day("a"), night("b", active=False))
    acceptance = judge.look(1, A, B, day("a", active=False), night("b", switch="StartFirst"))
    assert texts(acceptance) == []
    assert (wanted(judge), judge.selection.profile, judge.selection.switch) == (["b"], "night", "StartFirst")


def test_a_refused_change_of_the_old_one_keeps_the_new_one_from_being_active() -> None:
    judge = Judge()
    judge.look(0, A, B, day("a"), night("b", active=False))
    acceptance = judge.look(1, A, B, day("a", "x", active=False), night("b"))
    assert sorted(acceptance.other_problems) == ["Profile/day", "Profile/night"]
    assert wanted(judge) == ["a"]


def test_the_active_one_in_a_file_that_is_renamed_to_another_name_is_followed_after_the_delay() -> None:
    judge = Judge()
    judge.look(0, A, B, profile("day", "p.yaml", servers=["a"], active=True))
    renamed = profile("week", "p.yaml", servers=["a", "b"], active=True)
    acceptance = judge.look(1, A, B, renamed)
    assert (texts(acceptance), wanted(judge)) == ([], ["a"])
    assert acceptance.wake_at is not None
    acceptance = judge.look(1 + PRUNE_DELAY, A, B, renamed)
    assert (texts(acceptance), wanted(judge)) == ([], ["a", "b"])
    assert acceptance.others_removed == ("Profile/day",)


# ---------------------------------------------------------------- a selection that becomes empty


def labelled(name: str, **labels: str) -> Document:
    return replace(document_of(name), labels=labels)


def by_label(value: str, **more: Any) -> Any:
    return profile("day", selector={"matchLabels": {"tier": value}}, active=True, **more)


def test_a_selector_that_selects_nobody_any_more_is_held() -> None:
    judge, servers = Judge(), (labelled("a", tier="x"), labelled("b", tier="x"), C)
    judge.look(0, *servers, by_label("x"))
    acceptance = judge.look(1, *servers, by_label("y"))
    assert wanted(judge) == ["a", "b"]
    assert acceptance.selection.held == (
        "the profile 'day' (day.yaml:1) selects no server: 'a', 'b' stay wanted; "
        "if this is meant, confirm it with: reconciler profile use day"
    )
    assert acceptance.folder_problem == ""
    judge.look(2, *servers, by_label("x"))
    assert judge.selection.held == ""


def test_labels_that_go_from_all_members_are_held_too() -> None:
    judge = Judge()
    judge.look(0, labelled("a", tier="x"), B, by_label("x"))
    judge.look(1, A, B, by_label("x"))
    assert (wanted(judge), bool(judge.selection.held)) == (["a"], True)


def test_an_empty_profile_does_not_stop_all_that_ran_without_one() -> None:
    judge = Judge()
    judge.look(0, A, B)
    judge.look(1, A, B, by_label("x"))
    assert wanted(judge) == ["a", "b"]
    assert "all servers are wanted as before" in judge.selection.held


def test_who_asks_for_an_empty_one_gets_it() -> None:
    judge = Judge()
    judge.look(0, A, B)
    judge.look(1, A, B, by_label("x"))
    judge.asked = "night"
    judge.look(2, A, B, by_label("x"))
    assert wanted(judge) == ["a", "b"]
    judge.asked = "day"
    judge.look(3, A, B, by_label("x"))
    assert (wanted(judge), judge.selection.held) == ([], "")
    judge.asked = None
    judge.look(4, A, B, by_label("x"))
    assert (wanted(judge), judge.selection.held) == ([], "")


def test_losing_all_that_a_profile_wants_is_held_though_others_are_left() -> None:
    judge = Judge()
    judge.look(0, A, B, C, day("a", "b"))
    for now in (1.0, 20.0, 100.0):
        acceptance = judge.look(now, C, day("a", "b"))
        assert sorted(acceptance.held) == ["a", "b"]
    assert wanted(judge) == ["a", "b"]


def test_losing_one_that_is_parked_anyway_needs_no_word() -> None:
    judge = Judge()
    judge.look(0, A, B, C, day("a"))
    judge.look(1, A, day("a"))
    acceptance = judge.look(1 + PRUNE_DELAY, A, day("a"))
    assert sorted(acceptance.removed) == ["b", "c"]


# ---------------------------------------------------------------- ports


def on_port(name: str, port: int = 8001, **more: Any) -> Document:
    return document_of(name, port=port, **more)


def test_servers_that_never_run_at_once_may_want_one_port() -> None:
    judge = Judge()
    acceptance = judge.look(0, on_port("a"), on_port("b"), day("a"), night("b", active=False))
    assert texts(acceptance) == []
    assert texts(judge.look(1, on_port("a"), on_port("b"), day("a", active=False), night("b"))) == []
    assert wanted(judge) == ["b"]


def test_a_profile_under_which_two_would_want_one_port_gives_way() -> None:
    judge = Judge()
    servers = (on_port("a"), on_port("b"))
    judge.look(0, *servers, day("a"))
    acceptance = judge.look(1, *servers, day("a", "b"))
    assert texts(acceptance) == [
        (
            "day.yaml:1:1: spec: with profile 'day' servers 'a' (a.yaml:1) and 'b' (b.yaml:1) would both want port "
            "8001; give one of them another port, or port: auto"
        )
    ]
    assert wanted(judge) == ["a"]
    acceptance = judge.look(2, *servers, day("a", active=False))
    assert "with no active profile servers 'a'" in texts(acceptance)[0]
    assert wanted(judge) == ["a"]


def test_a_server_that_changes_to_the_port_of_another_one_gives_way_as_ever() -> None:
    judge = Judge()
    judge.look(0, on_port("a"), on_port("b", 8002), day("a", "b"))
    acceptance = judge.look(1, on_port("a"), on_port("b"), day("a", "b"))
    assert list(acceptance.documents["b"].spec.model_dump(include={"port"}).values()) == [8002]
    assert sorted(acceptance.problems) == ["a", "b"]


def test_what_would_clash_elsewhere_is_told_beforehand() -> None:
    judge = Judge()
    acceptance = judge.look(0, on_port("a"), on_port("b"), C, day("a", "c"), night("a", "b", active=False))
    found = [str(one) for one in clashes_elsewhere(acceptance.others.values(), acceptance.documents.values())]
    both = (
        "servers 'a' (a.yaml:1) and 'b' (b.yaml:1) would both want port 8001; "
        "give one of them another port, or port: auto"
    )
    assert found == [
        f"night.yaml:1:1: spec: were it active, {both}",
        f"day.yaml:1:1: spec.active: were no profile active, {both}",
    ]


# ---------------------------------------------------------------- what is gone


def test_a_profile_is_gone_after_looks_that_agree() -> None:
    judge = Judge()
    judge.look(0, A, B, day("a"))
    acceptance = judge.look(1, A, B)
    assert (wanted(judge), acceptance.others_removed) == (["a"], ())
    assert acceptance.wake_at == 1 + PRUNE_DELAY
    acceptance = judge.look(1 + PRUNE_DELAY, A, B)
    assert (wanted(judge), acceptance.others_removed) == (["a", "b"], ("Profile/day",))
    assert judge.look(9, A, B).others_removed == ()


@pytest.mark.parametrize("failed", ["the folder cannot be read", ""])
def test_it_stays_while_a_look_says_nothing_of_it(failed: str) -> None:
    judge = Judge()
    judge.look(0, A, B, day("a"))
    problems = () if failed else (Problem("day.yaml", "this is not YAML", 1, 1),)
    for now in (1.0, 100.0):
        acceptance = judge.look(now, A, B, problems=problems, failed=failed)
    assert wanted(judge) == ["a"]
    assert "Profile/day" in acceptance.held


def test_it_stays_while_its_file_has_an_error() -> None:
    judge = Judge()
    judge.look(0, A, B, profile("day", "a.yaml", servers=["a"], active=True))
    broken = Problem("a.yaml", "expected a number", 6, 9, "spec.ctx", "a", "LlamaServer")
    for now in (1.0, 100.0):
        judge.look(now, B, problems=(broken,))
    assert wanted(judge) == ["a"]


def test_it_stays_while_servers_that_went_missing_with_it_are_held() -> None:
    servers = [document_of(f"s{number}") for number in range(6)]
    judge = Judge()
    judge.look(0, *servers, defaults("d", {"ctx": 9}))
    for now in (1.0, 100.0):
        acceptance = judge.look(now, servers[0])
    assert acceptance.held.keys() == {"LlamaServerDefaults/d", *(one.name for one in servers[1:])}
    assert {one.spec.ctx for one in acceptance.documents.values()} == {9}
    assert "LlamaServerDefaults/d" in acceptance.prunable
    acceptance = judge.look(101, servers[0], confirmed=frozenset(acceptance.prunable))
    assert acceptance.others == {}
    assert acceptance.documents["s0"].spec.ctx is None


def test_it_stays_while_a_server_of_another_file_is_held() -> None:
    judge = Judge()
    judge.look(0, A, replace(B, file="a.yaml"), C, profile("day", servers=["c"], active=True))
    broken = Problem("a.yaml", "expected a number", 6, 9, "spec.ctx", "a", "LlamaServer")
    for now in (1.0, 100.0):
        acceptance = judge.look(now, C, problems=(broken,))
    assert acceptance.held["Profile/day"] == "not removed while servers are held that went missing too"
    assert (wanted(judge), "b" in acceptance.held) == (["c"], True)


def test_a_folder_that_holds_nothing_at_all_any_more_is_an_accident() -> None:
    judge = Judge()
    judge.look(0, replace(A, origin="git", file="git:a.yaml"), day("a"))
    for now in (1.0, 100.0):
        acceptance = judge.look(now, replace(A, origin="git", file="git:a.yaml"))
    assert acceptance.prunable == ("Profile/day",)
    assert "no manifest is left, but 1 were accepted" in acceptance.folder_problem
    acceptance = judge.look(101, replace(A, origin="git", file="git:a.yaml"), confirmed=frozenset({"Profile/day"}))
    assert acceptance.others_removed == ("Profile/day",)


def test_one_name_is_for_one_document_of_a_kind() -> None:
    judge = Judge()
    acceptance = judge.look(0, A, profile("a", servers=["a"]), defaults("a", {"ctx": 9}))
    assert texts(acceptance) == []
    twice = judge.look(1, A, profile("a", servers=["a"]), profile("a", "b.yaml"), defaults("a", {"ctx": 9}))
    assert [text.partition(";")[0] for text in texts(twice)] == [
        "a.yaml:1:1: metadata.name: the name 'a' is declared at b.yaml:1 too",
        "b.yaml:1:1: metadata.name: the name 'a' is declared at a.yaml:1 too",
    ]


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_problem_of_another_kind_is_none_of_the_server_of_that_name(kind: str) -> None:
    judge = Judge()
    judge.look(0, A)
    acceptance = judge.look(1, A, problems=(Problem("x.yaml", "no", 1, 1, "spec", "a", kind),))
    assert acceptance.problems == {}
    assert list(acceptance.other_problems) == [f"{kind}/a"]
