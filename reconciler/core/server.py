"""One server while it is planned: the inputs, and what comes of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from reconciler.core.actions import Action, Event, FinishRequest, Kill, SaveInstance
from reconciler.core.clean import clean
from reconciler.core.history import Instance, ServerRecord, Stamp, StopReason, Trigger
from reconciler.core.model import GateFacts, Limits, Now, Phase, Problem, Process, Wanted
from reconciler.core.observed import Stranger
from reconciler.core.source import GIT

NOT_LOOKED = GateFacts("NotLookedYet", "the gate was not looked at yet")
NO_CONTROLLER = "no controller is running; start one with: reconciler run"
STATE_UNWRITABLE = "StateUnwritable"
KILL_AGAIN = 1.0
"""Seconds between two SIGKILLs to one that does not end: a process may be in an uninterruptible sleep for long."""
UNASKED = frozenset({Trigger.CRASHED, Trigger.UNRESPONSIVE, Trigger.RETRIED})
"""Starts that count as restarts of a server's life."""
MOST_NAMED = 8


def phase_of(gate: GateFacts) -> Phase:
    """Of a server that waits for its gate: nothing is amiss while that is still looked at."""
    return Phase.PENDING if gate.reason in ("", NOT_LOOKED.reason) else Phase.BLOCKED


def named(processes: Sequence[Process]) -> str:
    """Processes in a few words: `pid 4242 (sleep), pid 4243`."""
    shown = [f"pid {p.identity.pid}{f' ({clean(p.program)})' if p.program else ''}" for p in processes[:MOST_NAMED]]
    return ", ".join(shown) + (f" and {more} more" if (more := len(processes) - MOST_NAMED) > 0 else "")


@dataclass(slots=True)
class Server:
    """One server while it is planned: the inputs, and what comes of them."""

    name: str
    now: Now
    wanted: Wanted | None
    record: ServerRecord
    instance: Instance | None
    processes: tuple[Process, ...]
    gate: GateFacts = NOT_LOOKED
    stop_request: int | None = None
    restart_request: int | None = None
    adopt_request: int | None = None
    primary_request: int | None = None
    limits: Limits = field(default_factory=Limits)
    invalid: tuple[Problem, ...] = ()
    keep_unknown: bool = False
    """Its document may be in text that cannot be read: do not stop it for having none."""
    in_scope: bool = True
    """It may be started and stopped now."""
    state_trouble: str = ""
    """Why no intent can be kept: nothing may be started, and nobody be sent a first SIGTERM."""
    sharer: Stranger | None = None
    """Who listens on its port beside it."""
    squatter: Stranger | None = None
    """Who listens on its port while it has no instance."""
    waits: tuple[Phase, str, str] | None = None
    """What is shown of a first start that has to wait until those that the active profile leaves out are gone."""
    stays: tuple[str, str] | None = None
    """Reason and message of why it runs on although the active profile leaves it out."""

    actions: list[Action] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    wakes: list[float] = field(default_factory=list)
    claim: Literal["", "start", "replace"] = ""
    replace_reason: StopReason = StopReason.SPEC_CHANGED
    phase: Phase = Phase.PENDING
    reason: str = ""
    """The phase's cause in one word, for conditions."""
    message: str = ""
    waiting: tuple[str, str] = ("", "")
    """Reason and message of why what runs is not yet what is declared; empty when it is."""
    forgotten: bool = False
    saved: ServerRecord | None = None
    """The record as the database has it."""

    @property
    def process(self) -> Process | None:
        """The process of the open instance; its children may lead sessions and bear its uid as well."""
        if self.instance is None:
            return None
        instance = self.instance
        found = [process for process in self.processes if instance.is_process(process)]
        # Of one uid that was not recorded, the oldest is the instance, and the others are its children.
        return min(found, key=lambda p: (p.identity != instance.identity, p.identity.start_ticks), default=None)

    @property
    def is_parked(self) -> bool:
        """Whether it is declared, but the active profile leaves it out."""
        return self.wanted is not None and bool(self.wanted.parked)

    @property
    def is_from_git(self) -> bool:
        """Whether a Git source declares it."""
        return self.wanted is not None and self.wanted.document.origin == GIT

    def sweep(self, processes: list[Process]) -> list[Process]:
        """SIGKILL what must not run beside the instance, or at all; those that are sent one now."""
        self._note_gone({process.identity.pid for process in processes})
        if not processes:
            return []
        swept = self.saved.swept if self.saved else None
        if swept is not None and swept.age(self.now) < KILL_AGAIN:
            self.wake(swept.after(KILL_AGAIN))
            return []
        self.actions.extend(Kill(process.uid, process.identity) for process in processes)
        swept, before = Stamp.of(self.now), self.record.swept_pids
        new = [process for process in processes if process.identity.pid not in before]
        if new:
            uids = ", ".join(sorted({process.uid for process in new}))
            self.event("Swept", f"SIGKILL sent to {named(new)}, with the mark or in the session of instance {uids}")
        self.record = replace(
            self.record,
            swept=swept,
            swept_pids=(*before, *(process.identity.pid for process in new)),
            swept_first=self.record.swept_first or swept,
        )
        self.wake(swept.after(KILL_AGAIN))
        return processes

    def _note_gone(self, pids: set[int]) -> None:
        left = tuple(pid for pid in self.record.swept_pids if pid in pids)
        if left != self.record.swept_pids:
            self.record = replace(self.record, swept_pids=left, swept_first=self.record.swept_first if left else None)

    @property
    def resists(self) -> bool:
        """Whether what was swept is there none the less."""
        first = self.record.swept_first
        return bool(self.record.swept_pids) and first is not None and first.age(self.now) >= KILL_AGAIN

    def wake(self, at: float) -> None:
        """Look again at this monotonic time at the latest."""
        self.wakes.append(at)

    def save_instance(self, instance: Instance) -> None:
        """Commit the instance's row; the last save of a pass wins."""
        self.actions = [
            action
            for action in self.actions
            if not (isinstance(action, SaveInstance) and action.instance.uid == instance.uid)
        ]
        self.actions.append(SaveInstance(instance))
        self.instance = instance if instance.ended is None else None

    def event(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Tell people."""
        self.events.append(Event(self.name, reason, message, warning=warning))

    @property
    def is_to_restart(self) -> bool:
        """Whether a person asked for a restart, on the step that runs or as asked for."""
        return self.restart_request is not None or self.primary_request is not None

    def finish_restart(self) -> None:
        """What was asked for of restarts is done, or cannot be."""
        asked = (self.restart_request, self.primary_request)
        self.actions.extend(FinishRequest(request) for request in asked if request is not None)

    def wait_for_state(self) -> None:
        """What was to be done has to wait until its intent can be written."""
        self.waiting = (STATE_UNWRITABLE, self.state_trouble)

    def show(self, phase: Phase, reason: str = "", message: str = "") -> None:
        """What people see of it, unless a later step knows better."""
        self.phase, self.reason, self.message = phase, reason or phase.value, message
