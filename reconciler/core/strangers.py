"""Who is on a server's port and not ours: taken over where it is what is declared, told with the way out where not."""

import hashlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from reconciler.core.actions import FinishRequest
from reconciler.core.clean import clean
from reconciler.core.history import Instance, Stamp, Trigger
from reconciler.core.model import Identity, Observed, Phase, Started, Stranger
from reconciler.core.port_claims import Ports
from reconciler.core.ports import addresses
from reconciler.core.server import Server
from reconciler.core.spec import HfModel, ServerSpec, dump_spec

KEPT_FIELDS = ("engine", "probes", "restart", "stop", "suspend", "adopt")
"""Fields of a spec that are in force at once, whatever a process was started with."""
LOOK = 1.0
"""Seconds between looks at who is there."""
UNKNOWN_MODEL = "unknown"
UNSET = "unset"


# ---------------------------------------------------------------- what it is


def told(stranger: Stranger) -> str:
    """A stranger in a few words: `pid 4242 (llama-server, user anna)`."""
    user = f", user {stranger.user}" if stranger.user else ""
    return f"pid {stranger.identity.pid} ({clean(stranger.name) or 'unknown'}{user})"


def differences(spec: ServerSpec, model: str, stranger: Stranger) -> tuple[str, ...]:
    """What of a llama-server on the port is not as declared; `model` is the real path of the declared one."""
    started = stranger.started
    if started is None:
        return ("it is no llama-server",)
    return tuple(f"{what} {has}, declared {wants}" for what, has, wants in _pairs(spec, model, stranger, started))


def _pairs(spec: ServerSpec, model: str, stranger: Stranger, started: Started) -> Iterator[tuple[str, str, str]]:
    declared = f"hf:{spec.model.hf}" if isinstance(spec.model, HfModel) else model
    runs = f"hf:{started.hf}" if started.hf else started.model
    if runs != declared:
        yield "model", clean(runs) or "unknown", clean(declared)
    if started.ctx != spec.ctx:
        yield "ctx", str(started.ctx or UNSET), str(spec.ctx or UNSET)
    if not addresses(stranger.address) <= addresses(spec.host):
        yield "host", stranger.address, spec.host
    # What decides how it is asked for its health must fit too, or it would never be seen as Ready.
    prefixes = tuple(str(flags.get("api-prefix") or UNSET) for flags in (started.flags, spec.flags))
    if prefixes[0] != prefixes[1]:
        yield "api-prefix", clean(prefixes[0]), prefixes[1]
    secured = ["https" if "ssl-cert-file" in flags else "http" for flags in (started.flags, spec.flags)]
    if secured[0] != secured[1]:
        yield "scheme", secured[0], secured[1]


# ---------------------------------------------------------------- what follows


def meet_strangers(claims: Sequence[Server], ports: Ports, observed: Observed) -> list[Server]:
    """Those of the claims that are still to be started: where a stranger has the port it is taken over, or told."""
    left = []
    for server in claims:
        assert server.wanted is not None
        port = server.wanted.spec.port
        strangers = [] if server.gate.reason else ports.strangers(server)
        if strangers and isinstance(port, int):
            server.wake(server.now.monotonic + LOOK)
            _meet(server, port, strangers, observed.models.get(server.name, ""))
        else:
            left.append(server)
    return left


def _meet(server: Server, port: int, strangers: Sequence[Stranger], model: str) -> None:
    """Take over who is on the port, or show why not and what can be done."""
    stranger = strangers[0]
    if refusal := _why_never(strangers):
        _refuse(server, port, stranger, refusal)
    elif stranger.answers is None:
        server.show(
            Phase.PENDING, "WaitingForPort", f"port {port} is held by {told(stranger)}; it is being asked what it is"
        )
    else:
        _meet_llama_server(server, port, stranger, model)


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
    if not stranger.installation or (stranger.folder and not stranger.is_folder_there):
        return None
    if not stranger.folder:
        stop = f"stop it from that one's folder with: reconciler stop {_there(stranger)}"
        return f"it is a server of the installation {clean(stranger.installation)}", stop
    folder = shlex.quote(clean(stranger.folder))
    stop = f"stop it with: reconciler --state {folder} stop {_there(stranger)}, or declare another port"
    return f"it is server '{clean(stranger.server)}' of the installation in {clean(stranger.folder)}", stop


