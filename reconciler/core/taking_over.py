"""A llama-server that somebody started becomes a server's instance, as it runs."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from reconciler.core.actions import FinishRequest
from reconciler.core.clean import clean
from reconciler.core.history import Instance, Stamp, Trigger
from reconciler.core.likeness import Difference
from reconciler.core.model import Identity, Phase
from reconciler.core.observed import Started, Stranger
from reconciler.core.ports import addresses
from reconciler.core.server import Server
from reconciler.core.spec import ServerSpec, dump_spec

KEPT_FIELDS = ("engine", "probes", "restart", "stop", "suspend", "adopt")
"""Fields of a spec that are in force at once, whatever a process was started with."""
UNKNOWN_MODEL = "unknown"


def told(stranger: Stranger) -> str:
    """A stranger in a few words: `pid 4242 (llama-server, user anna)`."""
    user = f", user {stranger.user}" if stranger.user else ""
    return f"pid {stranger.identity.pid} ({clean(stranger.name) or 'unknown'}{user})"


def disabling(unit: str) -> str:
    """The command that ends a service for good."""
    return f"{'' if unit.startswith('--user ') else 'sudo '}systemctl disable --now {clean(unit)}"


def squatting(stranger: Stranger) -> str:
    """What people are told of one on the port of a server that rests."""
    end = disabling(stranger.unit) if stranger.unit else f"kill {stranger.identity.pid}"
    sudo = "" if stranger.is_same_user or stranger.unit else "sudo "
    return f"{told(stranger)} listens on its port {stranger.port} meanwhile; end that with: {sudo}{end}"


def take_over(server: Server, port: int, stranger: Stranger, found: Sequence[Difference]) -> None:
    """Make it the server's instance. `found`: what of it is not as declared."""
    assert server.wanted is not None
    wanted, identity = server.wanted, stranger.identity
    unlike = tuple(str(one) for one in found)
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
            spec=_spec(stranger, wanted.spec, has_its_model=all(one.what != "model" for one in found)),
            adopted=True,
            found=description,
            unlike=unlike,
        )
    )
    # Without a request the count goes on: who starts what crashes again and again may be another supervisor.
    n = server.record.n if server.adopt_request is None else 0
    server.record = replace(
        server.record, n=n, ended=None, delay=0.0, failed=None, completed=False, next_trigger=None, last_error=""
    )
    if server.adopt_request is not None:
        server.actions.append(FinishRequest(server.adopt_request))
    differs = f"; not as declared: {'; '.join(unlike)}" if unlike else ""
    server.event("Adopted", f"taken over as it runs: {description}{differs}")
    server.show(Phase.STARTING, "Starting", "taken over; it is being asked how it is")


def _uid(identity: Identity, at: float) -> str:
    """Made of what is given, as everything here; another one when the same process is taken over again."""
    text = f"{identity.boot} {identity.pid} {identity.start_ticks} {at}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _description(stranger: Stranger) -> str:
    output = f"; its output goes to {clean(stranger.output)}" if stranger.output else ""
    unit = f"; its service may start another one; end that with: {disabling(stranger.unit)}" if stranger.unit else ""
    by = f"by the service {clean(stranger.unit)}" if stranger.unit else "by hand"
    return f"{told(stranger)}, started {by}: {stranger.command}{output}{unit}"


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
