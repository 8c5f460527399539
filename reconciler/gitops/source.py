"""Follows a Git repository: looks at it, judges what it finds, and puts whole revisions in force."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from reconciler.core import following
from reconciler.core.following import Outcome
from reconciler.core.source import GIT, SourceRecord
from reconciler.gitops.cache import Cache
from reconciler.gitops.checkout import Checkout
from reconciler.gitops.git import GitError, Remote
from reconciler.gitops.house import House
from reconciler.gitops.reading import Declared, Reader, refusals
from reconciler.manifests.folder import Look
from reconciler.manifests.parse import Check

log = logging.getLogger("reconciler")
CACHE = "cache.git"
"""Folder of the cache, within the source's."""
TOO_LARGE_PAUSE = 3600.0
"""Seconds until a commit that was too large is fetched again: each time costs as much as the limit allows."""
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Repository:
    """What is followed, by the settings."""

    remote: Remote
    path: str
    """Folder in it that holds the manifests."""
    interval: float
    """Seconds between two looks."""

    @property
    def ref(self) -> str:
        """The branch or tag as people are shown it."""
        return self.remote.ref.replace("refs/heads/", "branch ").replace("refs/tags/", "tag ")


@dataclass(frozen=True, slots=True)
class _TooLarge:
    """A commit that could not be fetched for its size."""

    commit: str
    until: float
    """Monotonic time before which it is not tried again."""
    error: GitError


