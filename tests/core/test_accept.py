"""Law 5, line by line: bad input stops nothing that runs."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.accept import Acceptance, Beside, Seen, accept, overlay
from reconciler.core.guard import CONFIRM
from reconciler.core.kinds import ProfileSpec, other_document
from reconciler.core.model import Document, Problem
from reconciler.core.pruning import LONG_DELAY, PRUNE_DELAY, Memory
from reconciler.core.source import GIT
from tests.core.worlds import document_of


@dataclass
class Folder:
    """A manifest folder that is looked at again and again."""

    accepted: dict[str, Document] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    now: float = 100.0

    def look(
        self, *documents: Document, problems: tuple[Problem, ...] = (), failed: str = "", confirmed: str = ""
    ) -> Acceptance:
        seen = Seen(documents, problems, failed)
        found = accept(self.accepted, seen, self.memory, self.now, frozenset(confirmed.split()))
        self.accepted, self.memory = dict(found.documents), found.memory
        return found

    def look_later(self, seconds: float, *documents: Document, **more: Any) -> Acceptance:
        self.now += seconds
        return self.look(*documents, **more)


def folder_with(*documents: Document) -> Folder:
    folder = Folder()
    folder.look(*documents)
    return folder


def several(count: int) -> list[Document]:
    return [document_of(f"s{number}") for number in range(count)]


A, B = document_of("a"), document_of("b")
BROKEN = Problem("a.yaml", "expected a number", 6, 9, "spec.ctx", "a")
UNNAMED = Problem("junk.yaml", "this is not YAML", 1, 1)

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
