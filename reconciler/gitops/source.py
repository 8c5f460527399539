"""Follows a Git repository: looks at it, judges what it finds, and puts whole revisions in force."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from reconciler.core import following
from reconciler.core.following import Outcome
from reconciler.core.model import Document
from reconciler.core.source import GIT, SourceRecord
from reconciler.gitops.git import GitError, Remote
from reconciler.gitops.house import House
from reconciler.gitops.reading import Declared, refusals
from reconciler.gitops.worker import Worker
from reconciler.manifests.folder import Look
from reconciler.manifests.parse import Check

log = logging.getLogger("reconciler")


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


class Source:
    """One Git repository. What was accepted of it is in force until a revision of it has been read and judged."""

    def __init__(self, folder: Path, repository: Repository, house: House, check: Check) -> None:
        """`folder` holds the cache and the revisions."""
        self._repository = repository
        self._house = house
        self._worker = Worker(folder, repository.remote, repository.path, check)
        self._lock = asyncio.Lock()
        self._in_force: Declared | None = None
        self._refused: Declared | None = None
        """The newest revision, where it has errors."""
        self._closed = False
        others = tuple(document for document in house.judged_with().others.values() if document.origin == GIT)
        self.look = Look(documents=_of_git(house.accepted()), others=others)
        """What is in force of it, for the loop. The same object as long as nothing changes."""
        self.synced = asyncio.Event()
        """Set after the first look at the remote, however it went."""

    @property
    def revisions(self) -> Path:
        """The folder whose files are to be watched."""
        return self._worker.checkout.revisions

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

    def _remember(self, outcome: Outcome) -> SourceRecord:
        record, events = outcome
        if events or record != self._house.record():
            self._house.remember(record, events)
        return record

    # -- following

    async def run(self) -> None:
        """Look at the remote again and again, until cancelled."""
        while True:
            try:
                await self.sync()
            except sqlite3.Error as error:
                log.error("the state cannot be written, so no revision is put in force: %s", error)  # noqa: TRY400
            except Exception:
                # A fault of ours: the next look may go well.
                log.exception("the look at source %s failed; looking again in %g s", GIT, self._repository.interval)
            await asyncio.sleep(self._repository.interval)

    async def sync(self) -> SourceRecord:
        """Look at the remote now, and put what it has in force if that may be.

        What went wrong is in the record. Raises sqlite3.Error when that cannot be kept: then nothing is put in force.
        """
        async with self._lock:
            try:
                return await self._sync()
            except GitError:
                if not self._closed:
                    raise
                return self._record()
            finally:
                self.synced.set()

    async def _sync(self) -> SourceRecord:
        await self._read_in_force()
        try:
            found = await self._worker.run(partial(self._worker.newest, self._in_force))
        except (GitError, OSError) as error:
            return self._failed(error)
        self._remember(following.reached(self._record(), time.time()))
        return await self._judge(found)

    def _failed(self, error: GitError | OSError) -> SourceRecord:
        record, reason = self._record(), error.reason if isinstance(error, GitError) else "StateUnwritable"
        if self._closed:  # what we ended ourselves says nothing about the remote
            return record
        return self._remember(following.unreachable(record, reason, str(error), time.time()))

    async def _read_in_force(self) -> None:
        """Have the revision that was put in force at hand, if the cache still has it: for its files."""
        record = self._record()
        if self._in_force is not None or record.applied is None or not record.is_applied(record.applied.commit):
            return
        try:
            found = await self._worker.run(partial(self._worker.held, record.applied.commit))
        except (GitError, OSError) as error:
            log.info("revision %s cannot be read from the cache: %s", record.applied.short, error)
        else:
            self._use(found)
            # What somebody did to the files meanwhile is for `restore` to find, unless they are another revision's.
            if self._worker.checkout.current() != found.revision.commit:
                await self._switch(found)

    async def _judge(self, found: Declared) -> SourceRecord:
        follows = await self._worker.run(partial(self._follows, found, self._record()))
        # From here on nothing is waited for: what people said and what the manifests folder says is as it is now.
        record, problems = self._record(), self._problems(found)
        if record.suspended:
            outcome = following.waiting(record, found.revision)
        elif problems:
            outcome = following.rejected(record, found.revision, problems)
        elif record.is_applied(found.revision.commit):
            outcome = following.unchanged(record)
        else:
            outcome = following.applied(record, found.revision, time.time(), follows=follows)
        self._refused = found if problems else None
        record = self._remember(outcome)
        if not problems and not record.suspended:
            await self._put_in_force(found)
        return record

    def _follows(self, found: Declared, record: SourceRecord) -> bool:
        """Whether it comes after what is in force, as far as that is known. Blocking."""
        if record.applied is None or record.applied_from[0] != record.url:
            return True
        return self._worker.follows(found.revision.commit, record.applied.commit)

    def _problems(self, found: Declared) -> following.Problems:
        """Why a revision may not be put in force. One that is was judged when it came."""
        if self._record().is_applied(found.revision.commit):
            return ()
        return refusals(found, self._house.others(), self._house.accepted(), self._house.judged_with())

    async def _put_in_force(self, found: Declared) -> None:
        """The loop is told, and then its files are made: they are for people, and what is in force needs none."""
        if found is self._in_force:
            return
        self._use(found)
        await self._switch(found)

    async def _switch(self, found: Declared) -> None:
        try:
            await self._worker.run(partial(self._worker.switch, found))
        except OSError as error:
            log.warning("the files of revision %s cannot be written: %s", found.revision.short, error)

    def _use(self, found: Declared) -> None:
        self._in_force = found
        files = frozenset(document.file for document in (*found.documents, *found.others))
        self.look = Look(found.documents, found.problems, files, others=found.others)
        self._house.poke()

    async def reconsider(self) -> None:
        """Judge a refused revision anew: the manifests folder has changed, and may no longer be in its way."""
        async with self._lock:
            if self._refused is not None:
                await self._judge(self._refused)

    # -- what people do

    def suspend(self) -> SourceRecord:
        """Show that a person suspended it. It waits for no look: one that is on its way puts nothing in force."""
        return self._remember(following.suspended(self._house.record() or replace(self._record(), suspended=False)))

    async def resume(self) -> SourceRecord:
        """Show that a person lets it go on, and look at once."""
        self._remember(following.resumed(self._house.record() or self._record()))
        return await self.sync()

    async def read(self, rev: str) -> tuple[Declared, following.Problems]:
        """What a branch, tag or commit declares, and why it would be refused. Raises GitError."""
        async with self._lock:
            found = await self._worker.run(partial(self._worker.named, rev))
        return found, self._problems(found)

    async def restore(self) -> None:
        """Put right what somebody changed in the synced files."""
        async with self._lock:
            in_force = self._in_force
            if in_force is None:
                return
            try:
                mended = await self._worker.run(partial(self._worker.mend, in_force))
                if mended:
                    kept = str(self._worker.checkout.replaced)
                    self._remember(following.restored(self._record(), mended, kept))
            except (GitError, OSError, sqlite3.Error) as error:
                log.warning("the files of revision %s cannot be put right: %s", in_force.revision.short, error)

    def close(self) -> None:
        """End what git does; what is in force stays."""
        self._closed = True
        self._worker.close()


def _of_git(documents: Mapping[str, Document]) -> tuple[Document, ...]:
    return tuple(document for document in documents.values() if document.origin == GIT)
