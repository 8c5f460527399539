"""How many slots of a server are at work, where somebody has to know it: who drains, and who would make room."""

from http import HTTPStatus

import h11

from reconciler.controller.http_get import Answer, Conversation, NotAskedError, conversation
from reconciler.controller.progress import LoopStoodStillError, within
from reconciler.controller.target import Target
from reconciler.engines import engine_of

NOT_TOLD = frozenset({401, 403, 404, 405, 501})
"""Answers on `/slots` that will stay so: no key, or `slots: false`."""
MOST_WAIT = 2.0
"""Seconds for a look at the slots on which nothing depends that is urgent."""


async def busy_slots(target: Target, talk: Conversation) -> int | None:
    """Slots at work; None where that is not told. In one that sleeps there are none, and asking for them wakes it."""
    if await _is_asleep(target, talk):
        return 0
    return _busy(target, await _answer(target, talk, engine_of(target.spec).slots_path(target.spec)))


async def busy_slots_meanwhile(target: Target) -> tuple[int | None, bool | None]:
    """The same of one that serves, and whether it never tells; None: not known.

    One that may sleep is only asked whether it does: a look at its slots would keep it awake.
    """
    engine = engine_of(target.spec)
    if target.adopted:
        return None, None
    is_tls = engine.scheme(target.spec) == "https"
    try:
        async with (
            conversation(target.spec.host, target.port, tls=is_tls) as talk,
            within(min(MOST_WAIT, target.spec.probes.liveness.timeout), talk),
        ):
            if engine.may_sleep(target.spec):
                return (0 if await _is_asleep(target, talk) else None), None
            answer = await _answer(target, talk, engine.slots_path(target.spec))
            return _busy(target, answer), None if answer is None else answer.status in NOT_TOLD
    except (LoopStoodStillError, NotAskedError, TimeoutError):
        return None, None


async def _is_asleep(target: Target, talk: Conversation) -> bool:
    engine = engine_of(target.spec)
    if not engine.may_sleep(target.spec):
        return False
    answer = await _answer(target, talk, engine.props_path(target.spec))
    return answer is not None and answer.status == HTTPStatus.OK and engine.is_asleep(answer.body)


def _busy(target: Target, answer: Answer | None) -> int | None:
    told = answer is not None and answer.status == HTTPStatus.OK
    work = engine_of(target.spec).read_work(answer.body) if answer and told else None
    return None if work is None else work.busy


async def _answer(target: Target, talk: Conversation, path: str) -> Answer | None:
    """None where there is no answer that could be read."""
    try:
        return await talk.get(path, target.api_key)
    except NotAskedError:
        raise
    except (OSError, h11.RemoteProtocolError, ValueError):
        return None
