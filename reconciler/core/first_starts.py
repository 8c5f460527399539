"""First starts wait for the servers that they depend on. What ran before, and is lost later, waits for nobody."""

from collections.abc import Mapping, Sequence

from reconciler.core.history import ServerRecord, Trigger
from reconciler.core.model import Desired, Phase
from reconciler.core.server import Server, phase_of

FIRST = frozenset({None, Trigger.CREATED, Trigger.RESUMED, Trigger.REBOOTED})
"""Triggers of starts that follow no start, or a rest: all others put back what ran a moment ago."""
STUCK = frozenset({Phase.FAILED, Phase.BLOCKED, Phase.INVALID})
"""Phases that somebody has to help out of."""


def is_first_start(record: ServerRecord) -> bool:
    """Whether the next start of a server without an instance is a first one."""
    return record.next_trigger in FIRST


def is_up(server: Server) -> bool:
    """Whether it can be used now. A server at rest is not among those planned, and is."""
    return server.phase is Phase.READY and server.reason != "Loading"


def standing(server: Server) -> tuple[Phase, str]:
    """Where it stands, and why: as this pass found or, before it met the others, as the pass before showed."""
    if server.claim != "start":
        return server.phase, server.reason
    status = server.record.status
    if server.gate.reason or status is None or status.phase is not Phase.BLOCKED:
        return phase_of(server.gate), server.gate.reason or Phase.PENDING.value
    return Phase.BLOCKED, next((one.reason for one in status.conditions if one.type == "Ready"), Phase.BLOCKED.value)


def is_asked_to_run(server: Server) -> bool:
    """Whether it is to run now, as far as its manifest, its profile and people say."""
    wanted = server.wanted
    resting = wanted is None or wanted.spec.suspend or wanted.parked or server.stop_request is not None
    return not resting and not server.record.completed


def wait_for_dependencies(servers: Sequence[Server], desired: Desired) -> None:
    """Take the claim from first starts whose dependencies are not Ready, and show what they wait for."""
    planned = {server.name: server for server in servers}
    for server in servers:
        is_shut = bool(server.gate.reason) and not server.gate.for_leaving
        if server.claim != "start" or is_shut or not is_first_start(server.record):
            continue
        assert server.wanted is not None
        lacks = [found for name in server.wanted.spec.depends_on if (found := _lack(name, server, planned, desired))]
        if lacks:
            # What only somebody's doing brings is told first.
            phase, reason, message = min(lacks, key=lambda lack: lack[0] is not Phase.BLOCKED)
            server.claim = ""
            server.show(phase, reason, message)


def _lack(name: str, server: Server, planned: Mapping[str, Server], desired: Desired) -> tuple[Phase, str, str] | None:
    """What keeps a server from starting because of one that it depends on."""
    if name not in desired.servers and name not in desired.invalid:
        drop = f"declare it, or take it out of spec.dependsOn with: reconciler edit server {server.name}"
        return Phase.BLOCKED, "DependencyUnavailable", f"it depends on '{name}', which no manifest declares; {drop}"
    needed = planned.get(name)
    if needed is None or is_up(needed):
        return None
    if needed.wanted is not None and not is_asked_to_run(needed):
        message = f"it depends on '{name}', {_why_not_asked(needed, desired.profile)}"
        return Phase.BLOCKED, "DependencyUnavailable", message
    phase, reason = standing(needed)
    message = f"it depends on '{name}', which is {phase}"
    if phase in STUCK:
        message += f" ({reason}); see: reconciler describe server {name}"
    return Phase.PENDING, "WaitingForDependency", message


def _why_not_asked(needed: Server, profile: str) -> str:
    assert needed.wanted is not None
    if needed.wanted.spec.suspend:
        return f"which is suspended; resume it with: reconciler resume server/{needed.name}"
    if needed.wanted.parked:
        left_out = f"which the active profile '{profile}' leaves out"
        return f"{left_out}; add it there, or have all servers run with: reconciler profile use --none"
    if needed.stop_request is not None:
        return f"which was stopped by request; start it with: reconciler start {needed.name}"
    return f"which has completed; run it again with: reconciler restart {needed.name}"
