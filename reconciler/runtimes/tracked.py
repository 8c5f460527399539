"""A process of ours, from its spawn or discovery until its end is recorded; and those that share its session."""

import os
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from reconciler.core.history import Instance
from reconciler.core.model import Exit, Identity, Process
from reconciler.runtimes.bearers import Bearer
from reconciler.runtimes.host import Host, Marked, Watch
from reconciler.runtimes.spawning import Child

PATIENCE = 0.1
"""Seconds for which the end of another's child is kept open to learn how it ended: whoever reaps it is quick, or never
does."""
FIRST_LOOK = 0.002
"""Seconds until that is asked again for the first time."""


@dataclass(slots=True)
class Tracked:
    """A process, and how its end is learned."""

    process: Process
    watch: Watch | None = None
    popen: Child | None = None
    ending: bool = False
    alone: bool = False
    """Whoever shares its session is not ours."""
    ended_at: float | None = None
    """Monotonic time at which its end was seen, while it is not known how it ended."""

    def exit(self) -> Exit | None:
        """How it ended; None while it runs, and for a moment after that."""
        if self.popen is not None:
            try:
                return _exit_of(self.popen)
            except ChildProcessError:
                # Somebody else reaped it, or SIGCHLD is ignored: it has ended, and how is for the pidfd to tell.
                self._disown()
                if self.watch is None:
                    return Exit()
        if self.watch is None or not self.watch.has_ended():
            return None
        found = self.watch.exit() if self.process.leader else Exit()
        if found is not None:
            return found
        now = time.monotonic()
        self.ending, self.ended_at = True, now if self.ended_at is None else self.ended_at
        return Exit() if now - self.ended_at >= PATIENCE else None

    @property
    def look_in(self) -> float | None:
        """Seconds until how it ended is to be asked again: soon at first, then seldom."""
        if self.ended_at is None or not self.process.alive:
            return None
        return max(FIRST_LOOK, time.monotonic() - self.ended_at)

    def signal(self, number: int) -> None:
        """Send a signal, if it runs; a process of another user is left as it is."""
        if not self.process.alive:
            return
        with suppress(PermissionError):
            if self.watch is not None:
                self.watch.signal(number)
            elif self.popen is not None:
                # Nobody else can reap our own child, so its pid is still its own.
                self.popen.send_signal(number)

    def let_go(self) -> None:
        """It runs on."""
        if self.watch is not None:
            self.watch.close()
        self._disown()

    def _disown(self) -> None:
        if self.popen is not None:
            # Popen would warn of a child that was not waited for.
            self.popen.returncode = 0
            self.popen = None


def _exit_of(child: Child) -> Exit | None:
    """Reap it; None while it runs. Raises ChildProcessError when it was reaped, for which Popen invents a 0."""
    if child.returncode is None:
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if pid == 0:
            return None
        child.returncode = os.waitstatus_to_exitcode(status)
    code = child.returncode
    return Exit(signal=-code) if code < 0 else Exit(code=code)


def process_of(marked: Marked, bearer: Bearer | None) -> Process:
    """The process that bears a mark; `bearer`: what is known of it besides, where that could be seen."""
    return Process(
        uid=marked.uid,
        server=marked.server,
        identity=marked.identity,
        leader=marked.leader,
        alive=True,
        fingerprint=marked.fingerprint,
        port=marked.port,
        step=marked.step,
        step_told=marked.step_told,
        changes=marked.changes,
        hides_gpus=marked.hides_gpus,
        program=bearer.program if bearer is not None else "",
        is_launched=bearer is None or str(marked.port) in bearer.argv,
    )


def known_by_row(instance: Instance) -> Process:
    """The process of an instance, as its row has it; an adopted one was started by another command line."""
    assert instance.identity is not None
    return Process(
        uid=instance.uid,
        server=instance.server,
        identity=instance.identity,
        leader=True,
        alive=True,
        fingerprint="" if instance.adopted else instance.fingerprint,
        port=instance.port,
        step=instance.step,
        step_told=instance.step_told,
        changes=instance.changes,
        hides_gpus=instance.hides_gpus,
    )


def ended_unseen(instance: Instance, log_tail: str) -> Process:
    """The process of an instance that ended while nobody watched: who could have known how is gone."""
    return replace(known_by_row(instance), alive=False, exit=Exit(), log_tail=log_tail)


def session_members(
    host: Host, leaders: Iterable[Tracked], known: Collection[int]
) -> Iterator[tuple[Identity, Tracked]]:
    """The processes in the sessions of these leaders that are not known yet, whatever became of their environment.

    A session's number is its leader's pid, and is nobody else's as long as the leader is there, or one of the session.
    """
    by_pid = {leader.process.identity.pid: leader for leader in leaders if leader.process.leader and not leader.alone}
    for pid, session in host.sessions().items() if by_pid else ():
        leader = by_pid.get(session)
        if leader is None or pid in known or pid == session:
            continue
        if host.identify(session, ended=True) not in (None, leader.process.identity):
            continue
        identity = host.identify(pid)
        with suppress(OSError):
            if identity is not None and os.getsid(pid) == session:
                yield identity, leader


def has_group(pid: int) -> bool:
    """Whether the process group that a leader began has members: its helpers, unless they left it."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
