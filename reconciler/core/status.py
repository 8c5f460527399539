"""What people are shown: the phase, one line of text, and the conditions."""

from collections.abc import Mapping
from dataclasses import replace

from reconciler.core.actions import Event
from reconciler.core.history import Condition, Status
from reconciler.core.model import Phase
from reconciler.core.server import NOT_LOOKED, STATE_UNWRITABLE, Server
from reconciler.core.shortfalls import degradation, further, not_degraded
from reconciler.core.switching import WAITING
from reconciler.core.taking_over import squatting

PROGRESSING = frozenset({Phase.PENDING, Phase.STARTING, Phase.STOPPING, Phase.BACKOFF})
DEGRADED = frozenset({Phase.UNHEALTHY, Phase.BACKOFF, Phase.FAILED})
SHORTFALLS = frozenset({"Degraded", "ContextCapped", "Slow"})
RESTING = frozenset({Phase.STOPPED, Phase.BACKOFF, Phase.FAILED})
AS_DECLARED = frozenset({Phase.READY, Phase.STARTING, Phase.STOPPED, Phase.UNHEALTHY})


def show_status(server: Server) -> None:
    """Set the server's status, and tell people of what is new in it."""
    if server.forgotten:
        return
    before = server.record.status
    if server.squatter is not None and server.phase in RESTING:
        message = squatting(server.squatter)
        server.message = f"{server.message}; {message}"
        if before is None or message not in before.message:
            server.event("PortInUse", message, warning=True)
    less, more = degradation(server), further(server)
    status = Status(server.phase, _message(server, less[1], more), _conditions(server, less, more))
    if before is not None:
        status = replace(status, conditions=_with_times(status.conditions, before.conditions, server.now.wall))
        if status == before:
            return
    else:
        status = replace(status, conditions=_with_times(status.conditions, (), server.now.wall))
    server.events.extend(_news(server, before, status))
    server.record = replace(server.record, status=status)


def _message(server: Server, less: str, more: tuple[Condition, ...]) -> str:
    note = _reconciled(server)[2]
    if server.phase in (Phase.READY, Phase.STOPPED, Phase.STARTING) and note:
        return note
    return server.message or note or less or "; ".join(one.message for one in more) or _adopted_note(server)


def _adopted_note(server: Server) -> str:
    if server.instance is None or not server.instance.adopted:
        return ""
    return f"adopted, with {'; '.join(server.instance.unlike)}" if server.instance.unlike else "adopted"


def _conditions(server: Server, less: tuple[str, str], more: tuple[Condition, ...]) -> tuple[Condition, ...]:
    ready = server.phase is Phase.READY and server.reason != "Loading"
    why, lacks = (server.reason, server.message) if server.phase in DEGRADED else less
    reconciled, reason, message = _reconciled(server)
    return (
        Condition("Ready", ready, server.reason, server.message),
        Condition("Progressing", server.phase in PROGRESSING, server.reason),
        Condition("Degraded", bool(why), why or not_degraded(server), lacks),
        *more,
        *_adopted(server),
        Condition("Reconciled", reconciled, reason, message),
    )


def _adopted(server: Server) -> tuple[Condition, ...]:
    """Only of a server whose process was taken over from a stranger."""
    instance = server.instance
    if instance is None or not instance.adopted:
        return ()
    unlike = f"; not as declared: {'; '.join(instance.unlike)}" if instance.unlike else ""
    return (Condition("Adopted", True, "Adopted", f"{instance.found}{unlike}; replaced at the next change"),)


def _reconciled(server: Server) -> tuple[bool, str, str]:
    """Whether what runs is what the file says, and why not."""
    problems = server.wanted.problems if server.wanted else server.invalid
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        tail = "; the last accepted spec stays in force" if server.wanted else ""
        return False, problems[0].reason, f"{problems[0]}{more}{tail}"
    if server.wanted and server.wanted.held:
        return False, "PruneHeld", server.wanted.held
    if server.waiting[0]:
        return False, *server.waiting
    if server.phase in AS_DECLARED:
        return True, "AsDeclared", ""
    return False, server.reason, ""


def _with_times(new: tuple[Condition, ...], old: tuple[Condition, ...], wall: float) -> tuple[Condition, ...]:
    """A condition's time is that of the last change of its status, not of its words."""
    before = {condition.type: condition for condition in old}
    return tuple(
        replace(c, since=before[c.type].since if c.type in before and before[c.type].status == c.status else wall)
        for c in new
    )


def _news(server: Server, before: Status | None, status: Status) -> list[Event]:
    """Events for what only the status tells; ends, starts and readiness have their own."""
    news = []
    old = {condition.type: condition for condition in before.conditions} if before else {}
    reconciled = status.conditions[-1]
    told_before = "Reconciled" in old and (old["Reconciled"].reason, old["Reconciled"].message) == (
        reconciled.reason,
        reconciled.message,
    )
    if STATE_UNWRITABLE in (reconciled.reason, server.reason):
        return []  # it is told once, of the state, and not of each server that waits for it
    is_trouble = not reconciled.status and reconciled.message and reconciled.reason not in (WAITING, NOT_LOOKED.reason)
    if is_trouble and not told_before:
        news.append(Event(server.name, reconciled.reason, reconciled.message, warning=True))
    if status.phase is Phase.BLOCKED and (
        before is None or (before.phase, before.message) != (status.phase, status.message)
    ):
        news.append(Event(server.name, server.reason, server.message, warning=True))
    return news + _news_of_shortfalls(server, old, status)


def _news_of_shortfalls(server: Server, old: Mapping[str, Condition], status: Status) -> list[Event]:
    """Of one that is Ready, and yet not as asked for."""
    if status.phase is not Phase.READY:
        return []
    found = [one for one in status.conditions if one.type in SHORTFALLS and one.status and one.message]
    new = [one for one in found if one.type not in old or not old[one.type].status or _is_other(old[one.type], one)]
    return [Event(server.name, one.type, one.message, warning=True) for one in new]


def _is_other(before: Condition, now: Condition) -> bool:
    return now.type == "Degraded" and before.message != now.message
