"""Controllers killed at random moments, a thousand times, while manifests change and servers crash."""

import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field

from chaos.forking import Forker
from chaos.house import House, housed
from chaos.scenario import Options, Outcome

NAMES = tuple(f"server-{number}" for number in range(8))
KEPT = ("calm", "quiet")
"""Nothing happens to these, and so they run as the same processes to the end."""
KILLS_A_ROUND = 20
"""Then all is let come to rest, and judged."""
MOST_PAUSE = 0.25
"""Seconds between a change and the kill: up to the time that most changes take."""
STORMS = 0.2
"""Share of the kills that come with a storm of SIGHUP."""
SIGNALS = (signal.SIGKILL,) * 6 + (signal.SIGTERM, signal.SIGINT)


@dataclass
class Game:
    """What was declared, and what happened."""

    house: House
    chance: random.Random
    declared: set[str] = field(default_factory=set)
    suspended: set[str] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def running(self) -> tuple[str, ...]:
        """The servers that are to run."""
        return (*KEPT, *sorted(self.declared - self.suspended))

    def change(self) -> None:
        """Something that a person or a server does."""
        kind = self.chance.choice(("edit", "edit", "crash", "crash", "suspend", "remove", "declare", "restart", "stop"))
        name = self.chance.choice(NAMES)
        self.done[kind] += 1
        if kind in ("restart", "stop"):
            self.house.ask_for(kind, name)
        elif kind == "crash":
            self._crash(name)
        elif kind == "remove":
            (self.house.manifests / f"{name}.yaml").unlink(missing_ok=True)
            self.declared.discard(name)
        else:
            self._declare(name, suspended=kind == "suspend")

    def _declare(self, name: str, *, suspended: bool) -> None:
        self.house.declare(name, ctx=self.chance.choice((128, 256, 384)), suspend=suspended)
        self.declared.add(name)
        (self.suspended.add if suspended else self.suspended.discard)(name)

    def _crash(self, name: str) -> None:
        pid = self.house.pids().get(name)
        if pid is not None:
            self.house.crash(pid)

    def kill_often(self, count: int) -> int:
        """A change or three, a moment, a kill, another controller."""
        house, chance = self.house, self.chance
        for _ in range(count):
            for _ in range(chance.randint(1, 3)):
                self.change()
            time.sleep(chance.random() ** 2 * MOST_PAUSE)
            if chance.random() < STORMS:
                for _ in range(50):
                    house.hang_up()
            house.kill_controller(chance.choice(SIGNALS))
            house.start()
        return count

    def settle(self) -> None:
        """All comes to rest: who was stopped by request is started again, what is held is confirmed."""
        house = self.house
        house.wait_for("the controller", house.is_controlled)
        house.reconcile()
        known = [name for (name,) in house.query("select name from documents") if name in NAMES]
        if gone := [name for name in known if name not in self.declared]:
            house.ask_for("prune", *gone)
        if here := [name for name in known if name in self.declared]:
            house.ask_for("start", *here)
        house.wait_for("removed ones to be gone", self._gone)
        house.wait_converged(*self.running)
        house.rest()

    def _gone(self) -> bool:
        rows = {name for (name,) in self.house.query("select name from servers")}
        return rows <= {*self.declared, *KEPT}


def play(options: Options) -> Outcome:
    """Rounds of kills, each judged when all has come to rest."""
    forker, kills, rounds, began = Forker(), 0, 0, time.monotonic()
    try:
        with housed(options.scratch / "house", options.llama_server, options.model, options.ports, forker) as house:
            game = Game(house, options.random())
            for name in KEPT:
                house.declare(name)
            house.start()
            house.wait_converged(*KEPT)
            kept = house.pids()
            while kills < options.kills and not options.is_over() and not game.failures:
                kills, rounds = kills + game.kill_often(min(KILLS_A_ROUND, options.kills - kills)), rounds + 1
                game.settle()
                game.failures += [f"after {kills} kills: {fault}" for fault in house.faults(game.running, kept)]
                if rounds % 5 == 0:
                    options.tell(f"{kills} kills")
            figures = {"kills": kills, "starts": house.spawns(), **{f"changes: {k}": n for k, n in game.done.items()}}
    finally:
        forker.close()
    if kills < options.kills:
        figures["not played to the end, of kills"] = options.kills
    return Outcome({**figures, "seconds": round(time.monotonic() - began, 1)}, game.failures)
