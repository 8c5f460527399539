"""From one profile to the next: who waits until others are gone, and who runs on until others are Ready."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from reconciler.core.first_starts import STUCK, is_asked_to_run, is_up, standing
from reconciler.core.history import Instance
from reconciler.core.model import Desired, Phase
from reconciler.core.ports import hosts_overlap
from reconciler.core.server import Server
from reconciler.core.spec import DEFAULT_HOST

WAITING, HELD = "WaitingForSwitch", "SwitchHeld"
MOST_SHOWN = 4
"""Servers that a message names."""


def hold_first_starts(servers: Sequence[Server], desired: Desired) -> None:
    """StopFirst: none is first started while one that leaves is still there, for its memory is needed."""
    leaving = [server for server in servers if _is_there(server)]
    if desired.switch != "StopFirst" or not leaving:
        return
    why = f"the active profile '{desired.profile}' waits for {_quoted([one.name for one in leaving])} to end"
    in_vain = [one.name for one in leaving if not (one.in_scope or one.instance is None or one.instance.stopping)]
    for server in servers:
        if not server.is_parked:
            server.waits = (Phase.PENDING, WAITING, why)
            if in_vain and server.in_scope:
                ask = f"no controller is running that ends {_quoted(in_vain)}; switch with: reconciler apply"
                server.waits = (Phase.BLOCKED, HELD, f"{why}, but {ask}")


def _is_there(server: Server) -> bool:
    """Whether one that is left out has an instance, or left something over."""
    return server.is_parked and (server.instance is not None or any(process.alive for process in server.processes))


def keep_leaving(servers: Sequence[Server], desired: Desired) -> None:
    """StartFirst: those that leave run on until all of the profile are Ready, but for what these need of theirs."""
    for_place = [server for server in servers if server.claim == "start" and server.gate.for_leaving]
    for server in for_place:
        server.claim = ""
        server.show(Phase.PENDING, WAITING, "it needs the place of one that the active profile leaves out")
    leaving = [server for server in servers if server.is_parked and server.instance is not None]
    if desired.switch != "StartFirst" or not leaving:
        return
    awaited = [server for server in servers if _is_awaited(server)]
    if awaited or desired.broken:
        gone = {*_on_ports_of(awaited, leaving), *_giving_place(for_place, leaving)}
        reason, why = _why(awaited, desired)
        for server in leaving:
            if server.name not in gone:
                end = f"; end this one all the same with: reconciler stop {server.name}" if reason == HELD else ""
                server.stays = (reason, f"{why}{end}")


def _is_awaited(server: Server) -> bool:
    if not is_asked_to_run(server):
        return False
    is_about_to_change = server.claim == "replace" and not server.gate.reason
    return is_about_to_change or not is_up(server)


def _on_ports_of(awaited: Sequence[Server], leaving: Sequence[Server]) -> Iterator[str]:
    """Those whose port one needs that could start but for them."""
    on_port: dict[int, list[tuple[str, Instance]]] = defaultdict(list)
    for server in leaving:
        if server.instance is not None:
            on_port[server.instance.port].append((server.name, server.instance))
    for server in awaited:
        assert server.wanted is not None
        port = server.wanted.spec.port
        if server.claim and not server.gate.reason and isinstance(port, int):
            there = on_port.get(port, ())
            yield from (name for name, one in there if hosts_overlap(server.wanted.spec.host, _host(one)))


def _giving_place(for_place: Sequence[Server], leaving: Sequence[Server]) -> Iterator[str]:
    """As many as places are needed, by where they come from; those that end already come first."""
    for is_git in (False, True):
        needed = sum(server.is_from_git is is_git for server in for_place)
        theirs = [server for server in leaving if server.is_from_git is is_git]
        ranked = sorted(theirs, key=lambda one: (one.instance is None or one.instance.stopping is None, one.name))
        yield from (server.name for server in ranked[:needed])


def _host(instance: Instance) -> str:
    return str(instance.spec.get("host", DEFAULT_HOST))


def _stuck(awaited: Sequence[Server], desired: Desired) -> list[tuple[str, str]]:
    """Names of those that somebody has to help, and what is wrong."""
    found = [(server.name, standing(server)) for server in awaited]
    stuck = [(name, f"{phase} ({reason})") for name, (phase, reason) in found if phase in STUCK]
    return [*stuck, *((name, Phase.INVALID.value) for name in sorted(desired.broken))]


def _why(awaited: Sequence[Server], desired: Desired) -> tuple[str, str]:
    """Why those that leave run on: the reason, and in words."""
    left_out, stuck = f"the active profile '{desired.profile}' leaves it out", _stuck(awaited, desired)
    if not stuck:
        return WAITING, f"{left_out}; it runs on until {_quoted([one.name for one in awaited])} is Ready"
    name, what = stuck[0]
    more = f", and {len(stuck) - 1} more wait for help" if len(stuck) > 1 else ""
    return HELD, f"{left_out}; it runs on, for '{name}' is {what}{more}; see: reconciler describe server {name}"


def _quoted(names: Collection[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in sorted(names)[:MOST_SHOWN])
    return f"{shown} and {more} more" if (more := len(names) - MOST_SHOWN) > 0 else shown
