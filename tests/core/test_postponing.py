"""With nothing in force, as after the loss of the database, an error of a profile or of defaults starts nobody."""

from dataclasses import replace

import pytest

from reconciler.controller.accepting import desired_of
from reconciler.core.accept import Acceptance, Beside, Seen, accept
from reconciler.core.history import History, Requests
from reconciler.core.kinds import OtherDocument
from reconciler.core.model import Desired, Problem
from reconciler.core.preview import Standing, preview
from reconciler.core.pruning import Memory
from reconciler.core.source import GIT
from reconciler.core.spec import ServerSpec
from tests.core.declaring import Judge, defaults, profile, texts
from tests.core.worlds import document_of, fingerprint_of

A, B = document_of("a"), document_of("b")
NIGHT = replace(document_of("n"), labels={"tier": "night"})
FROM_GIT = replace(document_of("g"), origin=GIT, file="git:g.yaml")
EMPTY = profile("day", selector={"matchLabels": {"tier": "nobody"}}, active=True)


def broken(kind: str, file: str = "shared.yaml") -> Problem:
    return Problem(file, "expected a number", 6, 9, "spec", "all", kind)


def no_ctx(spec: ServerSpec) -> list[tuple[tuple[str | int, ...], str]]:
    return [(("ctx",), "too small")] if spec.ctx is not None else []


def waits(acceptance: Acceptance) -> list[str]:
    """All that wait; the planner leaves alone what runs of them, and starts none."""
    assert not acceptance.documents.keys() & acceptance.postponed.keys()
    assert desired_of(acceptance, Desired({})).invalid.keys() == acceptance.postponed.keys()
    return sorted(acceptance.postponed)


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ((EMPTY,), None),
        ((profile("day", servers=["a", "typo"], active=True),), None),
        ((profile("day", servers=["a"], active=True), profile("week", servers=["b"], active=True)), None),
        ((), broken("Profile")),
    ],
)
def test_nobody_is_put_in_force_while_it_is_not_known_who_is_wanted(
    found: tuple[OtherDocument, ...], problem: Problem | None
) -> None:
    judge = Judge()
    for now in (0.0, 1.0, 100.0):
        acceptance = judge.look(now, A, B, *found, problems=(problem,) if problem else ())
        assert waits(acceptance) == ["a", "b"]
        assert "what runs goes on, and nothing is started" in acceptance.postponed["a"].message
        assert acceptance.postponed["a"].reason == "InvalidProfile"
    judge.look(101, A, B, profile("day", servers=["a"], active=True))
    assert sorted(judge.documents) == ["a", "b"]
    assert not judge.selection.wants("b")


def test_the_message_names_the_place() -> None:
    acceptance = Judge().look(0, A, problems=(broken("Profile"),))
    assert str(acceptance.postponed["a"]) == (
        "a.yaml: what runs goes on, and nothing is started before the error in Profile 'all' is mended, "
        "for it may say which servers run: shared.yaml:6:9: spec: expected a number"
    )


def test_who_asks_for_an_empty_profile_gets_it() -> None:
    judge = Judge(asked="day")
    assert waits(judge.look(0, A, B, EMPTY)) == []
    assert judge.selection.names == frozenset()


def test_who_asks_for_none_need_not_wait_for_a_profile_to_be_mended() -> None:
    judge = Judge(asked="")
    assert waits(judge.look(0, A, B, problems=(broken("Profile"),))) == []


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ((profile("week", servers=["typo"]),), None),
        ((profile("day", servers=["a"], active=True),), broken("Profile")),
    ],
)
def test_a_broken_profile_that_cannot_be_the_active_one_keeps_nobody(
    found: tuple[OtherDocument, ...], problem: Problem | None
) -> None:
    assert waits(Judge().look(0, A, B, *found, problems=(problem,) if problem else ())) == []


def test_what_is_in_force_already_is_not_touched() -> None:
    judge = Judge()
    judge.look(0, A, B)
    problems = (broken("Profile"), broken("LlamaServerDefaults"))
    acceptance = judge.look(1, A, B, problems=problems)
    assert (waits(acceptance), sorted(acceptance.documents)) == ([], ["a", "b"])
    acceptance = judge.look(2, A, B, NIGHT, problems=problems)
    assert (waits(acceptance), sorted(acceptance.documents)) == (["n"], ["a", "b"])
    assert "LlamaServerDefaults 'all'" in acceptance.postponed["n"].message
    assert acceptance.postponed["n"].reason == "InvalidDefaults"


def test_servers_wait_for_defaults_that_may_be_theirs() -> None:
    judge = Judge(check=no_ctx)
    bad = defaults("all", {"ctx": 9}, labels={"tier": "night"})
    assert waits(judge.look(0, A, NIGHT, bad)) == ["n"]
    mended = defaults("all", {"threads": 2}, labels={"tier": "night"})
    assert waits(judge.look(1, A, NIGHT, mended)) == []
    assert judge.documents["n"].spec.threads == 2
    # What was accepted of them once is in force, whatever is wrong with the newest text.
    assert waits(judge.look(2, A, NIGHT, replace(NIGHT, name="new"), bad)) == []
    assert judge.documents["new"].spec.threads == 2


@pytest.mark.parametrize(("file", "who"), [("shared.yaml", ["a", "g"]), ("git:shared.yaml", ["g"])])
def test_defaults_that_cannot_be_read_may_be_about_all_that_they_can_reach(file: str, who: list[str]) -> None:
    assert waits(Judge().look(0, A, FROM_GIT, problems=(broken("LlamaServerDefaults", file),))) == who


def test_where_nothing_runs_nobody_waits() -> None:
    seen = Seen((A, B), (broken("LlamaServerDefaults"),), others=(EMPTY,))
    acceptance = accept({}, seen, Memory(), 0.0, beside=Beside(nothing_runs=True))
    assert (waits(acceptance), acceptance.selection.held) == ([], "")
    assert len(texts(acceptance)) == 1


def test_the_preview_says_that_nothing_is_started() -> None:
    seen = Seen((A,), others=(EMPTY,))
    changes, _ = preview(Standing({}, History(), Requests()), seen, fingerprint_of)
    assert [(change.server, change.action) for change in changes] == [("a", "hold")]
    assert "selects no server: what runs goes on" in changes[0].reason


def test_a_server_that_waits_does_not_take_the_place_of_all_that_runs() -> None:
    judge = Judge(check=no_ctx)
    judge.look(0.0, A)
    night = profile("night", servers=["n"], active=True)
    acceptance = judge.look(5.0, A, NIGHT, night, problems=(broken("LlamaServerDefaults"),))
    assert waits(acceptance) == ["n"]
    assert acceptance.selection.wants("a")
    assert "selects no server" in acceptance.selection.held
    assert not judge.look(10.0, A, NIGHT, night).selection.wants("a")