def _there(stranger: Stranger) -> str:
    return shlex.quote(clean(stranger.server)) if stranger.server else "--all"


def _refuse(server: Server, port: int, stranger: Stranger, refusal: tuple[str, str]) -> None:
    why, remedy = refusal
    if server.adopt_request is not None:
        server.actions.append(FinishRequest(server.adopt_request))
        server.event("AdoptRefused", f"{told(stranger)} is not taken over: {why}; {remedy}", warning=True)
    server.show(Phase.BLOCKED, "PortInUse", f"port {port} is held by {told(stranger)}: {why}; {remedy}")


def _meet_llama_server(server: Server, port: int, stranger: Stranger, model: str) -> None:
    assert server.wanted is not None
    spec = server.wanted.spec
    found = differences(spec, model, stranger)
    matches = spec.adopt == "IfMatching" and not found and not stranger.installation
    if matches or server.adopt_request is not None:
        _take_over(server, port, stranger, found)
        return
    if stranger.installation:
        why = f"a server of the installation in {clean(stranger.folder)}, which is gone"
    elif found:
        why = f"a llama-server with {'; '.join(found)}"
    else:
        why = "a llama-server as declared, but spec.adopt is Never"
    ways = f"take it over as it is with: reconciler adopt {server.name}, or end it with: kill {stranger.identity.pid}"
    server.show(Phase.BLOCKED, "PortInUse", f"port {port} is held by {told(stranger)}, {why}; {ways}")


def _take_over(server: Server, port: int, stranger: Stranger, found: Sequence[str]) -> None:
    assert server.wanted is not None
    wanted, identity = server.wanted, stranger.identity
    description = _description(stranger)
    server.save_instance(
        Instance(
            uid=_uid(identity, server.now.monotonic),
            server=server.name,
            fingerprint=wanted.fingerprint,
            generation=wanted.document.generation,
            port=port,
            intent=Stamp.of(server.now),
            trigger=Trigger.ADOPTED,
            identity=identity,
            spec=_spec(stranger, wanted.spec, has_its_model=not any(one.startswith("model ") for one in found)),
            adopted=True,
            found=description,
            unlike=tuple(found),
        )
    )
    server.record = replace(
        server.record, n=0, ended=None, delay=0.0, failed=None, completed=False, next_trigger=None, last_error=""
    )
    if server.adopt_request is not None:
        server.actions.append(FinishRequest(server.adopt_request))
    unlike = f"; not as declared: {'; '.join(found)}" if found else ""
    server.event("Adopted", f"taken over as it runs: {description}{unlike}")
    server.show(Phase.STARTING, "Starting", "taken over; it is being asked how it is")


def _uid(identity: Identity, at: float) -> str:
    """Made of what is given, as everything here; another one when the same process is taken over again."""
    text = f"{identity.boot} {identity.pid} {identity.start_ticks} {at}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _description(stranger: Stranger) -> str:
    output = f"; its output goes to {clean(stranger.output)}" if stranger.output else ""
    return f"{told(stranger)}, started by hand: {stranger.command}{output}"


def _spec(stranger: Stranger, declared: ServerSpec, *, has_its_model: bool) -> Mapping[str, Any]:
    """What it was started with, as a manifest would write it; policies are those declared."""
    started, written = stranger.started or Started(), dump_spec(declared)
    kept = {name: written[name] for name in KEPT_FIELDS if name in written}
    has_its_host = addresses(stranger.address) <= addresses(declared.host)
    model = {"hf": started.hf} if started.hf else started.model or UNKNOWN_MODEL
    known = {
        "model": written["model"] if has_its_model else model,
        "ctx": started.ctx,
        "parallel": started.parallel,
        "gpuLayers": int(started.gpu_layers) if started.gpu_layers.isdecimal() else started.gpu_layers or None,
        "threads": started.threads,
        "host": written.get("host") if has_its_host else stranger.address,
        "port": stranger.port,
        "flags": dict(started.flags) or None,
        "apiKeyFile": started.api_key_file or None,
    }
    found = {**{name: value for name, value in known.items() if value is not None}, **kept}
    try:
        return dump_spec(ServerSpec.model_validate(found))
    except ValidationError:
        # Anything may stand on a command line; how it is asked must still be known.
        return {**{name: found[name] for name in ("host", "port") if name in found}, "model": UNKNOWN_MODEL, **kept}


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
