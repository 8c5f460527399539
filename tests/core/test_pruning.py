"""What an accident may do to a manifest folder, second by second: nothing is taken for gone that is not."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.accept import Acceptance, Seen, accept
from reconciler.core.guard import CONFIRM
from reconciler.core.pruning import LONG_DELAY, LONGEST_DELAY, PRUNE_DELAY, PRUNE_WINDOW, Memory
from reconciler.core.source import GIT, LOCAL
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
        self.devices = {"manifests": 1}
        self.removed: list[str] = []
        self.last = self.look()

    def look(self, seconds: float = 0.0, *, failed: str = "", confirmed: Sequence[str] = ()) -> Acceptance:
        self.now += seconds
        devices: Mapping[str, int] = {} if failed else dict(self.devices)
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


@pytest.mark.parametrize("every", [2.1, 3.0, 9.9])
@pytest.mark.parametrize("count", [2, 6, 20])
def test_one_that_is_emptied_slowly_loses_the_first_alone(count: int, every: float) -> None:
    folder = Folder(count)
    folder.lose(count, every=every)
    if (count - 1) * every < LONGEST_DELAY:
        assert folder.removed == ["s0"]
    assert len(folder.removed) <= count / 2
    assert len(folder.rest(600).documents) == count - len(folder.removed)


@pytest.mark.parametrize("every", [10.0, 11.0])
def test_one_that_is_emptied_more_slowly_loses_no_more_than_half_in_a_minute(every: float) -> None:
    folder = Folder(8)
    folder.lose(8, every=every)
    assert len(folder.removed) <= 4
    held = len(folder.last.held)
    assert len(folder.rest(600).held) == held, "what is held stays so when the minute is over"


def test_it_is_told_that_others_went_before() -> None:
    folder = Folder(6)
    folder.lose(3, every=LONG_DELAY)
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
    folder.lose(2, every=LONG_DELAY)
    folder.bring_back(1, every=3.0)
    folder.there.sort(key=lambda document: document.name, reverse=True)
    folder.lose(2, every=LONG_DELAY)
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
        folder.devices["manifests"] = 2
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
        folder.devices["manifests"] = 2
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
    folder.devices["manifests"] = 5
    folder.lose(every=3.0)
    assert folder.removed == ["s0"]


# ---------------------------------------------------------------- accidents to a part


def with_team(*, device: int = 1, origin: str = LOCAL) -> Folder:
    """Six servers, and three more in folders of their own."""
    folder = Folder(6)
    folder.devices |= {"manifests/team": device, "manifests/team/prod": device}
    folder.there += [document_of("t0", file="manifests/team/t0.yaml")]
    folder.there += [document_of(name, file=f"manifests/team/prod/{name}.yaml") for name in ("t1", "t2")]
    folder.there = [replace(one, origin=origin) if one.name[0] == "t" else one for one in folder.there]
    folder.look()
    return folder


def lose_team(folder: Folder) -> None:
    folder.there = [one for one in folder.there if one.name[0] != "t"]


@pytest.mark.parametrize("left", [{"manifests/team": 1}, {}], ids=["the mount point stays", "autofs"])
def test_what_was_on_a_volume_beneath_waits_for_a_persons_word(left: dict[str, int]) -> None:
    folder = with_team(device=2)
    lose_team(folder)
    folder.devices = {"manifests": 1, **left}
    folder.look()
    assert folder.rest(3600).prunable == ("t0", "t1", "t2")
    folder.there.append(document_of("new", file="manifests/new.yaml"))
    folder.look()
    assert folder.rest(3600).prunable == ("t0", "t1", "t2"), "an unrelated new one changes nothing"


def test_a_volume_that_was_unmounted_between_two_controllers_is_noticed() -> None:
    folder = with_team(device=2)
    folder.memory = Memory(devices=folder.memory.devices)
    lose_team(folder)
    folder.devices = {"manifests": 1, "manifests/team": 1}
    folder.look()
    assert folder.rest(3600).prunable == ("t0", "t1", "t2")


def test_a_folder_on_the_same_file_system_goes_when_it_has_been_away_for_ten_seconds() -> None:
    folder = with_team(device=2)
    folder.there = [one for one in folder.there if "prod" not in one.file]
    del folder.devices["manifests/team/prod"]
    folder.look()
    folder.rest(LONG_DELAY - 0.1)
    assert folder.removed == []
    folder.rest(0.2)
    assert sorted(folder.removed) == ["t1", "t2"]


def test_a_single_document_that_goes_with_its_folder_is_waited_for() -> None:
    folder = with_team()
    folder.there = [one for one in folder.there if one.name != "t0"]
    del folder.devices["manifests/team"]
    folder.look()
    folder.rest(LONG_DELAY - 0.1)
    assert folder.removed == []


def test_newcomers_change_nothing_about_what_has_been_held_for_long() -> None:
    folder = Folder(4)
    folder.lose(3)
    folder.rest(75)
    folder.there += [document_of(name, file=f"manifests/{name}.yaml") for name in "xyz"]
    folder.look()
    assert folder.rest(600).prunable == ("s0", "s1", "s2")


def test_suspended_newcomers_are_no_new_names() -> None:
    folder = Folder(4)
    folder.lose(3)
    folder.there += [document_of(name, file=f"manifests/{name}.yaml", suspend=True) for name in "xyz"]
    folder.look()
    assert folder.rest(600).prunable == ("s0", "s1", "s2")


@pytest.mark.parametrize("lost", [3, 5, 6], ids=["half", "most", "all"])
def test_what_git_declares_does_not_hide_the_loss_of_the_folder(lost: int) -> None:
    folder = Folder(6)
    git = [replace(document_of(f"g{number}", file=f"git:g{number}.yaml"), origin=GIT) for number in range(20)]
    folder.there += git
    folder.look()
    del folder.there[:lost]
    folder.look()
    found = folder.rest(600)
    assert len(found.held) == (0 if lost == 3 else lost)
    assert found.folder_problem.startswith("no manifest is left, but 6 were accepted" if lost == 6 else "")
    assert bool(found.folder_problem) is (lost == 6)
    folder.there.append(replace(document_of("new", file="git:new.yaml"), origin=GIT))
    folder.look()
    assert len(folder.rest(600).held) == (0 if lost == 3 else lost), "what comes from Git is no new name of these"


def test_losing_all_of_git_is_held_though_the_folder_declares_more() -> None:
    folder = with_team(origin=GIT)
    lose_team(folder)
    folder.look()
    assert folder.rest(600).prunable == ("t0", "t1", "t2")
    assert "no manifest is left in Git, but 3 were accepted" in folder.last.folder_problem


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
