"""What a llama-server that serves says in its log of requests that it cannot take.

It says so at every verbosity, as an error, and prompts are no part of these lines. But a client can have lines logged
that look so, as with a grammar that cannot be parsed: what is told must fit what the server is known to run with.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.core.model import Effective
from reconciler.core.spec import ServerSpec

REQUEST_TOO_LARGE = "RequestTooLarge"
SPARE = 1.25
"""So many times the request's tokens are proposed: what is answered needs room as well."""
LEAST_BLOCK, BLOCK = 256, 1024
"""Tokens to a multiple of which a proposal is rounded up: up to 4096, and above."""
SMALL = 4096
MOST_TOKENS = 1 << 24
"""More than any model's context: a request that is said to have more is an invention."""
_BEGINNING = r"(?:[\d.\[\]m;\x1b ]{0,60}(?:E )?|\{[^\\\n]{0,80}\"msg\":\")"
"""Of a line: the time and level, with colours, or JSON. Anything else may be a prompt."""
_ERROR = rf"^{_BEGINNING}(?:\x1b\[\d*m)?srv +send_error: task id = \d+, error: "
_LINE = re.compile(
    rf"{_ERROR}(?:request \((?P<tokens>\d{{1,12}}) tokens\) exceeds the available context size \((?P<slot>\d{{1,12}}) "
    rf"|input \((?P<input>\d{{1,12}}) tokens\) is too large to process\. .*batch size: (?P<batch>\d{{1,12}})\)"
    r"|(?P<full>Context size has been exceeded)"
    r"|the request exceeds (?:the )?available context size)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class TooLarge:
    """A request that was refused for its size."""

    tokens: int = 0
    """That it has; 0: not told."""
    room: int = 0
    """Tokens that there was room for; 0: not told."""
    is_batch: bool = False
    """It did not fit into one batch, as embeddings and rankings have to; else into the context."""
    is_full: bool = False
    """It fits by itself, but not beside the others that were served."""

    reason = REQUEST_TOO_LARGE


def read_live(text: str, effective: Effective | None = None) -> TooLarge | None:
    """The largest request that whole lines of a log tell to have been refused for its size.

    `effective`: what the server runs with, as far as it is known.
    """
    if "send_error:" not in text:
        return None  # as in most of what is read: to look at each line takes 100 times as long
    slot = effective.ctx_per_slot if effective else None
    found = (one for one in _found(text) if _may_be(one, slot))
    return max(found, key=lambda one: (one.tokens, one.room), default=None)


def _may_be(one: TooLarge, slot: int | None) -> bool:
    """Whether a server whose slots have that many tokens can have refused it."""
    if not one.tokens:
        return True
    is_of_slot = one.is_batch or slot is None or one.room == slot
    return is_of_slot and one.room <= one.tokens < MOST_TOKENS


def _found(text: str) -> Iterator[TooLarge]:
    for line in _LINE.finditer(text):
        if line["tokens"]:
            yield TooLarge(int(line["tokens"]), int(line["slot"]))
        elif line["input"]:
            yield TooLarge(int(line["input"]), int(line["batch"]), is_batch=True)
        else:
            yield TooLarge(is_full=bool(line["full"]))


def shares_context(spec: ServerSpec) -> bool:
    """Whether the slots have one context together, in place of a part each: the default where `parallel` is unset."""
    written = spec.flags.get("kv-unified")
    if isinstance(written, bool):
        return written
    return spec.parallel is None


def tell_live(found: TooLarge, spec: ServerSpec, effective: Effective | None, server: str, *, eased: str = "") -> str:
    """What happened, and what can be done about it.

    `spec` is what was asked for; `eased` the fallback step, in a few words, on which the server runs in its place.
    """
    told = effective or Effective()
    slots = told.slots or spec.parallel or 1
    what, change = _batch(found, spec, told, slots) if found.is_batch else _context(found, spec, told, slots)
    if eased and not found.is_batch and _fits(found, spec, slots):
        way = f"it runs on a fallback step ({eased}); as asked for it would fit: reconciler restart {server} --primary"
    elif change:
        way = f"send less, or: reconciler set server/{server} {change}"
    else:
        trained = f"the model was trained with no more than {told.trained}" if told.trained else "the model has no more"
        way = f"send less; {trained}: others are listed by: reconciler models"
    return f"{what}; {way}"


def _fits(found: TooLarge, spec: ServerSpec, slots: int) -> bool:
    share = 1 if shares_context(spec) else slots
    return bool(spec.ctx and found.tokens) and found.tokens < (spec.ctx or 0) // share


def _context(found: TooLarge, spec: ServerSpec, told: Effective, slots: int) -> tuple[str, str]:
    """What did not fit into the context, and the change of the spec by which it would."""
    room, share = found.room or told.ctx_per_slot or 0, 1 if shares_context(spec) else slots
    if found.is_full:
        held = room * share if room else spec.ctx or 0
        what = f"requests were ended, as together they need more than the context of {held or 'all slots'} tokens"
        return what, f"spec.ctx={held * 2}" if held else "spec.parallel=1"
    into = f"the {room} of a slot" if room else "the context of a slot"
    what = f"a request{f' of {found.tokens} tokens' if found.tokens else ''} does not fit into {into}"
    wanted = _rounded(found.tokens or 2 * room)
    if told.trained and wanted > told.trained:
        # Beyond what it was trained with, the server cuts each slot's context.
        wanted = told.trained if found.tokens < told.trained and room < told.trained else 0
    return what, f"spec.ctx={wanted * share}" if wanted else ""


def _batch(found: TooLarge, spec: ServerSpec, told: Effective, slots: int) -> tuple[str, str]:
    """What did not fit into one batch, and the change of the spec by which it would."""
    what = f"an input of {found.tokens} tokens does not fit into one batch of {found.room}"
    wanted = _rounded(found.tokens)
    if told.trained and wanted > told.trained:
        if found.tokens > told.trained:
            return what, ""
        wanted = told.trained
    change = f"spec.flags.ubatch-size={wanted} spec.flags.batch-size={wanted}"
    if told.ctx_per_slot is not None and told.ctx_per_slot < wanted:
        change += f" spec.ctx={wanted * (1 if shares_context(spec) else slots)}"
    return what, change


def _rounded(tokens: int) -> int:
    wanted = int(tokens * SPARE)
    block = LEAST_BLOCK if wanted <= SMALL else BLOCK
    return -(-wanted // block) * block
