"""What llama-server's work can be judged by: the counters of its slots, and a completion of one token."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from reconciler.core.clean import clean
from reconciler.core.spec import ServerSpec
from reconciler.engines.flags import Refusal, Value

SLEEP = "sleep-idle-seconds"
MOST_COUNTERS = 4096
"""Numbers that are read of an answer on `/slots`: 512 slots have about ten each."""
_DEEPEST = 5
"""Lists and mappings within each other; newer builds have their counters two deep."""
_SETTINGS = "params"
"""What a request asked for: dozens of numbers that never change while it is served."""


@dataclass(frozen=True, slots=True)
class Work:
    """What `/slots` tells at one moment."""

    busy: int
    """Slots at work."""
    counters: tuple[int, ...] = ()
    """All whole numbers that the busy slots show, such as tokens read and written: others mean that it went on."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The smallest piece of a server's own work."""

    path: str
    body: bytes


def may_sleep(spec: ServerSpec) -> bool:
    """Whether the server may put its model to sleep, so that nobody should look at `/slots`: that wakes it."""
    value = spec.flags.get(SLEEP, spec.env.get("LLAMA_ARG_SLEEP_IDLE_SECONDS"))
    return value is not None and str(value).strip() != "-1"


def is_asleep(body: bytes) -> bool:
    """Whether an answer on `/props` says that the model is asleep, as it only is while there is nothing to do."""
    answer = _json(body)
    return isinstance(answer, dict) and answer.get("is_sleeping") is True


def check_work(spec: ServerSpec) -> list[Refusal]:
    """A completion now and then, and a model that sleeps when it has nothing to do, exclude each other."""
    if not (spec.probes.liveness.completion and may_sleep(spec)):
        return []
    message = f"each completion would keep the model from sleeping; leave this out, or the flag `{SLEEP}`"
    return [(("probes", "liveness", "completion"), message)]


def read_work(body: bytes) -> Work | None:
    """What an answer on `/slots` tells; None when it tells nothing (no key, an error)."""
    slots = _json(body)
    if not isinstance(slots, list) or not all(isinstance(slot, dict) for slot in slots):
        return None
    busy = [slot for slot in slots if slot.get("is_processing") is True]
    counters = (number for slot in busy for number in _numbers(slot, _DEEPEST))
    return Work(len(busy), tuple(number for number, _ in zip(counters, range(MOST_COUNTERS), strict=False)))


def _numbers(value: Any, deepest: int) -> Iterator[int]:
    if isinstance(value, int) and not isinstance(value, bool):
        yield value
    elif deepest and isinstance(value, dict):
        for name, inner in value.items():
            if name != _SETTINGS:
                yield from _numbers(inner, deepest - 1)
    elif deepest and isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, deepest - 1)


def trial(spec: ServerSpec) -> Trial:
    """One token, or what a server for embeddings or ranking can do instead. It is to leave no trace in a cache."""
    if _is_on(spec, "rerank", "reranking"):
        return _trial(spec, "/rerank", {"query": "a", "documents": ["b"]})
    if _is_on(spec, "embedding", "embeddings"):
        return _trial(spec, "/embedding", {"content": "a"})
    return _trial(spec, "/completion", {"prompt": "a", "n_predict": 1, "cache_prompt": False})


def _trial(spec: ServerSpec, path: str, body: Mapping[str, Any]) -> Trial:
    prefix = spec.flags.get("api-prefix", "")
    return Trial((prefix if isinstance(prefix, str) else "") + path, json.dumps(body).encode())


def _is_on(spec: ServerSpec, name: str, plural: str) -> bool:
    variable = spec.env.get(f"LLAMA_ARG_{plural.upper()}")
    written: Value | None = spec.flags.get(plural, spec.flags.get(name))
    return written is True or (written is None and str(variable).lower() in ("1", "true", "on", "enabled"))


def read_trial(status: int, body: bytes) -> tuple[bool | None, str]:
    """Whether a trial went well, with why not; None when its failure says nothing about the server's work.

    A request that is refused (no key, not supported, none of its slots free) was not tried.
    """
    answer = _json(body)
    error = answer.get("error") if isinstance(answer, dict) else None
    told = error.get("message") if isinstance(error, dict) else error
    reason = clean(told[:200]) if isinstance(told, str) and told else "without a reason"
    if status == HTTPStatus.OK and error is None and isinstance(answer, dict | list):
        return True, ""
    if status == HTTPStatus.OK:
        return False, f"answers 200, but with {'an error: ' + reason if error is not None else 'something else'}"
    tried = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    tried = tried and status not in (HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.SERVICE_UNAVAILABLE)
    return False if tried else None, f"answers {status}: {reason}"


def _json(body: bytes) -> Any:
    # A deeply nested text ends in RecursionError: whoever answers there may be anybody.
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
