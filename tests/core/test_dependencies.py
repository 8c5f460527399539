"""Circles of servers that depend on each other: found wherever they are, told to all, and who changed gives way."""

from collections import defaultdict
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.dependencies import cycles, without_cycles
from reconciler.core.model import Document, Problem
from tests.core.worlds import document_of

NAMES = "abcdefg"
GRAPHS = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3, unique=True).map(tuple), max_size=7
)


def documents(graph: Mapping[str, tuple[str, ...] | str]) -> dict[str, Document]:
    return {name: document_of(name, dependsOn=list(needed)) for name, needed in graph.items()}


def judged(
    accepted: Mapping[str, tuple[str, ...] | str], candidates: Mapping[str, tuple[str, ...] | str]
) -> tuple[dict[str, tuple[str, ...]], dict[str, list[Problem]]]:
    problems: dict[str, list[Problem]] = defaultdict(list)
    effective = without_cycles(documents(accepted), documents(candidates), problems)
    return {name: document.spec.depends_on for name, document in effective.items()}, dict(problems)


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({}, {}),
        ({"a": "b", "b": "c", "c": ""}, {}),
        ({"a": "x"}, {}),
        ({"a": "a"}, {"a": ("a",)}),
        ({"a": "b", "b": "a"}, {"a": ("a", "b"), "b": ("a", "b")}),
        ({"a": "b", "b": "c", "c": "b"}, {"b": ("b", "c"), "c": ("b", "c")}),
        (
            {"a": "b", "b": "a", "c": "abd", "d": "d"},
            {"a": ("a", "b"), "b": ("a", "b"), "d": ("d",)},
        ),
    ],
)
def test_circles(graph: dict[str, str], expected: dict[str, tuple[str, ...]]) -> None:
    assert dict(cycles({name: tuple(needed) for name, needed in graph.items()})) == expected


@given(GRAPHS)
def test_those_that_reach_themselves_and_no_others(graph: dict[str, tuple[str, ...]]) -> None:
    def reaches(start: str) -> set[str]:
        found, edge = set[str](), [start]
        while edge:
            new = {one for name in edge for one in graph.get(name, ()) if one in graph} - found
            found |= new
            edge = sorted(new)
        return found

    found = dict(cycles(graph))
    assert found.keys() == {name for name in graph if name in reaches(name)}
    for circle in found.values():
        assert all(after in graph[name] for name, after in zip(circle, (*circle[1:], circle[0]), strict=True))


def test_a_chain_of_thousands_and_a_dense_circle_are_judged_soon() -> None:
    chain = {f"n{number}": (f"n{number + 1}",) for number in range(5000)}
    assert not dict(cycles(chain))
    names = [f"n{number}" for number in range(1000)]
    dense = {name: tuple(names[:100]) if number < 900 else (names[0],) for number, name in enumerate(names)}
    assert len(dict(cycles(dense))) == 100


def test_each_member_is_told_and_what_is_outside_is_accepted() -> None:
    effective, problems = judged({}, {"a": "b", "b": "a", "c": "a"})
    assert effective == {"c": ("a",)}
    assert problems.keys() == {"a", "b"}
    [problem] = problems["b"]
    assert (problem.file, problem.line, problem.field, problem.server) == ("b.yaml", 1, "spec.dependsOn", "b")
    assert "(a → b → a)" in problem.message


@pytest.mark.parametrize(
    ("accepted", "candidates", "effective", "told"),
    [
        # Who changed goes back to what was accepted; the other goes on as it is.
        ({"a": "b", "b": ""}, {"a": "b", "b": "a"}, {"a": ("b",), "b": ()}, {"a", "b"}),
        ({"a": ""}, {"a": "a"}, {"a": ()}, {"a"}),
        # One that is broken now counts as it was accepted.
        ({"a": "b", "b": ""}, {"b": "a"}, {"b": ("a",)}, set()),
        # The accepted form closes another circle: round by round.
        ({"a": "b", "b": ""}, {"a": "c", "c": "a", "b": "a"}, {"a": ("b",), "b": ()}, {"a", "b", "c"}),
    ],
)
def test_who_changed_gives_way(
    accepted: dict[str, str], candidates: dict[str, str], effective: dict[str, tuple[str, ...]], told: set[str]
) -> None:
    found, problems = judged(accepted, candidates)
    assert (found, set(problems)) == (effective, told)


def test_a_broken_document_closes_a_circle_with_its_accepted_form() -> None:
    problems = defaultdict(list, {"a": [Problem("a.yaml", "is wrong", server="a")]})
    accepted = documents({"a": "b", "b": ""})
    effective = without_cycles(accepted, documents({"b": "a"}), problems)
    assert {name: one.spec.depends_on for name, one in effective.items()} == {"a": ("b",), "b": ()}
    assert "circle" in problems["b"][0].message


@given(GRAPHS, GRAPHS)
def test_no_circle_is_left_where_none_was_accepted(
    accepted: dict[str, tuple[str, ...]], candidates: dict[str, tuple[str, ...]]
) -> None:
    accepted = {name: tuple(one for one in needed if one > name) for name, needed in accepted.items()}
    effective, problems = judged(accepted, candidates)
    assert not dict(cycles(effective))
    unchanged = {name for name in accepted.keys() & candidates.keys() if accepted[name] == candidates[name]}
    assert all(effective[name] == accepted[name] for name in unchanged)
    assert candidates.keys() - effective.keys() <= problems.keys()


@pytest.mark.parametrize(
    ("graph", "name", "expected"),
    [
        ({"a": "a"}, "a", "it depends on itself"),
        (dict(zip("abcdefghi", "bcdefghia", strict=True)), "h", "(a → b → c → d → e → … → a)"),
        (
            {**dict(zip("abcdefg", "bcdefga", strict=True)), "x": "y", "y": "b", "b": "cx"},
            "y",
            "it belongs to servers that depend on each other in circles, such as a → b",
        ),
    ],
)
def test_what_is_told(graph: dict[str, str], name: str, expected: str) -> None:
    assert expected in judged({}, graph)[1][name][0].message
