"""What happens while a controller may be killed at any boundary: edits, requests, crashes, and its own start."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chaos import deeds
from chaos.deeds import BASE, GROUP, HAND, SLOW, SLOW_HAND, SUBJECT
from chaos.house import House


@dataclass(frozen=True)
class Act:
    """One thing that happens, the servers that run when it is over, and the starts that it takes."""

    name: str
    do: Callable[[House], None]
    """Once; it may meet no controller, or one that dies over it."""
    running: tuple[str, ...] = BASE
    starts: int = 0
    """Exactly, however often the controller dies."""
    is_down: bool = False
    """It happens while no controller runs, and the boundaries begin with the controller's start."""
    is_done: Callable[[House], bool] = lambda _: True
    """Whether it has come to pass, besides what runs."""
    again: Callable[[House], None] | None = None
    """What a person does who saw the controller die over it."""
    partner: str = ""
    """The act that leads to its beginning, or back to it."""
    confirms: Callable[[House], None] | None = None
    """What a person does when it is held until somebody confirms it."""
    replaced: tuple[str, ...] = ()
    """Servers that run before and after, as another process."""
    prepare: Callable[[House], None] = lambda _: None
    """What is the case beforehand, besides what every act begins with. No boundary of it is counted."""
    tidy: Callable[[House], None] = lambda _: None
    """From where it leads back to what every act begins with."""


def _without(name: str) -> tuple[str, ...]:
    return tuple(one for one in BASE if one != name)


def _stop(name: str, act: str, partner: str = "", **more: Any) -> Act:
    again = deeds.ask("stop", name)
    return Act(
        act, deeds.first("stop", name), _without(name), is_done=deeds.stopped, again=again, partner=partner, **more
    )


def _start(name: str, act: str, partner: str) -> Act:
    return Act(
        act,
        deeds.first("start", name),
        starts=1,
        is_done=deeds.unstopped,
        again=deeds.ask("start", name),
        partner=partner,
    )


def _restart(name: str, act: str) -> Act:
    again = deeds.ask("restart", name)
    return Act(
        act, deeds.first("restart", name), starts=1, is_done=deeds.done("restart"), again=again, replaced=(name,)
    )


MORE = (*BASE, *GROUP)
_SLOW_ONE: dict[str, Any] = {"prepare": deeds.take_over(SLOW_HAND), "tidy": deeds.leave}
_SUCCESSOR: dict[str, Any] = {"running": (*BASE, SLOW_HAND), "starts": 1, "replaced": (SLOW_HAND,), **_SLOW_ONE}
BY_HAND = (
    Act("take over", deeds.declare_there(HAND), (*BASE, HAND), prepare=deeds.run_by_hand, tidy=deeds.leave),
    Act(
        "take over on request",
        deeds.first("adopt", HAND),
        (*BASE, HAND),
        is_done=deeds.done("adopt"),
        again=deeds.ask("adopt", HAND),
        prepare=deeds.be_in_the_way,
        tidy=deeds.leave,
    ),
    Act(
        "take over anew",
        deeds.forget_rows,
        (*BASE, HAND),
        is_down=True,
        prepare=deeds.take_over(HAND),
        tidy=deeds.leave,
    ),
    Act(
        "taken over: start", deeds.nothing, (*BASE, HAND), is_down=True, prepare=deeds.take_over(HAND), tidy=deeds.leave
    ),
    Act("taken over: update", deeds.declare_there(SLOW_HAND, ctx=256), **_SUCCESSOR),
    Act("taken over: crash", deeds.crash(SLOW_HAND), **_SUCCESSOR),
    _stop(SLOW_HAND, "taken over: stop", **_SLOW_ONE),
    Act("taken over: suspend", deeds.declare_there(SLOW_HAND, suspend=True), **_SLOW_ONE),
    Act(
        "taken over: prune",
        deeds.prune(SLOW_HAND),
        is_done=deeds.gone(SLOW_HAND),
        confirms=deeds.confirm(SLOW_HAND),
        **_SLOW_ONE,
    ),
)
"""What becomes of a server that somebody started by hand."""
ACTS = (
    Act("controller's start", deeds.nothing, is_down=True),
    Act("adopt by marks", deeds.forget_rows, is_down=True),
    Act("update", deeds.edit(SUBJECT), starts=1, replaced=(SUBJECT,)),
    Act("update while down", deeds.edit(SUBJECT), starts=1, is_down=True, replaced=(SUBJECT,)),
    Act("update of a slow one", deeds.edit(SLOW), starts=1, replaced=(SLOW,)),
    Act("crash", deeds.crash(SUBJECT), starts=1, replaced=(SUBJECT,)),
    Act("crash while down", deeds.crash(SUBJECT), starts=1, is_down=True, replaced=(SUBJECT,)),
    _restart(SUBJECT, "restart"),
    _restart(SLOW, "restart of a slow one"),
    _stop(SUBJECT, "stop", "start"),
    _start(SUBJECT, "start", "stop"),
    _stop(SLOW, "stop of a slow one", "start of a slow one"),
    _start(SLOW, "start of a slow one", "stop of a slow one"),
    Act("suspend", deeds.declare(SLOW, suspend=True), _without(SLOW), partner="resume"),
    Act("resume", deeds.declare(SLOW), starts=1, partner="suspend"),
    Act("start several", deeds.declare(*GROUP), MORE, starts=3, partner="prune several"),
    Act(
        "prune several",
        deeds.prune(*GROUP),
        is_done=deeds.gone(*GROUP),
        confirms=deeds.confirm(*GROUP),
        partner="start several",
    ),
    *BY_HAND,
)
"""In an order in which each leaves what the next one needs."""
