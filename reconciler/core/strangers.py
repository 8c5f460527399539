"""Who is on a server's port and not ours: taken over where it is what is declared, told with the way out where not."""

import shlex
from collections.abc import Sequence
from dataclasses import replace

from reconciler.core.actions import FinishRequest
from reconciler.core.clean import clean
from reconciler.core.history import Instance
from reconciler.core.likeness import differences
from reconciler.core.model import Identity, Phase
from reconciler.core.observed import Observed, Stranger
from reconciler.core.port_claims import Ports
from reconciler.core.server import NOT_LOOKED, Server
from reconciler.core.taking_over import disabling, take_over, told

LOOK = 1.0
"""Seconds between looks at who is there."""


def meet_strangers(claims: Sequence[Server], ports: Ports, observed: Observed) -> list[Server]:
    """Those of the claims that are still to be started: where a stranger has the port it is taken over, or told."""
    left, taken = list[Server](), dict[Identity, str]()
    for server in claims:
        assert server.wanted is not None
        port = server.wanted.spec.port
        if server.gate.reason not in ("", NOT_LOOKED.reason):
            # Kept, the request would take whoever is there once the gate is open.
            ignore_adopt_request(server, f"{server.gate.reason}: {server.gate.message}")
        strangers = [] if server.gate.reason else ports.strangers(server)
        if strangers and isinstance(port, int):
            server.wake(server.now.monotonic + LOOK)
            _meet(server, port, strangers, observed.models.get(server.name, ""), taken)
        else:
            left.append(server)
    return left


def _meet(server: Server, port: int, strangers: Sequence[Stranger], model: str, taken: dict[Identity, str]) -> None:
    """Take over who is on the port, or show why not and what can be done. `taken`: by whom, within this pass."""
    stranger = strangers[0]
    if owner := taken.get(stranger.identity):
        _refuse(server, port, stranger, (f"server '{owner}' has just taken it over", "declare another port"))
    elif refusal := _why_never(strangers):
        _refuse(server, port, stranger, refusal)
    elif stranger.answers is None:
        server.show(
            Phase.PENDING, "WaitingForPort", f"port {port} is held by {told(stranger)}; it is being asked what it is"
        )
    elif _takes(server, port, stranger, model):
        taken[stranger.identity] = server.name


def _why_never(strangers: Sequence[Stranger]) -> tuple[str, str] | None:
    """Why nobody can have it taken over, and what helps instead."""
    stranger = strangers[0]
    pid = stranger.identity.pid
    kill = f"end it with: {'' if stranger.is_same_user else 'sudo '}kill {pid}"
    if len({one.identity for one in strangers}) > 1:
        others = " ".join(str(one.identity.pid) for one in strangers)
        sudo = "" if all(one.is_same_user for one in strangers) else "sudo "
        return "it shares the port with others", f"end them with: {sudo}kill {others}"
    if stranger.started is None or stranger.answers is False:
        return "no llama-server answers there", f"{kill}, or declare another port"
    if not stranger.is_same_user:
        return "it is another user's", f"{kill}, or declare another port"
    if not stranger.installation or (stranger.folder and not stranger.is_at_home):
        return None
    if not stranger.folder:
        stop = f"stop it from that one's folder with: reconciler stop {_there(stranger)}, or {kill}"
        return f"it is a server of the installation {clean(stranger.installation)}", stop
    folder = shlex.quote(clean(stranger.folder))
    within = " in its container" if stranger.is_contained else ""
    stop = f"stop it{within} with: reconciler --state {folder} stop {_there(stranger)}, or declare another port"
    return f"it is server '{clean(stranger.server)}' of the installation in {clean(stranger.folder)}", stop


def _there(stranger: Stranger) -> str:
    return shlex.quote(clean(stranger.server)) if stranger.server else "--all"


def _refuse(server: Server, port: int, stranger: Stranger, refusal: tuple[str, str]) -> None:
    why, remedy = refusal
    if server.adopt_request is not None:
        server.actions.append(FinishRequest(server.adopt_request))
        server.adopt_request = None
        server.event("AdoptRefused", f"{told(stranger)} is not taken over: {why}; {remedy}", warning=True)
    server.show(Phase.BLOCKED, "PortInUse", f"port {port} is held by {told(stranger)}: {why}; {remedy}")


def _takes(server: Server, port: int, stranger: Stranger, model: str) -> bool:
    """Whether a llama-server on the port is taken over; if not, why and what can be done is shown."""
    assert server.wanted is not None
    spec = server.wanted.spec
    found = differences(spec, model, stranger)
    matches = spec.adopt == "IfMatching" and not (found or stranger.installation or stranger.unit)
    if matches or server.adopt_request is not None:
        take_over(server, port, stranger, found)
        return True
    if stranger.installation:
        former = f"{clean(stranger.installation)}, which is no longer in {clean(stranger.folder)}"
        why = f"a server of the installation {former}"
    elif found:
        why = f"a llama-server with {'; '.join(str(one) for one in found)}"
    elif stranger.unit:
        why = "a llama-server as declared"
    else:
        why = "a llama-server as declared, but spec.adopt is Never"
    end = f"kill {stranger.identity.pid}"
    if stranger.unit:
        why, end = f"{why}, which its service may start again", disabling(stranger.unit)
    ways = f"take it over as it is with: reconciler adopt {server.name}, or end it with: {end}"
    server.show(Phase.BLOCKED, "PortInUse", f"port {port} is held by {told(stranger)}, {why}; {ways}")
    return False


# ---------------------------------------------------------------- requests that come to nothing, and shared ports


def ignore_adopt_request(server: Server, why: str) -> None:
    """There is nobody to take over: the request is done."""
    if server.adopt_request is None:
        return
    server.actions.append(FinishRequest(server.adopt_request))
    server.adopt_request = None
    server.event("AdoptIgnored", f"nothing was taken over: {why}", warning=True)


def show_shared(server: Server, instance: Instance) -> None:
    """Somebody else listens on its port too: part of what is asked of it is answered by the other."""
    assert server.sharer is not None
    server.wake(server.now.monotonic + LOOK)
    sudo = "" if server.sharer.is_same_user else "sudo "
    message = (
        f"{told(server.sharer)} listens on port {instance.port} too and gets part of its requests; "
        f"end it with: {sudo}kill {server.sharer.identity.pid}"
    )
    if instance.ready is not None:
        server.save_instance(replace(instance, ready=None))
        server.event("PortShared", message, warning=True)
    server.show(Phase.UNHEALTHY, "PortShared", message)
