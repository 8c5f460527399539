"""The decision: what to do now, and when to look again. Pure, total and deterministic."""

from dataclasses import replace

from reconciler.core.actions import Plan, Start
from reconciler.core.at_rest import is_at_rest, stable_at
from reconciler.core.fallback import is_on_trial, step_to_start
from reconciler.core.first_starts import wait_for_dependencies
from reconciler.core.history import History, Requests, ServerRecord, StopReason, Trigger
from reconciler.core.idle import is_starved
from reconciler.core.lifecycle import finish, settle
from reconciler.core.load_slots import LoadSlots
from reconciler.core.model import Desired, Now, Phase, Wanted
from reconciler.core.observed import Observed, Stranger
from reconciler.core.port_claims import Ports
from reconciler.core.ports import hosts_overlap
from reconciler.core.server import NOT_LOOKED, STATE_UNWRITABLE, UNASKED, Server, phase_of
from reconciler.core.startable import choose_start
from reconciler.core.status import show_status
from reconciler.core.stopping import begin_stop
from reconciler.core.strangers import ignore_adopt_request, meet_strangers
from reconciler.core.switching import hold_first_starts, keep_leaving

STARTS_PER_PASS = 32
"""Most starts in one plan: the loop does nothing else while it spawns, and those that run already want to be probed."""
GATE_LOOK = 1.0
"""Seconds between looks at a gate that is shut."""


def plan(desired: Desired, observed: Observed, history: History, requests: Requests, now: Now) -> Plan:
    """Compare what should run with what does, and name the next steps.

    Following the actions and looking again at `wake_at` converges; the same input gives the same plan.
    """
    servers, wakes = [], []
    for name in _names(desired, observed, history):
        if not is_at_rest(name, desired, observed, history, requests, now):
            servers.append(_server(name, desired, observed, history, requests, now))
        elif is_on_trial(history.servers[name], history.instances[name]):
            wakes.append(stable_at(desired.servers[name], history.servers[name], history.instances[name]))
    _settle(servers, desired)
    _share(servers, desired, observed, history, now)
    for server in servers:
        show_status(server)
        finish(server)
    wakes += [at for server in servers for at in server.wakes]
    return Plan(
        actions=tuple(action for server in servers for action in server.actions),
        events=tuple(event for server in servers for event in server.events),
        wake_at=max(min(wakes), now.monotonic) if wakes else None,
    )


def _settle(servers: list[Server], desired: Desired) -> None:
    """What each decides alone. Whether those leave that the active profile leaves out depends on the others."""
    hold_first_starts(servers, desired)
    for server in servers:
        if not server.is_parked:
            settle(server)
            choose_start(server)
    wait_for_dependencies(servers, desired)
    keep_leaving(servers, desired)
    for server in servers:
        if server.is_parked:
            settle(server)


def _names(desired: Desired, observed: Observed, history: History) -> list[str]:
    return sorted({*desired.servers, *desired.invalid, *observed.processes, *history.servers, *history.instances})


def _server(name: str, desired: Desired, observed: Observed, history: History, requests: Requests, now: Now) -> Server:
    saved = history.servers.get(name)
    return Server(
        name=name,
        now=now,
        wanted=desired.servers.get(name),
        record=saved or ServerRecord(name),
        instance=history.instances.get(name),
        processes=observed.processes.get(name, ()),
        gate=observed.gates.get(name, NOT_LOOKED),
        stop_request=requests.stop.get(name),
        restart_request=requests.restart.get(name),
        adopt_request=requests.adopt.get(name),
        primary_request=requests.primary.get(name),
        limits=desired.limits,
        invalid=desired.invalid.get(name, ()),
        keep_unknown=desired.unreadable and (saved is None or saved.generation == 0),
        in_scope=desired.scope is None or name in desired.scope,
        state_trouble=observed.state_trouble,
        sharer=observed.sharers.get(name),
        squatter=None if name in history.instances else _squatter(desired.servers.get(name), observed),
        saved=saved,
    )


def _squatter(wanted: Wanted | None, observed: Observed) -> Stranger | None:
    if wanted is None:
        return None
    spec = wanted.spec
    there = (one for one in observed.strangers if one.port == spec.port and hosts_overlap(one.address, spec.host))
    return observed.squatters.get(wanted.document.name) or next(there, None)


# ---------------------------------------------------------------- what servers share: ports and load slots


def _share(servers: list[Server], desired: Desired, observed: Observed, history: History, now: Now) -> None:
    claims = [server for server in servers if server.claim and server.in_scope]
    if not claims:
        return
    ports = Ports(servers, observed, desired, history)
    leaving = {s.name for s in servers if s.instance and s.instance.stopping}
    _replace([s for s in claims if s.claim == "replace"], ports, leaving)
    starts = meet_strangers([s for s in claims if s.claim == "start"], ports, observed)
    _start(starts, servers, ports, leaving, desired, now)


