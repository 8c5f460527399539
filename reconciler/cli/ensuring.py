"""Having a server Ready: asking it, looking what its controller knows, and having it restarted where needed."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.cli.controller import acts_on_all, open_controller
from reconciler.cli.ensured import Found, Seen, Task
from reconciler.cli.failure import ControllerEndedError, Failure, refuse_unknown
from reconciler.cli.follow import follow
from reconciler.cli.judging import LEFT_OUT, Judge, Judgement, Verdict, restarted, uid_of, up
from reconciler.cli.output import say
from reconciler.cli.probing import Answer, Health, Subject, probe, subject_of
from reconciler.cli.servers import condition
from reconciler.cli.standing import opened
from reconciler.cli.terminal import clean
from reconciler.cli.waiting import UNATTENDED
from reconciler.core.durations import describe_duration
from reconciler.installation import is_controller_running
from reconciler.store import past, read

LOOK = 0.1
"""Seconds between looks at what loads."""
SERVING = ("Ready", "Unhealthy")
"""Phases of servers that are asked how they are."""


def until_ready(task: Task) -> Found:
    """Look, ask and act until it is Ready. Raises Failure."""
    was_asked, is_done, was_heard = "", False, False
    _take_up(task)
    while task.left:
        seen = _see(task)
        if resting := _resting(seen):
            was_asked, is_done = _wake(task, seen, resting)
            continue
        trouble = "it does not run" if not seen.is_alive and not is_controller_running(task.state) else ""
        trouble = trouble or (seen.words if seen.phase == "Failed" or _has_completed(seen) else "")
        if seen.is_alive and (seen.phase in SERVING or not is_controller_running(task.state)):
            subject = subject_of(seen.item, seen.launch)
            answer = probe(subject, task.left)
            if _is_ready(task, seen, answer):
                return Found(seen, subject, answer, was_asked)
            if answer.health is Health.UNKNOWN and not was_heard:
                raise _not_known(task, subject)
            was_heard = answer.health is not Health.UNKNOWN
            trouble = answer.why if answer.health is Health.UNWELL else ""
        if trouble and is_done:
            raise Failure(f"{task.name} was {was_asked}ed, and is unwell again: {clean(trouble)}", task.why)
        asked, is_done = _go_on(task, seen, trouble)
        was_asked = asked or was_asked
    raise AssertionError


def _take_up(task: Task) -> None:
    """Have the files in force first where nobody else does that, and what was accepted last is not to run."""
    if is_controller_running(task.state):
        return
    with opened(task.state) as db:
        is_known = task.name in read.names(db)
    if is_known and _resting(_see(task)) not in LEFT_OUT:
        return
    with open_controller(
        task.state, lambda: task.invocation.settings_of(task.state), "ensure", task.left
    ) as controller:
        controller.reconcile()


def _not_known(task: Task, subject: Subject) -> Failure:
    longest = describe_duration(subject.spec.probes.liveness.timeout)
    within = f"whether {task.name} is well is not known within {describe_duration(task.timeout)}"
    return Failure(
        f"{within}: it has not answered, and may take up to {longest} (spec.probes.liveness.timeout)",
        f"give it more time than that with --timeout, or restart it with: reconciler restart {task.name}",
    )


def _see(task: Task) -> Seen:
    """Raises Failure for a server that is not there."""
    with opened(task.state) as db:
        refuse_unknown([task.name], read.names(db))
        now = time.time()
        (item,) = read.servers(db, [task.name], now=now, controller=True)
        (checked,) = read.servers(db, [task.name], now=now, controller=False)
        uid = uid_of(item)
        launch = past.launch(db, uid) if uid else None
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


def _wake(task: Task, seen: Seen, reason: str) -> tuple[str, bool]:
    """Start what was stopped by request, where that is wanted. Raises Failure."""
    if reason == "Suspended":
        hint = f"have it run again with: reconciler resume {task.name}"
        raise Failure(f"{task.name} is suspended by its manifest", hint)
    if reason != "StopRequested":
        raise Failure(f"{task.name} is not to run: {seen.item['status']['message']}", task.why)
    if not task.may_start:
        hint = f"start it with: reconciler start {task.name}, or: reconciler ensure {task.name} --start"
        raise Failure(f"{task.name} was stopped by request", hint)
    return _ask_and_follow(task, seen, "start", up)


# ---------------------------------------------------------------- asking for it


def _go_on(task: Task, seen: Seen, trouble: str) -> tuple[str, bool]:
    """Have it restarted where it is in trouble, and wait for what becomes of it. Returns as `_ask_and_follow`."""
    if trouble:
        return _ask_and_follow(task, seen, "restart", restarted({task.name: uid_of(seen.item)}), trouble)
    if seen.phase == "Ready" or not is_controller_running(task.state):
        # It answers that it loads: after a sleep, or with nobody else there to see it become Ready.
        time.sleep(min(LOOK, task.left))
        return "", False
    return _ask_and_follow(task, seen, "", up)


def _ask_and_follow(task: Task, seen: Seen, kind: str, judge: Judge, trouble: str = "") -> tuple[str, bool]:
    """Commit a request, once for all who ask for it at the same time, and wait. Raises Failure.

    Returns what was asked for by this command, and whether it was done: a controller may end before that.
    """
    settings, asked = task.invocation.settings_of, ""
    with open_controller(task.state, lambda: settings(task.state), kind or "ensure", task.left) as controller:
        if controller.is_here and not kind:
            return "", False  # the one that ran has just ended: what is to be done without one, the next look tells
        try:
            if kind:
                with _alone(task):
                    if _is_needed(task, seen, kind, is_here=controller.is_here):
                        controller.request(kind, [task.name])
                        asked = kind
            if trouble:
                then = "restarting it" if asked else "it is being restarted already"
                say(clean(f"{task.name}  {trouble}; {then}"), err=True)
            followed = follow(task.state, [task.name], judge, timeout=task.timeout, began=task.until - task.timeout)
        except ControllerEndedError:
            return asked, False  # another command was the controller, and has ended: the next look tells how far it is
        if controller.is_here or (asked and not acts_on_all(task.state)):
            say(UNATTENDED, err=True)
    if followed.failed:
        raise _not_ready(task, followed.judgements[task.name])
    return asked, bool(asked)


def _not_ready(task: Task, last: Judgement) -> Failure:
    """As it stands now, where the time was over while it was on its way: that may be another place by then."""
    if last.verdict is not Verdict.WAITING:
        return Failure(f"{task.name} is not Ready: {clean(last.text)}", task.why)
    seen, within = _see(task), f"{task.name} is not Ready within {describe_duration(task.timeout)}"
    return Failure(within if seen.phase == "Ready" else f"{within}: {clean(seen.words)}", task.why)


def _is_needed(task: Task, seen: Seen, kind: str, *, is_here: bool) -> bool:
    """Whether nobody else has it restarted by now. A command's controller has noted its end, and does no more."""
    if is_here:
        return True
    again = _see(task)
    if kind in again.asked:
        return False
    if acts_on_all(task.state):
        return again.start == seen.start
    return uid_of(again.item) in (uid_of(seen.item), None)


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
