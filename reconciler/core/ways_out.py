"""What the owner of a server can do about its trouble: commands with its own names and numbers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from reconciler.core.reasons import Reason, filled, find
from reconciler.core.reasons.ends import ENDS
from reconciler.core.source import GIT

GPU_CAUSES = frozenset({"GpuOutOfMemory", "GpuUnavailable"})
EASED_BY_CTX = frozenset({"GpuOutOfMemory", "HostOutOfMemory", "OomKilled", "ContextTooLarge"})
LEAST_CTX = 256
"""Tokens of context that are of no use to anybody."""
USUAL_CTX = 16384
"""Tokens that are taken to be asked for where nobody knows."""
MOST_HOLDERS = 2
UNKNOWN = next(reason for reason in ENDS if reason.word == "Unknown")
GIB = 1024**3
GOES_ON = frozenset({"Pending", "BackOff", "Unhealthy"})
"""Phases of servers that need nothing but a controller."""
_CTX = re.compile(r"\bctx (\d+)")
_EDITS = re.compile(r"`\w+ (set|unset|edit) ")
_PLACES = {"Blocked": "why it does not start", "Pending": "why it does not start", "Degraded": "why it ended"}
_PLACES |= {"Failed": "why it ended", "BackOff": "why it ended", "Starting": "why it ended"}
_PLACES |= {"Unhealthy": "it is there, but not Ready", "Invalid": "why it does not start"}


class OnGpu(NamedTuple):
    """A process that has memory of a GPU."""

    pid: int
    program: str
    taken: int
    """Bytes."""
    server: str = ""
    """The server of this installation that it is; empty for others."""


class Facts(NamedTuple):
    """What is known beside the server itself."""

    controller: bool = True
    """Whether one runs: without it nothing is promised that only one would do."""
    on_gpu: Sequence[OnGpu] = ()


class Trouble(NamedTuple):
    """A server that is not well."""

    item: Mapping[str, Any]
    state: str
    reason: str
    last: Mapping[str, Any] | None
    """Its last start that ended."""

    @property
    def name(self) -> str:
        """The server's."""
        return str(self.item["metadata"]["name"])

    @property
    def tried(self) -> Sequence[Mapping[str, Any]]:
        """What was tried since what was asked for was last tried."""
        found: Sequence[Mapping[str, Any]] = (self.item["status"].get("fallback") or {}).get("tried", ())
        return found

    @property
    def changes(self) -> Mapping[str, Any]:
        """What differs in the running fallback step from what was asked for."""
        found: Mapping[str, Any] = (self.item["status"].get("fallback") or {}).get("changes", {})
        return found


def ways_out(trouble: Trouble, facts: Facts) -> tuple[str, ...]:
    """The most usual one first; what has to follow begins with `then`."""
    if not facts.controller and trouble.state in GOES_ON:
        return ("start a controller, which goes on with it: reconciler run",)
    return (*_mending(trouble, facts), *_known(trouble), *_afterwards(trouble, facts))


def place_of(item: Mapping[str, Any]) -> str:
    """Where it is declared, and what follows from a change there."""
    source = item["metadata"].get("source")
    if not source:
        return "its manifest"
    push = ", commit and push" if source["origin"] == GIT else ""
    return f"{source['file']}:{source['line']}{push}"


def _is_from_git(item: Mapping[str, Any]) -> bool:
    return (item["metadata"].get("source") or {}).get("origin") == GIT


# ---------------------------------------------------------------- less of what does not suffice


def _mending(trouble: Trouble, facts: Facts) -> Iterator[str]:
    """With its own numbers."""
    if trouble.reason in EASED_BY_CTX and (ctx := _less_context(trouble)):
        yield _set(trouble, "ctx", ctx)
    if trouble.reason in GPU_CAUSES:
        layers = trouble.item["spec"].get("gpuLayers")
        if "gpuLayers" in trouble.changes:
            yield f"keep what runs: {_set(trouble, 'gpuLayers', trouble.changes['gpuLayers'])}"
        elif trouble.reason == "GpuOutOfMemory" and isinstance(layers, int) and layers > 1:
            yield _set(trouble, "gpuLayers", layers // 2)
        holders = sorted((one for one in facts.on_gpu if one.server != trouble.name), key=lambda one: -one.taken)
        yield from (_freeing(one) for one in holders[:MOST_HOLDERS])


def _less_context(trouble: Trouble) -> int:
    """Tokens of context that are likely to do; 0: none that would be of use."""
    if "ctx" in trouble.changes and "gpuLayers" not in trouble.changes:
        return int(trouble.changes["ctx"])
    status = trouble.item["status"]
    trained = (status["effective"] or {}).get("trained")
    asked = trouble.item["spec"].get("ctx") or trained or USUAL_CTX
    failed = [int(found[1]) for one in trouble.tried if one["result"] and (found := _CTX.search(one["told"]))]
    half = int(min([asked, *failed]) // 2)
    return half if half >= LEAST_CTX else 0


def _set(trouble: Trouble, field: str, value: Any) -> str:
    if _is_from_git(trouble.item):
        return f"write {field}: {value} at {place_of(trouble.item)}"
    return f"reconciler set server/{trouble.name} spec.{field}={value}"


def _freeing(holder: OnGpu) -> str:
    held = f"holds {holder.taken / GIB:.1f} GiB"
    if holder.server:
        return f"free the GPU: reconciler stop {holder.server}   (it {held})"
    return f"free the GPU: pid {holder.pid} {holder.program} {held}"


# ---------------------------------------------------------------- what is known of the reason


def _known(trouble: Trouble) -> Iterator[str]:
    """What helps against such a reason in general."""
    place = _PLACES.get(trouble.state, "it runs, but not as the file says")
    if trouble.state == "Blocked" and not trouble.reason:
        yield "put right what the message says"
        yield f"edit {place_of(trouble.item)}"
        return
    reason = _reason(trouble, place)
    port = str(trouble.item["status"]["port"] or "PORT")
    told = [filled(way, server=trouble.name, port=port) for way in reason.do]
    if trouble.reason in EASED_BY_CTX:
        told = told[1:]  # its own numbers were told already
    here = [way for way in told if not (_is_from_git(trouble.item) and _EDITS.search(way))]
    yield from map(_within_a_line, here)
    if trouble.state == "Blocked" or len(here) < len(told):
        yield f"edit {place_of(trouble.item)}"


def cause_reason(diagnosis: str) -> Reason:
    """What is known of a cause."""
    return next((reason for reason in ENDS if reason.word == diagnosis), UNKNOWN)


def _reason(trouble: Trouble, place: str) -> Reason:
    """What is known of its reason; an end that older versions named otherwise is an unknown one."""
    if place == "why it ended":
        return cause_reason(trouble.reason)
    return find(trouble.reason, place) or find(trouble.state) or UNKNOWN


def _within_a_line(sentence: str) -> str:
    return (sentence[:1].lower() + sentence[1:]).rstrip(".")


def _afterwards(trouble: Trouble, facts: Facts) -> Iterator[str]:
    """What has to follow."""
    if not facts.controller and trouble.state not in ("Failed", "Degraded"):
        yield "then start a controller: reconciler run"
    elif trouble.state == "Failed":
        yield f"then: reconciler restart {trouble.name}"
    elif trouble.state == "Degraded" and trouble.tried:
        yield f"then try again what was asked for: reconciler restart {trouble.name} --primary"
