"""What people and servers do while a controller may be killed: edits, requests, crashes, servers run by hand."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from chaos.house import House

KEPT = ("calm", "quiet")
"""Servers that nothing happens to, in any act."""
SUBJECT = "subject"
GROUP = ("many-1", "many-2", "many-3")
SLOW = "slow"
"""It takes long to end after SIGTERM, and counts those that it gets."""
BASE = (*KEPT, SUBJECT, SLOW)
HAND, SLOW_HAND = "hand", "slow-hand"
"""Servers that somebody starts by hand, and that are taken over."""


def declare(*names: str, **spec: Any) -> Callable[[House], None]:
    """Write the manifests of these."""

    def do(house: House) -> None:
        for name in names:
            house.declare(name, **spec)

    return do


def prune(*names: str) -> Callable[[House], None]:
    """Remove their manifests."""

    def do(house: House) -> None:
        for name in names:
            (house.manifests / f"{name}.yaml").unlink(missing_ok=True)

    return do


def confirm(*names: str) -> Callable[[House], None]:
    """Several removals within a short time are held by the prune guard until a person confirms them."""

    def do(house: House) -> None:
        held = [name for (name,) in house.query("select name from documents") if name in names]
        if held:
            house.ask_for("prune", *held)

    return do


def gone(*names: str) -> Callable[[House], bool]:
    """Whether none of them is remembered."""
    return lambda house: not {name for (name,) in house.query("select name from servers")} & set(names)


def ask(kind: str, name: str) -> Callable[[House], None]:
    """As a person who asks again when the command was cut off: not when it turns out to have been committed."""

    def do(house: House) -> None:
        if kind == "start":
            pending = house.query("select 1 from requests where kind = 'stop' and done_at is null")
            if pending:
                house.ask_for(kind, name)
            return
        asked = int((house.root / "asked").read_text())
        if house.query("select count(*) from requests where kind = ?", kind)[0][0] <= asked:
            house.ask_for(kind, name)

    return do


def first(kind: str, name: str) -> Callable[[House], None]:
    """As one who asks for the first time."""

    def do(house: House) -> None:
        before = house.query("select count(*) from requests where kind = ?", kind)[0][0]
        (house.root / "asked").write_text(str(before))
        ask(kind, name)(house)

    return do


def stopped(house: House) -> bool:
    """Whether somebody is to stay stopped."""
    return bool(house.query("select 1 from requests where kind = 'stop' and done_at is null"))


def unstopped(house: House) -> bool:
    """Whether nobody is."""
    return not stopped(house)


def done(kind: str) -> Callable[[House], bool]:
    """Whether no such request is left to be done."""
    return lambda house: not house.query("select 1 from requests where kind = ? and done_at is null", kind)


def crash(name: str) -> Callable[[House], None]:
    """It ends by a fault of its own."""
    return lambda house: house.crash(house.pids()[name])


def forget_rows(house: House) -> None:
    """A lost database: what runs is known by its marks alone."""
    with suppress(sqlite3.OperationalError), house.writing() as connection:
        for table in ("servers", "documents", "ports"):
            connection.execute(f"delete from {table}")
        # Ends are history that was told already; what is open is what is lost.
        connection.execute("delete from instances where ended_at is null")


def edit(name: str) -> Callable[[House], None]:
    """Another context size, and so another fingerprint."""

    def do(house: House) -> None:
        other = 256 if '"ctx": 128' in (house.manifests / f"{name}.yaml").read_text() else 128
        house.declare(name, ctx=other)

    return do


def nothing(_: House) -> None:
    """Only the controller acts."""


# ---------------------------------------------------------------- what somebody starts by hand


def port(house: House) -> int:
    """The last one that `port: auto` would take."""
    return house.ports.stop - 1


def declare_there(name: str, **spec: Any) -> Callable[[House], None]:
    """Write the manifest of what runs by hand, or ran."""

    def do(house: House) -> None:
        house.declare(name, port=port(house), **spec)

    return do


def run_by_hand(house: House) -> None:
    """What will be declared."""
    house.run_by_hand(HAND, port(house), ctx=128)


def take_over(name: str) -> Callable[[House], None]:
    """It was started by hand, and is taken over already."""

    def do(house: House) -> None:
        house.run_by_hand(name, port(house), ctx=128)
        house.declare(name, port=port(house))
        house.wait_converged(*BASE, name)

    return do


def be_in_the_way(house: House) -> None:
    """What runs by hand is not as declared: a person has to say that it is to be taken over."""
    house.run_by_hand(HAND, port(house), ctx=256)
    house.declare(HAND, port=port(house))
    house.wait_phase(HAND, "Blocked")


def leave(house: House) -> None:
    """It is declared no more, and ends."""
    names = (HAND, SLOW_HAND)
    prune(*names)(house)

    def are_gone() -> bool:
        confirm(*names)(house)
        return gone(*names)(house)

    house.wait_for("who was taken over to be gone", are_gone)
    house.wait_converged(*BASE)
