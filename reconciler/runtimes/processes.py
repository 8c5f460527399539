"""The processes of an installation: found by their marks, watched until they have ended and that is recorded."""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from functools import partial

from reconciler.core.history import Instance
from reconciler.core.model import Identity, Process
from reconciler.runtimes.bearers import Bearer, leads_to, lineage, look_at_bearer, marks_of
from reconciler.runtimes.host import FOLDER, INSTALLATION, Host, Marked, ResourceError
from reconciler.runtimes.spawning import Child
from reconciler.runtimes.tracked import Tracked, ended_unseen, has_group, known_by_row, process_of, session_members

_NAME = re.compile(r"[a-z0-9][-a-z0-9]{0,62}", re.ASCII)
_UID = re.compile(r"[A-Za-z0-9][-\w]{0,63}", re.ASCII)
"""What our own marks look like: they become paths of logs, and lines for people."""


class Processes:
    """All processes of one installation on this machine, by identity."""

    def __init__(
        self,
        host: Host,
        installation: str,
        tail: Callable[[str, str], str],
        on_end: Callable[[], None],
        folder: str = "",
        is_taken: Callable[[Identity], bool] = lambda _: False,
    ) -> None:
        """`tail` has the last lines of an instance's log, by server and uid; `on_end` is called for ends.

        `folder` is the real path of the installation's state folder; `is_taken`: whether another one has a process.
        """
        self._host = host
        self._installation = installation
        self._folder = folder
        self._is_taken = is_taken
        self._tail = tail
        self._on_end = on_end
        self._tracked: dict[Identity, Tracked] = {}
        self.bystanders: Mapping[Identity, Process] = {}
        """Processes that bear our mark, but are somebody's in a terminal: they are left alone."""
        self._unlooked: ResourceError | None = ResourceError(0, "the processes were not looked at yet")
        """Why not every process could be looked at last time, if so."""
        self._has_looked = False
        self._timer: asyncio.TimerHandle | None = None
        self._gone: list[Instance] = []
        """Those of the rows that were not found when they were looked for."""

    def __iter__(self) -> Iterator[Process]:
        return (tracked.process for tracked in self._tracked.values())

    @property
    def unseen(self) -> ResourceError | None:
        """Why there may be processes of ours that were not seen, if so."""
        return self._unlooked if self._has_looked else None

    def observe(self, *, fresh: bool) -> dict[str, tuple[Process, ...]]:
        """All processes that bear our mark, and those that ended since and are not forgotten, by server.

        `fresh` looks at every process of the machine; otherwise, where one has ended, at those that are new since the
        last look. Raises ResourceError when there never was a whole look: then nothing is known of what runs.
        """
        fresh = fresh or self._unlooked is not None
        if fresh or self._host.polls:
            self._look(fresh=fresh)
        ended = [tracked for tracked in list(self._tracked.values()) if self._has_ended(tracked, thorough=fresh)]
        if any(tracked.process.leader for tracked in ended):
            self._look(fresh=False, ended=ended)
        self._note_gone()
        self._ask_again()
        found: dict[str, list[Process]] = {}
        for tracked in self._tracked.values():
            found.setdefault(tracked.process.server, []).append(tracked.process)
        return {server: tuple(processes) for server, processes in found.items()}

    def _look(self, *, fresh: bool, ended: Sequence[Tracked] = ()) -> None:
        """Find what is new. A look for which there was no room is made up for by the next."""
        try:
            self._scan(fresh=fresh, ended=ended)
        except ResourceError as error:
            self._unlooked = error
            if not self._has_looked:
                raise
        else:
            if fresh:
                self._unlooked, self._has_looked = None, True

    def _scan(self, *, fresh: bool, ended: Sequence[Tracked]) -> None:
        bystanders = {} if fresh else dict(self.bystanders)
        for marked in self._host.marked(self._installation, fresh=fresh):
            if marked.identity not in self._tracked and _could_be_ours(marked):
                bearer = look_at_bearer(marked.identity.pid)
                if bearer is not None and not self._is_ours(marked, bearer):
                    continue
                process = process_of(marked, bearer)
                if bearer is not None and bearer.has_terminal:
                    bystanders[marked.identity] = process
                else:
                    self._track(process)
        if bystanders != self.bystanders:
            self.bystanders = bystanders
        leaders = [tracked for tracked in ended if tracked.process.leader and has_group(tracked.process.identity.pid)]
        if fresh:
            leaders += [tracked for tracked in self._tracked.values() if tracked.process.alive]
            self._watch_the_unwatched()
        known = {identity.pid for identity in self._tracked} | (lineage() if leaders else frozenset())
        for identity, leader in list(session_members(self._host, leaders, known)):
            bearer = look_at_bearer(identity.pid)
            program = bearer.program if bearer is not None else ""
            process = replace(leader.process, identity=identity, leader=False, alive=True, exit=None, log_tail="")
            self._track(replace(process, program=program))

    def _is_ours(self, marked: Marked, bearer: Bearer) -> bool:
        """Whether this installation began it, and not one with a copied mark, in another view of the files."""
        pid = marked.identity.pid
        if not bearer.is_users or not leads_to(pid, marked.folder, self._folder) or pid in lineage():
            return False
        return not self._is_taken(marked.identity)

    def _track(self, process: Process) -> None:
        watch = self._host.watch(process.identity, lambda: self._mark_ending(process.identity))
        if watch is not None:
            self._tracked[process.identity] = Tracked(process, watch)

    def keep_watch(self, instances: Iterable[Instance]) -> None:
        """Watch the processes of these, found by their recorded identity alone.

        Adopted ones bear no mark, and a program with capabilities, or begun with another environment, none that could
        be read. Pid and start time mean one process within a boot, whatever it executes by now.

        Raises ResourceError when there is no room to look: then it is not known whether one runs.
        """
        self._gone = []
        for instance in instances:
            identity = instance.identity
            if identity is None or identity in self._tracked:
                continue
            watch = self._host.watch(identity, partial(self._mark_ending, identity))
            if watch is None:
                self._gone.append(instance)
                continue
            if not instance.adopted and self._is_anothers(identity.pid):
                watch.close()
                continue
            self._tracked[identity] = Tracked(known_by_row(instance), watch, alone=instance.adopted)

    def _note_gone(self) -> None:
        """Those that ended while nobody watched: their logs tell why, though not how."""
        known = {tracked.process.uid for tracked in self._tracked.values()} if self._gone else set()
        for instance in self._gone:
            if self._unlooked is None and instance.uid not in known and not instance.adopted:
                ended = ended_unseen(instance, self._tail(instance.server, instance.uid))
                self._tracked[ended.identity] = Tracked(ended)
        self._gone = []

    def _is_anothers(self, pid: int) -> bool:
        """Whether its mark says that the row is a copy, of another installation or from another view of the files."""
        marks = marks_of(pid)
        installation, folder = marks.get(INSTALLATION, self._installation), marks.get(FOLDER, "")
        return installation != self._installation or not leads_to(pid, folder, self._folder)

    def _watch_the_unwatched(self) -> None:
        """Children for whose watch there was no descriptor."""
        for identity, tracked in self._tracked.items():
            if tracked.watch is None and tracked.process.alive:
                with suppress(OSError):
                    tracked.watch = self._host.watch(identity, partial(self._mark_ending, identity))

    def _mark_ending(self, identity: Identity) -> None:
        if identity in self._tracked:
            self._tracked[identity].ending = True
        self._on_end()

    def _has_ended(self, tracked: Tracked, *, thorough: bool) -> bool:
        """Whether it is found to have ended just now; how is noted."""
        if not tracked.process.alive or not (tracked.ending or thorough or self._host.polls):
            return False
        exit_ = tracked.exit()
        if exit_ is None:
            return False
        if tracked.watch is not None:
            tracked.watch.close()
        if tracked.process.leader:
            log = self._tail(tracked.process.server, tracked.process.uid)
            tracked.process = replace(tracked.process, alive=False, exit=exit_, log_tail=log)
        else:
            del self._tracked[tracked.process.identity]
        return True

    def _ask_again(self) -> None:
        """Look again soon at those that have ended, but of which it is not known yet how."""
        looks = [look for tracked in self._tracked.values() if (look := tracked.look_in) is not None]
        if looks and self._timer is None:
            with suppress(RuntimeError):  # no event loop: somebody else asks
                self._timer = asyncio.get_running_loop().call_later(min(looks), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._on_end()

    def forget_ended(self, open_uids: AbstractSet[str]) -> None:
        """Drop processes that have ended, but for those whose rows are still open."""
        ended = [key for key, t in self._tracked.items() if not t.process.alive and t.process.uid not in open_uids]
        for identity in ended:
            del self._tracked[identity]

    def add(self, process: Process, popen: Child) -> None:
        """Watch a child that was begun just now."""
        identity, watch = process.identity, None
        with suppress(OSError):  # out of descriptors: it runs all the same, and its parent can always ask for its end
            watch = self._host.watch(identity, partial(self._mark_ending, identity))
        self._tracked[identity] = Tracked(process, watch, popen, ending=watch is None)
        if watch is None:
            self._on_end()

    def signal(self, identity: Identity, number: int) -> None:
        """Send a signal to one of them; to others, and to those that have ended, nothing is sent."""
        if identity in self._tracked:
            self._tracked[identity].signal(number)

    def close(self) -> None:
        """Let go of all; they run on."""
        if self._timer is not None:
            self._timer.cancel()
        for tracked in self._tracked.values():
            tracked.let_go()
        self._tracked.clear()


def _could_be_ours(marked: Marked) -> bool:
    """Whether we could have written its marks. Whoever may read a server's environment may copy its mark."""
    return bool(_NAME.fullmatch(marked.server) and _UID.fullmatch(marked.uid))
