"""The controller dies at every boundary between two steps that touch the outside; the next one makes all well."""

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.core.model import Identity
from tests.controller.simulated import Controller, Machine, bury, model_in
from tests.core.worlds import ControllerDied

KEPT = ("calm", "quiet")
BASE = (*KEPT, "subject")
PORT = 8700
"""Declared by what has one."""
LEAST = 8
"""Boundaries of any act: opening the database alone has some."""


@dataclass(frozen=True)
class Act:
    """What happens, and what it comes to."""

    do: Callable[["Play"], None]
    running: tuple[str, ...] = BASE
    starts: int = 0
    replaced: tuple[str, ...] = ()
    deaf: bool = False
    """The server ignores SIGTERM."""
    base: Callable[["Play"], None] = lambda _: None
    """What is the case beforehand."""
    while_down: Callable[[Machine], None] = lambda _: None
    """What happens to the folder before the first of the controllers."""
    doomed: bool = False
    """A process that was spawned ends with the controller that dies, before anybody can look."""


class Play:
    """A machine, and the controller of the moment."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.asked = 0
        self.unseen: set[str] = set()
        """Processes that ended while no controller was there."""

    def live(self) -> None:
        self.controller = Controller(self.machine)

    def die(self, *, keeping: Mapping[str, Identity] | None = None) -> None:
        """`keeping`: all other processes end with the controller."""
        self.machine.left = None
        for process in self.machine.processes:
            if keeping is not None and process.alive and process.identity not in keeping.values():
                process.end(process.exits_as)
                self.unseen.add(process.uid)
        bury(self.machine)
        # What the old one knew by heart is lost with it: how processes ended.
        self.machine.processes = [process for process in self.machine.processes if process.alive]

    def ask(self, kind: str) -> None:
        """Asked once for all: a request that was committed before the controller died is not asked for again."""
        count = self.controller.store._db.execute("select count(*) from requests where kind = ?", [kind]).fetchone()[0]
        if count == 0:
            self.controller.request(kind, "subject")

    def start(self) -> None:
        if "subject" in self.controller.store.requests().stop:
            self.controller.request("start", "subject")

    def judge(self, act: Act, before: Mapping[str, Identity], spawned: int) -> None:
        machine, alive = self.machine, self.machine.alive()
        assert set(alive) == set(act.running)
        kept = {name: one for name, one in before.items() if name in act.running and name not in act.replaced}
        assert kept.items() <= alive.items(), f"restarted for nothing: {kept} were, {alive} are"
        assert len(machine.spawned) - spawned == act.starts + len(self.unseen)
        rows = {row.uid: row for row in machine.rows()}
        assert {row.identity for row in rows.values() if row.ended is None} == set(alive.values()), "open rows"
        seen = [uid for uid in machine.spawned if uid not in self.unseen]
        lost = [uid for uid in machine.spawned if uid not in rows]
        lost += [uid for uid in seen if uid in rows and rows[uid].diagnosis == "NotStarted"]
        assert not lost, f"spawned, but not in the history: {lost}"
        assert all(count == 1 for count in machine.terms.values()), f"a second TERM: {machine.terms}"
        taken = [row.identity.pid for row in rows.values() if row.adopted and row.identity]
        assert sorted(taken) == sorted(machine.by_hand), f"each stranger is taken over once: {taken}"


def crash(play: Play) -> None:
    for process in play.machine.processes:
        if process.server == "subject" and process.alive and play.asked == 0:
            process.end(process.exits_as)
    play.asked = 1


def declare(*names: str, **spec: object) -> Callable[[Play], None]:
    return lambda play: play.machine.declare(*names, **spec)


def all_at_once(play: Play) -> None:
    play.machine.declare("subject", ctx=256)
    play.machine.declare("one")
    crash(play)


def remove(*names: str) -> Callable[[Play], None]:
    return lambda play: play.machine.remove(*(name for name in names if name in play.machine.declared))


def forget_rows(machine: Machine) -> None:
    """What runs is known by its marks alone."""
    with sqlite3.connect(machine.folder / "state.db") as connection:
        for table in ("servers", "documents", "ports"):
            connection.execute(f"delete from {table}")
        connection.execute("delete from instances where ended_at is null")
    connection.close()


def by_hand(play: Play, *, ctx: int = 128) -> None:
    """Somebody runs what will be declared."""
    play.machine.remove("subject")
    play.controller.converge()
    play.machine.run_by_hand("subject", PORT, ctx)


def taken_over(play: Play) -> None:
    by_hand(play)
    AS_BY_HAND(play)


def asked_for(play: Play) -> None:
    """Taken over as it is, though it is not as declared."""
    AS_BY_HAND(play)
    play.ask("adopt")


AS_BY_HAND, OTHERWISE = declare("subject", port=PORT, ctx=128), declare("subject", port=PORT, ctx=256)
STRANGERS = {
    "a stranger is taken over": Act(AS_BY_HAND, base=by_hand),
    "a stranger is taken over on request": Act(asked_for, base=lambda play: by_hand(play, ctx=512)),
    "adopted: nothing": Act(AS_BY_HAND, base=taken_over),
    "adopted: lost rows": Act(AS_BY_HAND, base=taken_over, while_down=forget_rows),
    "adopted: update": Act(OTHERWISE, starts=1, replaced=("subject",), base=taken_over),
    "adopted: update of a deaf one": Act(OTHERWISE, starts=1, replaced=("subject",), base=taken_over, deaf=True),
    "adopted: crash": Act(crash, starts=1, replaced=("subject",), base=taken_over),
    "adopted: restart": Act(lambda play: play.ask("restart"), starts=1, replaced=("subject",), base=taken_over),
    "adopted: stop": Act(lambda play: play.ask("stop"), KEPT, base=taken_over),
    "adopted: stop of a deaf one": Act(lambda play: play.ask("stop"), KEPT, base=taken_over, deaf=True),
    "adopted: suspend": Act(declare("subject", port=PORT, ctx=128, suspend=True), KEPT, base=taken_over),
    "adopted: prune": Act(remove("subject"), KEPT, base=taken_over),
}
"""What somebody started by hand, and what becomes of it."""
ACTS = {
    "nothing": Act(lambda _: None),
    "update": Act(declare("subject", ctx=256), starts=1, replaced=("subject",)),
    "update of a deaf one": Act(declare("subject", ctx=256), starts=1, replaced=("subject",), deaf=True),
    "crash": Act(crash, starts=1, replaced=("subject",)),
    "stop": Act(lambda play: play.ask("stop"), KEPT),
    "stop of a deaf one": Act(lambda play: play.ask("stop"), KEPT, deaf=True),
    "restart": Act(lambda play: play.ask("restart"), starts=1, replaced=("subject",)),
    "start": Act(Play.start, starts=1, replaced=("subject",), base=lambda play: play.ask("stop")),
    "suspend": Act(declare("subject", suspend=True), KEPT),
    "resume": Act(declare("subject"), starts=1, replaced=("subject",), base=declare("subject", suspend=True)),
    "adopt": Act(lambda _: None, while_down=forget_rows),
    "starts that end unseen": Act(declare("one", "two"), (*BASE, "one", "two"), starts=2, doomed=True),
    "several starts": Act(declare("one", "two", "three"), (*BASE, "one", "two", "three"), starts=3),
    "prune": Act(remove("subject"), KEPT),
    "another port": Act(declare("subject", port=PORT), starts=1, replaced=("subject",)),
    "all at once": Act(
        all_at_once,
        (*BASE, "one"),
        starts=2,
        replaced=("subject",),
    ),
    **STRANGERS,
}


class Playing:
    """All boundaries of one act, each from the same beginning."""

    def __init__(self, folder: Path, act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
        self._act, base = act, folder / "state"
        base.mkdir()
        model_in(base)
        self.machine = Machine(base, deaf=act.deaf)
        self.machine.patch(monkeypatch)
        self.machine.declare(*BASE)
        play = Play(self.machine)
        play.live()
        play.controller.converge()
        act.base(play)
        play.controller.converge()
        play.die()
        self._restore = self.machine.saved()

    def play(self, *numbers: int) -> bool:
        """Controllers that die at these boundaries, one after the other, then one that lives; False if one survived."""
        machine, act = self.machine, self._act
        self._restore()
        play, before, spawned = Play(machine), machine.alive(), len(machine.spawned)
        act.while_down(machine)
        deaths = [self._dies(play, number, before) for number in numbers]
        self._dies(play, None, before)
        try:
            play.judge(act, before, spawned)
        except AssertionError as error:
            raise AssertionError(f"{numbers}: after deaths at {machine.died_at}: {error}") from error
        play.die()
        return all(deaths)

    def _dies(self, play: Play, number: int | None, before: Mapping[str, Identity]) -> bool:
        """One life. What happens does so once there is a controller that has looked; the first look is counted too."""
        try:
            self.machine.left = number
            play.live()
            self._act.do(play)
            play.controller.converge()
        except ControllerDied:
            play.die(keeping=before if self._act.doomed else None)
            return True
        self.machine.left = None
        if number is not None:
            play.die()
        return False


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_killed_at_every_boundary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Act) -> None:
    playing, number = Playing(tmp_path, act, monkeypatch), 1
    while playing.play(number):
        number += 1
    assert number > LEAST, f"hardly anything was played: {playing.machine.passed}"


@pytest.mark.parametrize("act", ["update", "restart", "several starts"])
def test_killed_again_at_every_early_boundary_of_the_next_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    playing = Playing(tmp_path, ACTS[act], monkeypatch)
    for first in range(16, 40, 4):
        for second in range(1, 30, 5):
            playing.play(first, second)
