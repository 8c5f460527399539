"""What of a llama-server that somebody started is not as a manifest declares it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from reconciler.core.clean import clean
from reconciler.core.observed import Started, Stranger
from reconciler.core.ports import addresses
from reconciler.core.spec import HfModel, ServerSpec

UNSET = "unset"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as declared."""

    what: Literal["model", "ctx", "host", "api-prefix", "scheme"]
    has: str
    wants: str

    def __str__(self) -> str:
        return f"{self.what} {self.has}, declared {self.wants}"


def differences(spec: ServerSpec, model: str, stranger: Stranger) -> tuple[Difference, ...]:
    """What of a llama-server on the port is not as declared; `model` is the real path of the declared one."""
    return tuple(_differences(spec, model, stranger, stranger.started or Started()))


def _differences(spec: ServerSpec, model: str, stranger: Stranger, started: Started) -> Iterator[Difference]:
    declared = f"hf:{spec.model.hf}" if isinstance(spec.model, HfModel) else model
    runs = f"hf:{started.hf}" if started.hf else started.model
    if runs != declared:
        yield Difference("model", clean(runs) or "unknown", clean(declared))
    if started.ctx_unread:
        yield Difference("ctx", f"unknown ({clean(started.ctx_unread)})", str(spec.ctx or UNSET))
    elif started.ctx != spec.ctx:
        yield Difference("ctx", str(started.ctx or UNSET), str(spec.ctx or UNSET))
    if not addresses(stranger.address) <= addresses(spec.host):
        yield Difference("host", stranger.address, spec.host)
    # What decides how it is asked for its health must fit too, or it would never be seen as Ready.
    prefixes = tuple(str(flags.get("api-prefix") or UNSET) for flags in (started.flags, spec.flags))
    if prefixes[0] != prefixes[1]:
        yield Difference("api-prefix", clean(prefixes[0]), prefixes[1])
    secured = ["https" if "ssl-cert-file" in flags else "http" for flags in (started.flags, spec.flags)]
    if secured[0] != secured[1]:
        yield Difference("scheme", secured[0], secured[1])