class Source:
    """One Git repository. Its calls wait for one another; git runs in a thread of its own."""

    def __init__(self, folder: Path, repository: Repository, house: House, check: Check) -> None:
        """`folder` holds the cache and the revisions."""
        self._repository = repository
        self._house = house
        self._cache = Cache(folder / CACHE, repository.remote, os.environ)
        self._checkout = Checkout(folder)
        self._reader = Reader(self._cache, repository.path, check)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="git")
        self._lock = asyncio.Lock()
        self._declared: Declared | None = None
        self._too_large: _TooLarge | None = None
        self.look = Look()
        """What is in force of it, for the loop. The same object as long as nothing changes."""
        self.synced = asyncio.Event()
        """Set after the first look at the remote, however it went."""

    @property
    def revisions(self) -> Path:
        """The folder whose files are to be watched."""
        return self._checkout.revisions

    def open(self) -> None:
        """Read the revision that was in force; where it cannot be read, what was accepted of it stays. Blocking."""
        self._checkout.make()
        record = self._record()
        if record != self._house.record():
            self._house.remember(record, [])
        commits = [self._checkout.current(), record.applied.commit if record.applied else ""]
        why = "no revision of it was put in force yet"
        for commit in dict.fromkeys(filter(None, commits)):
            try:
                self._use(self._reader.read(commit))
            except GitError as error:
                why = str(error)
            else:
                return
        if any(document.origin == GIT for document in self._house.accepted().values()):
            self.look = Look(failed=f"source {GIT}: {why}; what was accepted of it stays in force")

    def _record(self) -> SourceRecord:
        """What is remembered, with what the settings say today."""
        known, repository = self._house.record() or SourceRecord(GIT, url="", ref=""), self._repository
        return replace(
            known,
            url=repository.remote.url,
            ref=repository.ref,
            path=repository.path,
            interval=repository.interval,
            suspended=self._house.is_suspended(),
        )

    # -- following

    async def run(self) -> None:
        """Look at the remote again and again, until cancelled."""
        while True:
            try:
                await self.sync()
            except Exception:
                # A fault of ours, or a database that cannot be written: the next look may go well.
                log.exception("the look at source %s failed; looking again in %g s", GIT, self._repository.interval)
            await asyncio.sleep(self._repository.interval)

    async def sync(self) -> SourceRecord:
        """Look at the remote now, and put what it has in force if that may be. What went wrong is in the record."""
        async with self._lock:
            try:
                record, events = await self._sync()
                if record != self._house.record() or events:
                    self._house.remember(record, events)
            finally:
                self.synced.set()
            return record

    async def _sync(self) -> Outcome:
        record = self._record()
        try:
            found = await self._in_thread(self._fetch)
        except (GitError, OSError) as error:
            reason = error.reason if isinstance(error, GitError) else "StateUnwritable"
            return following.unreachable(record, reason, str(error), time.time())
        record, events = following.reached(record, time.time())
        record, more = await self._judge(record, found)
        return record, events + more

    def _fetch(self) -> Declared:
        """What the remote has. Blocking."""
        commit = self._cache.look()
        if not self._cache.holds(commit):
            self._bring(commit)
        if self._declared is not None and self._declared.revision.commit == commit:
            return self._declared
        return self._reader.read(commit)

    def _bring(self, commit: str) -> None:
        """Fetch a commit; one that was too large is not fetched over and over."""
        now = time.monotonic()
        if self._too_large is not None and self._too_large.commit == commit and now < self._too_large.until:
            raise self._too_large.error
        self._too_large = None
        try:
            self._cache.fetch(commit)
        except GitError as error:
            if error.reason == "TooLarge":
                self._too_large = _TooLarge(commit, now + TOO_LARGE_PAUSE, error)
            raise

    async def _judge(self, record: SourceRecord, found: Declared) -> Outcome:
        if record.suspended:
            return following.waiting(record, found.revision)
        if record.applied is not None and found.revision.commit == record.applied.commit:
            # It was judged when it came; after a loss of the cache it is only read anew.
            await self._put_in_force(found)
            return following.unchanged(record)
        if problems := refusals(found, self._house.others(), self._house.accepted()):
            return following.rejected(record, found.revision, problems)
        before = record.applied
        follows = before is None or await self._in_thread(partial(self._follows, found, before.commit))
        await self._put_in_force(found)
        return following.applied(record, found.revision, time.time(), follows=follows)

    def _follows(self, found: Declared, before: str) -> bool:
        try:
            return self._cache.contains(found.revision.commit, before)
        except GitError:
            return False

    async def _put_in_force(self, found: Declared) -> None:
        """Its files whole, one switch, and the loop is told."""
        if found is self._declared:
            return
        try:
            await self._in_thread(partial(self._switch, found))
        except OSError as error:
            # The files are for people: what is in force needs none of them.
            log.warning("the files of revision %s cannot be written: %s", found.revision.short, error)
        self._use(found)
        self._house.poke()

    def _switch(self, found: Declared) -> None:
        commit = found.revision.commit
        self._checkout.put(commit, found.blobs)
        self._checkout.switch(commit)
        self._checkout.keep_only(frozenset({commit}))

    def _use(self, found: Declared) -> None:
        self._declared = found
        files = frozenset(document.file for document in found.documents)
        self.look = Look(documents=found.documents, problems=found.problems, files_seen=files)

    # -- what people do

    async def suspend(self, *, suspended: bool) -> SourceRecord:
        """Show that a person suspended or resumed it; one that is resumed looks at once."""
        if not suspended:
            return await self.sync()
        async with self._lock:
            record, events = following.suspended(self._house.record() or self._record())
            self._house.remember(record, events)
            return record

    async def read(self, rev: str) -> Declared:
        """What a branch, tag or commit of the repository declares. Raises GitError."""
        async with self._lock:
            return await self._in_thread(lambda: self._reader.read(self._cache.fetch_rev(rev)))

    async def restore(self) -> None:
        """Put right what somebody changed in the synced files."""
        async with self._lock:
            declared = self._declared
            if declared is None:
                return
            try:
                mended = await self._in_thread(partial(self._mend, declared))
            except OSError as error:
                log.warning("the files of revision %s cannot be put right: %s", declared.revision.short, error)
                return
            if mended:
                self._house.remember(*following.restored(self._record(), mended, str(self._checkout.replaced)))

    def _mend(self, declared: Declared) -> list[str]:
        mended = self._checkout.put(declared.revision.commit, declared.blobs)
        return [*mended, "current"] if self._checkout.switch(declared.revision.commit) else mended

    # -- waiting

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """End what git does; what is in force stays."""
        self._cache.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)
