"""What happens while a controller may be killed at any boundary: edits, requests, crashes, and its own start."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from chaos.house import House

KEPT = ("calm", "quiet")
"""Servers that nothing happens to, in any act."""
SUBJECT = "subject"
GROUP = ("many-1", "many-2", "many-3")
BASE = (*KEPT, SUBJECT)


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


def _declare(*names: str, **spec: Any) -> Callable[[House], None]:
    def do(house: House) -> None:
        for name in names:
            house.declare(name, **spec)

    return do


def _prune(*names: str) -> Callable[[House], None]:
    def do(house: House) -> None:
        for name in names:
            (house.manifests / f"{name}.yaml").unlink(missing_ok=True)

    return do


def _confirm(*names: str) -> Callable[[House], None]:
    """Several removals within a short time are held by the prune guard until a person confirms them."""

    def confirm(house: House) -> None:
        held = [name for (name,) in house.query("select name from documents") if name in names]
        if held:
            house.ask_for("prune", *held)

    return confirm


def _gone(*names: str) -> Callable[[House], bool]:
    return lambda house: not {name for (name,) in house.query("select name from servers")} & set(names)


def _ask(kind: str, name: str) -> Callable[[House], None]:
    """As a person would who asks again when the command was cut off: unless it turns out to have been committed."""

    def ask(house: House) -> None:
        if kind == "start":
            pending = house.query("select 1 from requests where kind = 'stop' and done_at is null")
            if pending:
                house.ask_for(kind, name)
            return
        asked = int((house.root / "asked").read_text())
        if house.query("select count(*) from requests where kind = ?", kind)[0][0] <= asked:
            house.ask_for(kind, name)

    return ask


def _first(kind: str, name: str) -> Callable[[House], None]:
    def ask(house: House) -> None:
        before = house.query("select count(*) from requests where kind = ?", kind)[0][0]
        (house.root / "asked").write_text(str(before))
        _ask(kind, name)(house)

    return ask


def _stopped(house: House) -> bool:
    return bool(house.query("select 1 from requests where kind = 'stop' and done_at is null"))


def _unstopped(house: House) -> bool:
    return not _stopped(house)


def _restarted(house: House) -> bool:
    return not house.query("select 1 from requests where kind = 'restart' and done_at is null")


def _crash(house: House) -> None:
    house.crash(house.pids()[SUBJECT])


def _forget_rows(house: House) -> None:
    """A lost database: what runs is known by its marks alone."""
    with suppress(sqlite3.OperationalError), house.writing() as connection:
        for table in ("servers", "documents", "ports"):
            connection.execute(f"delete from {table}")
        # Ends are history that was told already; what is open is what is lost.
        connection.execute("delete from instances where ended_at is null")


def _edit(house: House) -> None:
    """Another context size, and so another fingerprint."""
    other = 256 if '"ctx": 128' in (house.manifests / f"{SUBJECT}.yaml").read_text() else 128
    house.declare(SUBJECT, ctx=other)


def _nothing(_: House) -> None:
    pass


_RESTART, _STOP, _START = (_first(kind, SUBJECT) for kind in ("restart", "stop", "start"))
LESS = tuple(name for name in BASE if name != SUBJECT)
MORE = (*BASE, *GROUP)
ACTS = (
    Act("controller's start", _nothing, is_down=True),
    Act("adopt by marks", _forget_rows, is_down=True),
    Act("update", _edit, starts=1, replaced=(SUBJECT,)),
    Act("update while down", _edit, starts=1, is_down=True, replaced=(SUBJECT,)),
    Act("crash", _crash, starts=1, replaced=(SUBJECT,)),
    Act("crash while down", _crash, starts=1, is_down=True, replaced=(SUBJECT,)),
    Act("restart", _RESTART, starts=1, is_done=_restarted, again=_ask("restart", SUBJECT), replaced=(SUBJECT,)),
    Act("stop", _STOP, LESS, is_done=_stopped, again=_ask("stop", SUBJECT), partner="start"),
    Act("start", _START, starts=1, is_done=_unstopped, again=_ask("start", SUBJECT), partner="stop"),
    Act("suspend", _declare(SUBJECT, suspend=True), LESS, partner="resume"),
    Act("resume", _declare(SUBJECT), starts=1, partner="suspend"),
    Act("start several", _declare(*GROUP), MORE, starts=3, partner="prune several"),
    Act("prune several", _prune(*GROUP), is_done=_gone(*GROUP), confirms=_confirm(*GROUP), partner="start several"),
)
"""In an order in which each leaves what the next one needs."""
