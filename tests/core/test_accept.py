"""Law 5, line by line: bad input stops nothing that runs."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.accept import Beside, Seen, accept, overlay
from reconciler.core.kinds import ProfileSpec, other_document
from reconciler.core.model import Document, Problem
from reconciler.core.pruning import Memory
from reconciler.core.source import GIT
from tests.core.looking import BROKEN, UNNAMED, A, B, Folder, folder_with, several
from tests.core.worlds import document_of

# ---------------------------------------------------------------- what is accepted


def test_what_is_new_is_accepted_as_generation_one() -> None:
    found = Folder().look(A, B)
    assert {name: document.generation for name, document in found.documents.items()} == {"a": 1, "b": 1}
    assert {document.name for document in found.changed} == {"a", "b"}
    assert found.wake_at is None


@pytest.mark.parametrize(
    ("changed", "generation"),
    [
        (document_of("a", ctx=512), 2),
        (document_of("a", labels={"team": "x"}), 2),
        (replace(A, annotations={"note": "x"}), 2),
        (document_of("a", suspend=True), 2),
        (document_of("a", file="other.yaml"), 1),
        (replace(A, line=40), 1),
        (document_of("a", host="127.0.0.1"), 1),
        (A, 1),
    ],
)
def test_each_change_of_what_is_declared_is_a_generation(changed: Document, generation: int) -> None:
    found = folder_with(A).look(changed)
    assert found.documents["a"].generation == generation
    assert found.documents["a"].file == changed.file
    assert found.documents["a"].line == changed.line


@pytest.mark.parametrize(
    ("accepted", "counted", "generation"),
    [
        ({}, {}, 1),
        ({}, {"a": 4}, 5),
        ({"a": replace(A, generation=2)}, {}, 3),
        ({"a": replace(A, generation=2)}, {"a": 4}, 5),
        ({"a": replace(A, generation=6)}, {"a": 4}, 7),
    ],
)
def test_a_document_that_was_gone_goes_on_counting(
    accepted: dict[str, Document], counted: dict[str, int], generation: int
) -> None:
    beside = Beside(counted={**counted, "Profile/a": 9, "b": 9})
    found = accept(accepted, Seen((document_of("a", ctx=9),)), Memory(), 0.0, beside=beside)
    assert found.documents["a"].generation == generation


def test_a_profile_that_was_gone_goes_on_counting() -> None:
    profile = other_document("Profile", ProfileSpec(servers=("a",)), name="day", file="day.yaml")
    beside = Beside(counted={"Profile/day": 3, "day": 9})
    found = accept({}, Seen((A,), others=(profile,)), Memory(), 0.0, beside=beside)
    assert found.others["Profile/day"].generation == 4


@pytest.mark.parametrize(("before", "after"), [(1, True), (1, 1.0), (0, False), ([1], [True])])
def test_flags_that_python_takes_for_equal_are_different_command_lines(before: object, after: object) -> None:
    found = folder_with(document_of("a", flags={"x": before})).look(document_of("a", flags={"x": after}))
    assert found.documents["a"].generation == 2
    assert repr(found.documents["a"].spec.flags["x"]) == repr(document_of("a", flags={"x": after}).spec.flags["x"])


def test_the_order_of_flags_is_no_change() -> None:
    found = folder_with(document_of("a", flags={"x": 1, "y": 2})).look(document_of("a", flags={"y": 2, "x": 1}))
    assert found.changed == ()


def test_nothing_is_changed_by_looking_again() -> None:
    assert folder_with(A, B).look(B, A).changed == ()


# ---------------------------------------------------------------- duplicates


def test_a_name_declared_twice_is_an_error_at_both_places() -> None:
    found = Folder().look(A, document_of("a", file="z.yaml"), B)
    assert set(found.documents) == {"b"}
    assert [str(problem) for problem in found.problems["a"]] == [
        "a.yaml:1:1: metadata.name: the name 'a' is declared at z.yaml:1 too; names must be unique over all manifests",
        "z.yaml:1:1: metadata.name: the name 'a' is declared at a.yaml:1 too; names must be unique over all manifests",
    ]


def test_a_name_of_the_folder_and_of_git_is_told_as_such() -> None:
    theirs = replace(document_of("a", file="git:a.yaml"), origin="git")
    remedy = "too; remove one of the two, the one in the manifests folder or the one in Git"
    found = Folder().look(A, theirs)
    assert [str(problem) for problem in found.problems["a"]] == [
        f"a.yaml:1:1: metadata.name: the name 'a' is declared at git:a.yaml:1 {remedy}",
        f"git:a.yaml:1:1: metadata.name: the name 'a' is declared at a.yaml:1 {remedy}",
    ]


def test_a_name_declared_twice_leaves_the_accepted_one_in_force() -> None:
    found = folder_with(A).look(document_of("a", ctx=512), document_of("a", file="z.yaml"))
    assert found.documents["a"].spec.ctx is None
    assert found.memory.missing == {}


def test_two_new_servers_on_one_port_are_both_refused() -> None:
    one = replace(document_of("a", port=8001), port_line=(7, 9))
    found = Folder().look(one, document_of("b", port=8001))
    assert found.documents == {}
    assert [str(problem) for problem in found.problems["a"]] == [
        "a.yaml:7:9: spec.port: server 'b' (b.yaml:1) wants port 8001 too; give one of them another port, or port: auto"
    ]
    assert [problem.field for problem in found.problems["b"]] == ["spec.port"]


def test_a_newcomer_on_an_accepted_port_is_refused_and_the_other_goes_on() -> None:
    found = folder_with(document_of("a", port=8001)).look(document_of("a", port=8001), document_of("b", port=8001))
    assert set(found.documents) == {"a"}
    assert set(found.problems) == {"a", "b"}


def test_a_change_onto_an_accepted_port_is_refused() -> None:
    folder = folder_with(document_of("a", port=8001), document_of("b", port=8002))
    found = folder.look(document_of("a", port=8001), document_of("b", port=8001))
    assert found.documents["b"].spec.port == 8002
    assert found.changed == ()


def test_what_gives_way_may_stand_in_the_way_of_a_third() -> None:
    folder = folder_with(*(document_of(name, port=port) for name, port in (("a", 8001), ("b", 8002), ("c", 8003))))
    found = folder.look(document_of("a", port=8002), document_of("b", port=8003), document_of("c", port=8003))
    assert {name: document.spec.port for name, document in found.documents.items()} == {"a": 8001, "b": 8002, "c": 8003}
    assert set(found.problems) == {"a", "b", "c"}


def test_two_servers_may_swap_ports_in_one_look() -> None:
    folder = folder_with(document_of("a", port=8001), document_of("b", port=8002))
    found = folder.look(document_of("a", port=8002), document_of("b", port=8001))
    assert {name: document.spec.port for name, document in found.documents.items()} == {"a": 8002, "b": 8001}
    assert found.problems == {}


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ({}, {}, True),
        ({"suspend": True}, {}, False),
        ({"host": "0.0.0.0"}, {}, True),
        ({"host": "::"}, {"host": "10.0.0.1"}, True),
        ({"host": "10.0.0.1"}, {"host": "10.0.0.2"}, False),
        ({"host": "localhost"}, {}, True),
    ],
)
def test_ports_clash_where_addresses_overlap(one: dict[str, Any], other: dict[str, Any], clash: bool) -> None:
    found = Folder().look(document_of("a", port=8001, **one), document_of("b", port=8001, **other))
    assert bool(found.problems) == clash


def test_a_suspended_server_cannot_wake_up_on_a_port_in_use() -> None:
    suspended, other = document_of("a", port=8001, suspend=True), document_of("b", port=8001)
    found = folder_with(suspended, other).look(document_of("a", port=8001), other)
    assert found.documents["a"].spec.suspend
    assert set(found.problems) == {"a", "b"}


def test_a_renamed_server_may_keep_its_port() -> None:
    found = folder_with(document_of("a", port=8001)).look(document_of("z", port=8001))
    assert found.problems == {}
    assert set(found.documents) == {"a", "z"}


# ---------------------------------------------------------------- broken text


def test_a_broken_document_keeps_what_was_last_accepted() -> None:
    folder = folder_with(document_of("a", ctx=256), B)
    for _ in range(3):
        found = folder.look_later(10.0, B, problems=(BROKEN,))
        assert found.documents["a"].spec.ctx == 256
        assert found.problems == {"a": (BROKEN,)}
        assert found.held == {}


def test_a_document_that_was_never_right_is_told_and_not_in_force() -> None:
    found = Folder().look(B, problems=(BROKEN,))
    assert set(found.documents) == {"b"}
    assert found.problems == {"a": (BROKEN,)}


def test_text_without_a_name_holds_all_removals() -> None:
    folder = folder_with(A, B)
    for _ in range(3):
        found = folder.look_later(10.0, B, problems=(UNNAMED,))
        assert set(found.documents) == {"a", "b"}
        assert found.general == (UNNAMED,)
        assert found.held == {"a": f"not removed while a manifest cannot be read: {UNNAMED}"}
        assert found.prunable == ()


@pytest.mark.parametrize(
    "look",
    [
        ([], (replace(BROKEN, server="other"),)),
        ([document_of("c", file="a.yaml"), document_of("c", file="c.yaml")], ()),
        ([document_of("c", file="a.yaml", port=8001), document_of("d", port=8001)], ()),
    ],
    ids=["wrong field", "duplicate name", "duplicate port"],
)
def test_a_file_with_any_error_holds_what_it_declared(look: tuple[list[Document], tuple[Problem, ...]]) -> None:
    documents, problems = look
    folder = folder_with(A, B, document_of("c", file="c.yaml"))
    for _ in range(3):
        found = folder.look_later(10.0, B, *documents, problems=problems)
        assert "a" in found.documents
        assert found.held["a"] == "not removed while its file has an error: a.yaml"


def test_another_files_error_holds_nothing() -> None:
    folder = folder_with(A, B)
    folder.look(B, problems=(replace(BROKEN, file="c.yaml", server="c"),))
    assert folder.look_later(2.0, B, problems=(replace(BROKEN, file="c.yaml", server="c"),)).removed == ("a",)


# ---------------------------------------------------------------- what would be, were a document put in place


def test_an_overlay_takes_the_place_of_what_has_its_name() -> None:
    other = replace(BROKEN, server="b", file="b.yaml")
    seen = overlay(Seen((A, B), (BROKEN, other, UNNAMED), "failed"), {"a": document_of("a", ctx=512)})
    assert [(document.name, document.spec.ctx) for document in seen.documents] == [("b", None), ("a", 512)]
    assert (seen.problems, seen.failed) == ((other, UNNAMED), "failed")


@pytest.mark.parametrize(("git", "where"), [("", ""), ("URL, branch main", " in URL, branch main")])
def test_an_overlay_does_not_take_the_place_of_what_comes_from_git(git: str, where: str) -> None:
    theirs = replace(A, origin=GIT, file="git:home/a.yaml")
    seen = overlay(Seen((theirs, B)), {"a": document_of("a", file="new.yaml"), "b": document_of("b", ctx=512)}, git)
    assert [(one.name, one.file, one.spec.ctx) for one in seen.documents] == [
        ("a", "git:home/a.yaml", None),
        ("b", "b.yaml", 512),
    ]
    (problem,) = seen.problems
    assert (problem.file, problem.server, problem.field) == ("new.yaml", "a", "metadata.name")
    assert problem.message == f"server 'a' comes from Git; change it there: git:home/a.yaml{where}"
    accepted = accept({"a": theirs, "b": B}, seen, Memory(), 0.0)
    assert (accepted.documents["a"], list(accepted.problems)) == (theirs, ["a"])


def test_a_look_at_an_empty_folder_agrees_with_none() -> None:
    folder = Folder()
    folder.look_later(0.0, A)
    assert folder.look_later(0.0).folder_problem
    assert folder.look_later(2.0, B).removed == ()
    assert folder.look_later(1.9, B).removed == ()
    assert folder.look_later(0.1, B).removed == ("a",)


# ---------------------------------------------------------------- always

LOOKS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 1.9, 2.0, 10.0]),
        st.lists(st.sampled_from([A, B, *several(4), document_of("a", port=8001), document_of("b", port=8001)])),
        st.sets(st.sampled_from([BROKEN, UNNAMED, replace(BROKEN, file="s1.yaml", server="")])),
        st.sampled_from(["", "", "the folder cannot be read"]),
    ),
    max_size=12,
)


@given(LOOKS)
def test_whatever_is_seen(looks: list[tuple[float, list[Document], set[Problem], str]]) -> None:
    folder, last_seen, good_since, ever_missing = Folder(), dict.fromkeys("ab", 0.0), float("inf"), False
    for seconds, documents, problems, failed in looks:
        before = dict(folder.accepted)
        seen = ([], set()) if failed else (documents, problems)
        found = folder.look_later(seconds, *seen[0], problems=tuple(seen[1]), failed=failed)
        assert set(before) == (set(found.documents) & set(before)) | set(found.removed)
        is_good = not (failed or found.general or found.folder_problem)
        good_since = min(good_since, folder.now) if is_good else float("inf")
        assert not found.removed or folder.now - good_since >= 2.0
        for name in {document.name for document in seen[0]} | {problem.server for problem in seen[1]}:
            last_seen[name] = folder.now
        assert all(folder.now - last_seen[name] >= 2.0 for name in found.removed)
        ports = [document.spec.port for document in found.documents.values() if document.spec.port != "auto"]
        ever_missing = ever_missing or bool(folder.memory.missing or found.held)
        assert ever_missing or len(ports) == len(set(ports))
        assert found.wake_at is None or found.wake_at > folder.now
