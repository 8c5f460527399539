"""Having a server Ready: asking it, looking what its controller knows, and having it restarted where needed."""

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.cli.controller import open_controller
from reconciler.cli.failure import Failure, refuse_unknown
from reconciler.cli.follow import follow
from reconciler.cli.invocation import Invocation
from reconciler.cli.judging import Item, Judge, restarted, uid_of, up
from reconciler.cli.output import say
from reconciler.cli.probing import Answer, Health, Subject, probe, subject_of
from reconciler.cli.servers import condition
from reconciler.cli.standing import opened
from reconciler.cli.terminal import clean
from reconciler.cli.waiting import UNATTENDED
from reconciler.core.durations import describe_duration
from reconciler.installation import is_controller_running
from reconciler.store import read

LOOK = 0.1
"""Seconds between looks at what loads."""
SERVING = ("Ready", "Unhealthy")
"""Phases of servers that are asked how they are."""


@dataclass(frozen=True)
class Task:
    """What was asked for."""

    invocation: Invocation
    state: Path
    name: str
    until: float
    """Monotonic."""
    timeout: float
    may_start: bool

    @property
    def left(self) -> float:
        """Seconds. Raises Failure where there are none."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise Failure(f"{self.name} is not Ready within {describe_duration(self.timeout)}", self.why)
        return left

    @property
    def why(self) -> str:
        """Where to look."""
        return f"see why with: reconciler describe server {self.name}"


@dataclass(frozen=True)
class Seen:
    """What the database and the process table say of it."""

    item: Item
    """As its controller wrote it."""
    is_alive: bool
    asked: frozenset[str]
    launch: Mapping[str, Any] | None

    @property
    def start(self) -> tuple[str | None, int, str]:
        """Tells one start from another."""
        return uid_of(self.item), self.item["status"]["restarts"], self.phase

    @property
    def phase(self) -> str:
        """As its controller wrote it."""
        return str(self.item["status"]["phase"])

    @property
    def words(self) -> str:
        """The phase and its message."""
        message = self.item["status"]["message"]
        return f"{self.phase}: {message}" if message else self.phase


@dataclass(frozen=True)
class Found:
    """A server that is Ready."""

    seen: Seen
    subject: Subject
    answer: Answer
    was_asked: str
    """What was asked of the controller to have it so: `restart`, `start` or nothing."""


def until_ready(task: Task) -> Found:
    """Look, ask and act until it is Ready. Raises Failure."""
    was_asked = ""
    while task.left:
        seen = _see(task)
        if resting := _resting(seen):
            was_asked = _wake(task, seen, resting)
            continue
        trouble = "it does not run" if not seen.is_alive and not is_controller_running(task.state) else ""
        trouble = trouble or (seen.words if seen.phase == "Failed" or _has_completed(seen) else "")
        if seen.is_alive and (seen.phase in SERVING or not is_controller_running(task.state)):
            subject = subject_of(seen.item, seen.launch)
            answer = probe(subject, task.left)
            if _is_ready(task, seen, answer):
                return Found(seen, subject, answer, was_asked)
            trouble = answer.why if answer.health is Health.UNWELL else ""
        if trouble and was_asked:
            raise Failure(f"{task.name} was {was_asked}ed, and is unwell again: {clean(trouble)}", task.why)
        was_asked = _go_on(task, seen, trouble) or was_asked
    raise AssertionError


def _see(task: Task) -> Seen:
    """Raises Failure for a server that is not there."""
    with opened(task.state) as db:
        refuse_unknown([task.name], read.names(db))
        now = time.time()
        (item,) = read.servers(db, [task.name], now=now, controller=True)
        (checked,) = read.servers(db, [task.name], now=now, controller=False)
        uid = uid_of(item)
        launch = read.launch(db, uid) if uid else None
        is_alive = uid_of(checked) is not None and item["status"]["instance"]["pid"] is not None
        return Seen(item, is_alive, frozenset(read.asked_of(db, task.name)), launch)


def _resting(seen: Seen) -> str:
    """Why it is not to run; empty when it is."""
    if seen.item["spec"].get("suspend"):
        return "Suspended"
    reason = str(condition(seen.item, "Ready")["reason"])
    if "stop" in seen.asked:
        return "StopRequested"
    return reason if seen.phase == "Stopped" and reason == "NotInProfile" else ""


def _has_completed(seen: Seen) -> bool:
    return seen.phase == "Stopped" and condition(seen.item, "Ready")["reason"] == "Completed"


def _is_ready(task: Task, seen: Seen, answer: Answer) -> bool:
    """It says so, and who watches it does not know better; a busy one is Ready where its controller has it so."""
    if answer.health is Health.BUSY:
        return seen.phase == "Ready"
    return answer.health is Health.WELL and (seen.phase == "Ready" or not is_controller_running(task.state))


def _wake(task: Task, seen: Seen, reason: str) -> str:
    """Start what was stopped by request, where that is wanted. Raises Failure."""
    if reason == "Suspended":
        hint = f"have it run again with: reconciler resume {task.name}"
        raise Failure(f"{task.name} is suspended by its manifest", hint)
    if reason != "StopRequested":
        raise Failure(f"{task.name} is not to run: {seen.item['status']['message']}", task.why)
    if not task.may_start:
        hint = f"start it with: reconciler start {task.name}, or: reconciler ensure {task.name} --start"
        raise Failure(f"{task.name} was stopped by request", hint)
    _ask_and_follow(task, seen, "start", up)
    return "start"


# ---------------------------------------------------------------- asking for it


def _go_on(task: Task, seen: Seen, trouble: str) -> str:
    """Have it restarted where it is in trouble, and wait for what becomes of it. Returns what was asked for."""
    if trouble:
        say(clean(f"{task.name}  {trouble}; restarting it"), err=True)
        _ask_and_follow(task, seen, "restart", restarted({task.name: uid_of(seen.item)}))
        return "restart"
    if seen.phase == "Ready" or not is_controller_running(task.state):
        # It answers that it loads: after a sleep, or with nobody else there to see it become Ready.
        time.sleep(min(LOOK, task.left))
    else:
        _ask_and_follow(task, seen, "", up)
    return ""


def _ask_and_follow(task: Task, seen: Seen, kind: str, judge: Judge) -> None:
    """Commit a request, once for all who ask for it at the same time, and wait. Raises Failure."""
    settings = task.invocation.settings_of
    with open_controller(task.state, lambda: settings(task.state), kind or "ensure", task.left) as controller:
        if controller.is_here and not kind:
            return  # the one that ran has just ended: what is to be done without one, the next look tells
        if kind:
            with _alone(task):
                again = _see(task)
                # A controller within this command acts on nothing else, and has noted an end before it is asked.
                if controller.is_here or (again.start == seen.start and kind not in again.asked):
                    controller.request(kind, [task.name])
        try:
            followed = follow(task.state, [task.name], judge, timeout=task.timeout, began=task.until - task.timeout)
        except Failure:
            if is_controller_running(task.state):
                raise
            return  # another command was the controller, and has ended: the next look tells how far it came
        if controller.is_here:
            say(UNATTENDED, err=True)
    if followed.failed:
        raise Failure(f"{task.name} is not Ready: {clean(followed.judgements[task.name].text)}", task.why)


@contextmanager
def _alone(task: Task) -> Iterator[None]:
    """One after the other: what somebody else has just had restarted is not restarted again."""
    folder = os.open(task.state, os.O_RDONLY)
    try:
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(min(LOOK, task.left))
        yield
    finally:
        os.close(folder)