def _replace(claims: list[Server], ports: Ports, leaving: set[str]) -> None:
    """Stop what changed, but only where the successor could start. `leaving` grows by those that go."""
    movers = {server.name: server for server in claims if not server.gate.reason}
    while stuck := [s for s in movers.values() if _obstacle(s, ports, leaving, movers)]:
        for server in stuck:
            del movers[server.name]
    for server in claims:
        if server.name in movers and server.state_trouble:
            server.wait_for_state()
        elif server.name in movers:
            begin_stop(server, server.replace_reason)
            leaving.add(server.name)
        else:
            _stay(server, _obstacle(server, ports, leaving, movers))


def _stay(server: Server, obstacle: str) -> None:
    gate = server.gate
    if server.replace_reason is not StopReason.PRIMARY_RETRIED:  # nobody waits for that one
        why = f"{gate.reason}: {gate.message}" if gate.reason else f"the new port is held by {obstacle}"
        is_passing = gate.reason == NOT_LOOKED.reason
        if is_passing:
            why = gate.message
        server.waiting = (
            NOT_LOOKED.reason if is_passing else "GateShut",
            f"{why}; until then the instance that runs stays",
        )
    server.wake(min(gate.retry_at or float("inf"), server.now.monotonic + GATE_LOOK))


def _obstacle(server: Server, ports: Ports, leaving: set[str], movers: dict[str, Server]) -> str:
    """Who would keep the successor from its port; those who leave it themselves do not count."""
    assert server.wanted
    port = server.wanted.spec.port
    if not isinstance(port, int):
        return ""
    for holder in ports.holders(server.name, server.wanted.spec.host, port):
        if holder.keeps or not (holder.server in leaving or _moves_away(movers.get(holder.server), port)):
            return holder.told
    return ""


def _moves_away(mover: Server | None, port: int) -> bool:
    return mover is not None and mover.wanted is not None and mover.wanted.spec.port not in (port, "auto")


def _start(
    claims: list[Server], servers: list[Server], ports: Ports, leaving: set[str], desired: Desired, now: Now
) -> None:
    """Start what may start: local ones, then restarts of servers that were Ready; as many as there are load slots."""
    slots, started = LoadSlots(servers, desired, now), 0
    for server in sorted(claims, key=lambda s: (s.is_from_git, not s.record.was_ready, s.name)):
        port = _gate(server, ports, leaving)
        if port is None:
            continue
        if server.state_trouble:
            server.show(Phase.BLOCKED, STATE_UNWRITABLE, server.state_trouble)
            continue
        if why := slots.why_not(server):
            server.show(Phase.PENDING, "WaitingForSlot", why)
            server.wake(slots.free_at(server) or now.monotonic + GATE_LOOK)
            continue
        if started >= STARTS_PER_PASS:
            server.show(Phase.PENDING, "WaitingForTurn", "others are being started first")
            server.wake(now.monotonic)
            continue
        slots.take(server)
        started += 1
        ports.assign(server, port)
        _begin_start(server, port)


def _gate(server: Server, ports: Ports, leaving: set[str]) -> int | None:
    """The port to start on, or None with the reason shown."""
    assert server.wanted
    look_at = min(server.gate.retry_at or float("inf"), server.now.monotonic + GATE_LOOK)
    if server.gate.reason:
        server.show(phase_of(server.gate), server.gate.reason, server.gate.message)
        server.wake(look_at)
        return None
    port = ports.choose(server)
    if port is None:
        server.show(
            Phase.BLOCKED, "NoFreePort", "every port of the range for port: auto is taken; widen it in the settings"
        )
        server.wake(look_at)
        return None
    holder = next(ports.holders(server.name, server.wanted.spec.host, port), None)
    if holder is None:
        return None if is_starved(server) else port
    server.wake(look_at)
    if server.record.starved_reason == "PortInUse":
        server.record = replace(server.record, starved=None, starved_times=0)
    if holder.server in leaving and not holder.keeps:
        server.show(Phase.PENDING, "WaitingForPort", f"port {port} is still held by {holder.told}, which is stopping")
    else:
        message = f"port {port} is held by {holder.told}; {holder.way_out(port)}"
        ignore_adopt_request(server, message)
        server.show(Phase.BLOCKED, "PortInUse", message)
    return None


def _begin_start(server: Server, port: int) -> None:
    assert server.wanted
    alone = f"nobody listens on port {port}" if server.wanted.spec.port == port else "spec.port is auto; write the port"
    ignore_adopt_request(server, f"{alone}; it is started as declared")
    record, step = server.record, step_to_start(server)
    trigger = record.next_trigger or Trigger.CREATED
    delay = record.delay if trigger in (Trigger.CRASHED, Trigger.UNRESPONSIVE) else 0.0
    server.actions.append(Start(server.name, trigger, record.n, delay, port, step))
    server.record = replace(
        record,
        next_trigger=None,
        files=server.gate.identity,
        restarts=record.restarts + (trigger in UNASKED),
        step=step.number,
        tried=record.tried if step.number else (),
    )
    if record.starved is None:
        server.show(Phase.STARTING)
    else:
        # Until it runs, the message stays: there may be no room again.
        server.show(Phase.BLOCKED, record.starved_reason, record.starved_why)
