"""What an accident may do to a manifest folder, second by second: nothing is taken for gone that is not."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.accept import Acceptance, Seen, accept
from reconciler.core.pruning import CONFIRM, LONGEST_DELAY, PRUNE_DELAY, PRUNE_WINDOW, Memory
from tests.core.worlds import document_of

if TYPE_CHECKING:
    from reconciler.core.model import Document

FAILED = "manifests: the folder is missing"


class Folder:
    """A folder of servers `s0`, `s1`, …, looked at as often as its files change."""

    def __init__(self, count: int) -> None:
        self.there = [document_of(f"s{number}", file=f"manifests/s{number}.yaml") for number in range(count)]
        self.all = tuple(self.there)
        self.accepted: dict[str, Document] = {}
        self.memory = Memory()
        self.now = 100.0
        self.device = 1
        self.removed: list[str] = []
        self.last = self.look()

    def look(self, seconds: float = 0.0, *, failed: str = "", confirmed: Sequence[str] = ()) -> Acceptance:
        self.now += seconds
        devices: Mapping[str, int] = {} if failed else {"manifests": self.device}
        seen = Seen(() if failed else tuple(self.there), failed=failed, devices=devices)
        self.last = accept(self.accepted, seen, self.memory, self.now, frozenset(confirmed))
        self.accepted, self.memory = dict(self.last.documents), self.last.memory
        self.removed += self.last.removed
        return self.last

    def rest(self, seconds: float) -> Acceptance:
        """Looks whenever acceptance asks for one, as the loop does, and at the end."""
        until = self.now + seconds
        while self.last.wake_at is not None and self.last.wake_at <= until:
            self.now = self.last.wake_at
            self.look()
        self.now = until
        return self.look()

    def lose(self, count: int = 1, *, every: float = 0.0) -> None:
        for _ in range(count):
            self.there.pop(0)
            self.look()
            self.rest(every)

    def bring_back(self, count: int, *, every: float) -> None:
        for document in [one for one in self.all if one not in self.there][:count]:
            self.there.append(document)
            self.look()
            self.rest(every)


# ---------------------------------------------------------------- emptied slowly


@pytest.mark.parametrize("count", [1, 3, 4, 10, 100])
@pytest.mark.parametrize("every", [0.01, 1.0, 1.9])
def test_a_folder_that_is_emptied_file_by_file_loses_nothing(count: int, every: float) -> None:
    folder = Folder(count)
    folder.lose(count, every=every)
    if count * every < LONGEST_DELAY:
        assert folder.removed == []
    else:  # longer than a minute: what went first counts as gone, but never most of them
        assert len(folder.removed) <= count / 2
    assert len(folder.rest(600).documents) == count - len(folder.removed)
    assert set(folder.last.prunable) == set(folder.last.documents)


@pytest.mark.parametrize("every", [2.1, 5.0])
def test_one_that_is_emptied_more_slowly_loses_no_more_than_half_in_a_minute(every: float) -> None:
    folder = Folder(20)
    folder.lose(20, every=every)
    assert len(folder.removed) <= 10
    held = len(folder.last.held)
    assert len(folder.rest(600).held) == held, "what is held stays so when the minute is over"


def test_it_is_told_that_others_went_before() -> None:
    folder = Folder(6)
    folder.lose(3, every=3.0)
    folder.lose()
    assert folder.removed == ["s0", "s1", "s2"]
    assert folder.last.held["s3"] == (
        f"held by the prune guard: 1 of 3 servers would stop (s3), after 3 within the last minute; {CONFIRM}"
    )


def test_what_was_confirmed_does_not_count_towards_what_follows() -> None:
    folder = Folder(8)
    folder.lose(5)
    folder.rest(10)
    folder.look(confirmed=[f"s{number}" for number in range(5)])
    assert len(folder.removed) == 5
    folder.lose(every=3.0)
    assert folder.removed[-1] == "s5"


def test_one_that_comes_back_is_no_new_name_of_another() -> None:
    folder = Folder(4)
    folder.lose(2, every=3.0)
    folder.bring_back(1, every=3.0)
    folder.there.sort(key=lambda document: document.name, reverse=True)
    folder.lose(2, every=3.0)
    assert folder.removed == ["s0", "s1", "s3"]
    assert list(folder.last.held) == ["s2"]


def test_removals_more_than_a_minute_apart_are_judged_alone() -> None:
    folder = Folder(8)
    folder.lose(7, every=PRUNE_WINDOW + PRUNE_DELAY)
    assert len(folder.removed) == 7


def test_renames_one_after_the_other_are_no_loss() -> None:
    folder = Folder(8)
    for number in range(8):
        folder.there.pop(0)
        folder.there.append(document_of(f"n{number}", file=f"manifests/n{number}.yaml"))
        folder.look()
        folder.rest(3.0)
    assert sorted(folder.accepted) == [f"n{number}" for number in range(8)]


def test_a_single_removal_is_not_held_up_for_ever_by_others_that_come_and_go() -> None:
    folder = Folder(10)
    folder.there.pop(0)
    began, other = folder.now, folder.there[-1]
    while not folder.removed:
        folder.there.remove(other) if other in folder.there else folder.there.append(other)
        folder.look(1.0)
        assert folder.now <= began + LONGEST_DELAY + 1.0
    assert folder.removed == ["s0"]


# ---------------------------------------------------------------- filled again


@pytest.mark.parametrize("how", ["guard", "empty", "missing", "missing, then empty", "unmounted"])
@pytest.mark.parametrize("every", [0.5, 1.9, 3.0, 30.0])
@pytest.mark.parametrize("count", [2, 3, 10])
def test_a_folder_that_is_filled_again_file_by_file_loses_nothing(how: str, every: float, count: int) -> None:
    folder = Folder(count)
    lost = 1 if how == "unmounted" else count - 1 if how == "guard" and count >= 4 else count
    if how == "unmounted":
        folder.device = 2
    if "missing" in how:
        folder.look(failed=FAILED)
        folder.look(20.0, failed=FAILED)
    if how != "missing":
        folder.lose(lost)
        folder.rest(20.0)
    else:
        del folder.there[:]
    assert folder.removed == []
    folder.bring_back(count, every=every)
    assert (folder.removed, folder.last.held, folder.last.problems) == ([], {}, {})
    folder.lose(every=3.0)
    assert folder.removed == ["s1" if how == "unmounted" else folder.removed[0]], "and then it is trusted again"


@pytest.mark.parametrize("how", ["guard", "empty", "missing", "unmounted"])
def test_what_does_not_come_back_waits_for_a_persons_word(how: str) -> None:
    folder = Folder(10)
    if how == "missing":
        folder.look(failed=FAILED)
        del folder.there[:]
    elif how == "unmounted":
        folder.device = 2
        del folder.there[:2]
        folder.look()
    else:
        folder.lose(10 if how == "empty" else 8)
    folder.bring_back(9 if how in ("empty", "missing") else 1, every=10.0)
    found = folder.rest(3600)
    assert folder.removed == []
    assert found.prunable
    assert all(why.endswith(CONFIRM) for why in found.held.values())
    folder.look(confirmed=found.prunable)
    assert set(folder.removed) == set(found.prunable)
    assert folder.last.held == {}


def test_one_that_is_back_is_no_longer_doubted() -> None:
    folder = Folder(10)
    folder.lose(8)
    folder.rest(20)
    folder.bring_back(8, every=0.1)
    assert folder.last.memory.doubted == frozenset()
    folder.lose(every=3.0)
    assert len(folder.removed) == 1


def test_a_renamed_server_needs_no_word_though_a_look_fell_in_between() -> None:
    folder = Folder(1)
    folder.lose()
    folder.there = [document_of("new", file="manifests/new.yaml")]
    folder.look(0.3)
    folder.rest(3.0)
    assert (folder.removed, list(folder.accepted)) == (["s0"], ["new"])


def test_a_new_one_among_those_that_come_back_is_no_new_name() -> None:
    folder = Folder(3)
    folder.look(failed=FAILED)
    del folder.there[:]
    folder.bring_back(2, every=0.1)
    folder.there.append(document_of("new", file="manifests/new.yaml"))
    folder.look()
    folder.rest(600)
    assert (folder.removed, list(folder.last.prunable)) == ([], ["s2"])


def test_a_folder_that_was_never_seen_before_is_of_any_file_system() -> None:
    folder = Folder(10)
    folder.memory = Memory()
    folder.device = 5
    folder.lose(every=3.0)
    assert folder.removed == ["s0"]


# ---------------------------------------------------------------- always

STEPS = st.lists(
    st.tuples(st.sampled_from(["lose", "back", "fail", "rest"]), st.sampled_from([0.1, 1.0, 1.9, 2.0, 5.1, 30.0])),
    max_size=40,
)


@given(st.integers(4, 12), STEPS)
def test_no_minute_takes_more_than_half(count: int, steps: list[tuple[str, float]]) -> None:
    folder, gone = Folder(count), dict[str, float]()
    for step, seconds in steps:
        if step == "lose" and folder.there:
            folder.lose(every=seconds)
        elif step == "back":
            folder.bring_back(1, every=seconds)
        elif step == "fail":
            folder.look(seconds, failed=FAILED)
        else:
            folder.rest(seconds)
        gone = {one.name: gone.get(one.name, folder.now) for one in folder.all if one.name not in folder.accepted}
        lately = [name for name, at in gone.items() if folder.now - at < PRUNE_WINDOW]
        assert len(lately) <= count / 2
    assert folder.accepted, "the last one is never taken without a person's word"
