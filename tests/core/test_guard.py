"""Law 5 for what is missing: when it counts as gone, and when the guard holds it."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.accept import Acceptance
from reconciler.core.guard import CONFIRM
from reconciler.core.model import Document
from reconciler.core.pruning import LONG_DELAY, PRUNE_DELAY, Memory
from reconciler.core.source import GIT
from tests.core.looking import BROKEN, UNNAMED, A, B, Folder, folder_with, several
from tests.core.worlds import document_of

# ---------------------------------------------------------------- gone


def test_gone_is_what_two_looks_two_seconds_apart_agree_on() -> None:
    folder = folder_with(A, B)
    first = folder.look(B)
    assert (first.removed, first.wake_at) == ((), 102.0)
    assert folder.look_later(1.9, B).removed == ()
    last = folder.look_later(0.1, B)
    assert (last.removed, set(last.documents), last.wake_at) == (("a",), {"b"}, None)
    assert last.memory.missing == {}


def test_what_comes_back_in_between_begins_anew() -> None:
    folder = folder_with(A, B)
    folder.look(B)
    folder.look_later(1.0, A, B)
    assert folder.look_later(1.0, B).removed == ()
    assert folder.look_later(2.0, B).removed == ("a",)


def test_looks_that_could_not_see_it_do_not_count() -> None:
    folder = folder_with(A, B)
    folder.look_later(100.0, problems=(UNNAMED,))
    assert folder.look_later(50.0, problems=(UNNAMED,)).removed == ()
    after = folder.look_later(0.5, B)
    assert (after.removed, after.wake_at) == ((), folder.now + 2.0)
    assert folder.look_later(1.9, B).removed == ()
    assert folder.look_later(0.1, B).removed == ("a",)


@pytest.mark.parametrize("failed", ["manifests/ is missing", "manifests/ may not be read"])
def test_a_folder_that_cannot_be_read_removes_nothing(failed: str) -> None:
    folder = folder_with(A)
    for _ in range(3):
        found = folder.look_later(10.0, failed=failed)
        assert set(found.documents) == {"a"}
        assert (found.folder_problem, found.held, found.prunable) == (failed, {"a": failed}, ())
        assert folder.look(failed=failed, confirmed="a").removed == ()


def test_a_folder_that_is_suddenly_empty_removes_nothing_unless_confirmed() -> None:
    folder = folder_with(A, B)
    for _ in range(3):
        found = folder.look_later(10.0)
        assert found.removed == ()
        assert found.folder_problem == f"no manifest is left, but 2 were accepted: nothing is stopped; {CONFIRM}"
    assert found.prunable == ("a", "b")
    assert set(folder.look(confirmed="a b").removed) == {"a", "b"}


def test_an_empty_folder_is_no_error_to_begin_with() -> None:
    assert Folder().look().folder_problem == ""


def test_after_a_new_start_of_the_controller_the_two_seconds_begin_anew() -> None:
    folder = folder_with(A, B)
    folder.look(B)
    folder.memory = Memory()
    assert folder.look_later(5.0, B).removed == ()
    assert folder.look_later(2.0, B).removed == ("a",)


# ---------------------------------------------------------------- the prune guard


def lose(kept: list[Document], all_of_them: list[Document], *new: Document) -> Acceptance:
    folder = folder_with(*all_of_them)
    folder.look_later(10.0, *kept, *new)
    return folder.look_later(LONG_DELAY, *kept, *new)


@pytest.mark.parametrize(
    ("count", "kept", "removed"),
    [(2, 1, 1), (3, 1, 2), (4, 2, 2), (5, 3, 2), (4, 1, 0), (5, 2, 0), (10, 4, 0), (10, 5, 5)],
)
def test_more_than_half_of_four_or_more_is_held(count: int, kept: int, removed: int) -> None:
    documents = several(count)
    found = lose(documents[:kept], documents)
    assert len(found.removed) == removed
    assert len(found.prunable) == (0 if removed else count - kept)


def test_the_guard_says_what_it_holds_and_what_to_type() -> None:
    documents = several(8)
    found = lose(documents[:1], documents)
    assert found.held["s1"] == (
        "held by the prune guard: 7 of 8 servers would stop (s1, s2, s3, s4, s5, …); "
        "if this is meant, confirm it with: reconciler apply --prune"
    )


def test_losing_everything_is_held_whatever_else_is_wrong() -> None:
    found = lose([], [A], document_of("b", suspend=True))
    assert (found.removed, found.prunable) == ((), ("a",))


def test_suspended_servers_do_not_count() -> None:
    suspended = [document_of(f"z{number}", suspend=True) for number in range(5)]
    assert len(lose([A, B], [A, B, *suspended]).removed) == 5
    assert lose([B, *suspended], [A, B, *suspended]).removed == ("a",)
    assert lose(suspended, [A, *suspended]).removed == ()


def test_a_confirmed_prune_goes_at_once_and_only_what_was_confirmed() -> None:
    documents = several(4)
    folder = folder_with(*documents)
    folder.look(documents[0])
    found = folder.look(documents[0], confirmed="s1 s2")
    assert set(found.removed) == {"s1", "s2"}
    assert "s3" in found.documents


def test_a_confirmed_removal_needs_no_second_look() -> None:
    assert folder_with(A, B).look(B, confirmed="a").removed == ("a",)


def test_what_is_there_is_not_removed_by_a_confirmation() -> None:
    assert folder_with(A, B).look(A, B, confirmed="a").removed == ()


def test_a_confirmation_outweighs_the_error_of_another_document_in_its_file() -> None:
    broken = replace(BROKEN, server="other")
    found = folder_with(A, B).look(B, problems=(broken,), confirmed="a")
    assert (found.removed, found.prunable) == (("a",), ())
    assert folder_with(A, B).look(B, problems=(broken,)).prunable == ()  # a word on all that is held is none on it


def test_a_confirmation_does_not_outweigh_text_without_a_name() -> None:
    """It may be the one that is missing."""
    folder = folder_with(A, B)
    assert folder.look(B, problems=(UNNAMED,), confirmed="a").removed == ()
    assert folder.look(B, problems=(BROKEN,), confirmed="a").removed == ()
    assert folder.look(B, confirmed="a").removed == ("a",)


@pytest.mark.parametrize("count", [1, 4])
def test_a_file_may_be_renamed(count: int) -> None:
    documents = several(count)
    renamed = [replace(document, file=f"new/{document.file}") for document in documents]
    found = lose(renamed, documents)
    assert (found.removed, found.held) == ((), {})
    assert {document.generation for document in found.documents.values()} == {1}


@pytest.mark.parametrize(("count", "renamed"), [(1, 1), (4, 3), (4, 4), (10, 10)])
def test_servers_may_be_renamed(count: int, renamed: int) -> None:
    documents = several(count)
    new = [document_of(f"n{number}") for number in range(renamed)]
    found = lose(documents[renamed:], documents, *new)
    assert len(found.removed) == renamed


def test_a_rename_may_be_seen_in_either_order() -> None:
    documents, new = several(4), [document_of(f"n{number}") for number in range(3)]
    folder = folder_with(*documents)
    folder.look_later(10.0, documents[0])
    assert len(folder.look_later(4.0, documents[0], *new).removed) == 3


@pytest.mark.parametrize("first", ["the new", "the old"])
@pytest.mark.parametrize(("apart", "removed"), [(5.0, 3), (5.1, 0)])
def test_a_new_name_comes_within_five_seconds(first: str, apart: float, removed: int) -> None:
    """Three of four go, and one comes: two are lost where it is a new name, three of five where it is not."""
    documents, new = several(4), document_of("new")
    folder = folder_with(*documents)
    folder.look_later(10.0, *([*documents, new] if first == "the new" else documents[:1]))
    folder.look_later(apart, documents[0], new)
    found = folder.look_later(LONG_DELAY, documents[0], new)
    assert len(several(4)) + 1 - len(found.documents) == removed


def test_a_server_added_long_after_is_no_new_name_of_what_is_held() -> None:
    documents = several(4)
    folder = folder_with(*documents)
    folder.look_later(10.0, documents[0])
    assert len(folder.look_later(60.0, documents[0]).prunable) == 3
    found = folder.look_later(60.0, documents[0], document_of("new"))
    assert (found.removed, len(found.prunable)) == ((), 3)


def test_a_set_that_goes_one_by_one_is_judged_as_a_set() -> None:
    documents = several(4)
    folder = folder_with(*documents)
    folder.look(*documents[1:])
    folder.look_later(1.0, *documents[2:])
    folder.look_later(0.9, *documents[3:])
    assert folder.look_later(0.1, *documents[3:]).removed == ()


# ---------------------------------------------------------------- two origins


@pytest.mark.parametrize(
    ("trouble", "held"),
    [
        ({"problems": (UNNAMED,)}, {"here"}),
        ({"problems": (replace(UNNAMED, file="git:junk.yaml"),)}, {"there"}),
        ({"failed": "the folder is missing"}, {"here"}),
        ({}, set()),
    ],
)
def test_what_cannot_be_read_holds_what_comes_from_there(trouble: dict[str, Any], held: set[str]) -> None:
    """A broken file on the machine must not keep a revision's removals from being done, nor the other way round."""
    here, there = document_of("here"), replace(document_of("there"), origin=GIT, file="git:there.yaml")
    rest = [replace(document_of(f"g{number}"), origin=GIT) for number in range(3)] + several(3)
    folder = folder_with(here, there, *rest)
    folder.look_later(1, *rest, **trouble)
    found = folder.look_later(PRUNE_DELAY, *rest, **trouble)
    assert set(found.held) == held
    assert set(found.removed) == {"here", "there"} - held
