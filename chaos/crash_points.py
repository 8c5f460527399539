"""A controller killed at each boundary between two steps that touch the outside, and another over what is left."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from chaos.acts import ACTS, Act
from chaos.deeds import BASE, KEPT
from chaos.forking import Forker
from chaos.house import House, housed
from chaos.scenario import Options, Outcome

NEVER = 1 << 60


@dataclass
class Score:
    """What was played, and what went wrong."""

    points: dict[str, int] = field(default_factory=dict)
    """Boundaries played, by act."""
    exhausted: set[str] = field(default_factory=set)
    """Acts that came to their end without the controller's reaching the boundary: all before it were played."""
    failures: list[str] = field(default_factory=list)


def play(options: Options) -> Outcome:
    """Every boundary of every act, one after the other."""
    score, number = Score(), 0
    with at_base(options.scratch / "house", options) as house:
        while len(score.exhausted) < len(ACTS) and not options.is_over():
            number += 1
            for act in _left(score):
                play_act(house, act, 0 if act.name in score.exhausted else number, score)
            options.tell(f"boundary {number}, {len(score.failures)} failures")
    play_first_start(options, score)
    figures: dict[str, int | float | str] = {f"boundaries of {name}": count for name, count in score.points.items()}
    unfinished = [act.name for act in ACTS if act.name not in score.exhausted]
    if unfinished:
        figures["not played to the end"] = ", ".join(unfinished)
    return Outcome({"crashes": sum(score.points.values()), **figures}, score.failures)


def _left(score: Score) -> list[Act]:
    """What is to be played on, with what leads back from there to the beginning."""
    return [act for act in ACTS if not {act.name, act.partner or act.name} <= score.exhausted]


@contextmanager
def at_base(root: Path, options: Options) -> Iterator[House]:
    """An installation with the servers that every round of acts begins and ends with."""
    forker = Forker()
    try:
        with housed(root, options.llama_server, options.model, options.ports, forker) as house:
            for name in BASE:
                house.declare(name)
            house.start()
            house.wait_converged(*BASE)
            yield house
    finally:
        forker.close()


def play_act(house: House, act: Act, number: int, score: Score) -> None:
    """One act, with a controller that is killed at its boundary of that number (0: at none)."""
    act.prepare(house)
    before, starts = house.pids(), house.spawns() + act.starts
    place = act.name
    if _survives(house, act, number, starts):
        if number:
            score.exhausted.add(act.name)
    else:
        score.points[act.name] = score.points.get(act.name, 0) + 1
        place = f"{act.name}, killed at boundary {house.fuse.passed} ({house.trace()[-1]})"
        _recover(house, act)
    _wait(house, act, starts)
    kept = {name: pid for name, pid in before.items() if name in act.running and name not in act.replaced}
    faults = house.faults(act.running, kept)
    if house.spawns() != starts:
        faults.append(f"no needless start: {act.starts} were called for, {house.spawns() - starts + act.starts} seen")
    score.failures += [f"{place}: {fault}" for fault in faults]
    act.tidy(house)


def _survives(house: House, act: Act, number: int, starts: int) -> bool:
    """Do it; whether the controller lives to see its end."""
    if act.is_down:
        house.kill_controller()
        act.do(house)
    house.fuse.arm(number or NEVER)
    if act.is_down:
        house.start()
    else:
        act.do(house)
    with suppress(AssertionError):  # it has ended while something was waited for
        _wait(house, act, starts)
        house.rest()
    house.fuse.disarm()
    return house.runs


def _recover(house: House, act: Act) -> None:
    """Another controller; what a person asked for and saw cut off is asked for again."""
    house.controller = None
    house.start()
    if act.again is not None:
        house.wait_for("the controller", house.is_controlled)
        act.again(house)


def _wait(house: House, act: Act, starts: int) -> None:
    def done() -> bool:
        if act.confirms is not None and _is_held(house):
            act.confirms(house)
        return house.is_controlled() and house.spawns() >= starts and act.is_done(house)

    house.wait_for(f"{act.name} to be done", done)
    house.wait_converged(*act.running)


def _is_held(house: House) -> bool:
    return any("prune guard" in text for (text,) in house.query("select record from servers"))


def play_first_start(options: Options, score: Score) -> None:
    """The start of a new installation, from no state folder on."""
    name, number, forker = "first start", 0, Forker()
    try:
        while name not in score.exhausted and not options.is_over():
            number += 1
            root = options.scratch / f"first-{number}"
            with housed(root, options.llama_server, options.model, options.ports, forker) as house:
                for server in KEPT:
                    house.declare(server)
                play_act(house, Act(name, lambda _: None, KEPT, len(KEPT), is_down=True), number, score)
    finally:
        forker.close()


def sampled(count: int, most: int) -> Sequence[int]:
    """So many boundaries of the first `most`, evenly."""
    return [1 + round(step * (most - 1) / max(1, count - 1)) for step in range(count)]
