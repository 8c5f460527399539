"""The Git source of a controller, where its settings name one: its tasks, and what people ask of it."""

import asyncio
import shutil
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.controller.loop import Loop, log, report
from reconciler.controller.manifests import Manifests
from reconciler.controller.preview import check_spec
from reconciler.core.accept import Beside, Seen
from reconciler.core.actions import Event
from reconciler.core.git_settings import GitSource
from reconciler.core.model import Document
from reconciler.core.source import GIT, SourceRecord
from reconciler.manifests.folder import Look
from reconciler.settings import Settings
from reconciler.store.items import source_item
from reconciler.store.writer import Store

if TYPE_CHECKING:
    from reconciler.gitops.source import Repository, Source

FOLDER = "git"
"""Folder in the state folder that holds the cache and the revisions."""
MIB = 1024 * 1024
FIRST_SYNC = 10.0
"""Most seconds that `apply` waits for the first look at the remote, when it has to be the controller itself."""


class House:
    """The controller as a source sees it (gitops.house.House)."""

    def __init__(self, store: Store, manifests: Manifests, loop: Loop) -> None:
        self._store = store
        self._manifests = manifests
        self._loop = loop

    def record(self) -> SourceRecord | None:
        """What was remembered of the source."""
        return self._store.sources.get(GIT)

    def remember(self, record: SourceRecord, events: list[Event]) -> None:
        """Commit it, and tell of it. Raises sqlite3.Error."""
        now = self._loop.now()
        with self._store.transaction():
            self._store.save_source(record)
            for event in events:
                self._store.add_event(event, now)
        for event in events:
            report(event)

    def is_suspended(self) -> bool:
        """Whether a person suspended it."""
        return GIT in self._store.suspended_sources()

    def accepted(self) -> Mapping[str, Document]:
        """The documents in force."""
        return self._store.documents

    def judged_with(self) -> Beside:
        """Documents of other kinds in force, and what else their judgement needs."""
        selection, host = self._loop.acceptance.selection, self._loop.server_host
        return Beside(self._store.others, selection, self._store.asked_profile(), check_spec, server_host=host)

    def others(self) -> Seen:
        """What the manifests folder says."""
        return self._manifests.local(time.monotonic())

    def poke(self) -> None:
        """Look again."""
        self._loop.poke()


class Syncing:
    """Follows the source of the settings; without one, it does nothing."""

    def __init__(self, settings: Settings, store: Store, manifests: Manifests, loop: Loop) -> None:
        self._store = store
        self._loop = loop
        self._manifests = manifests
        self._git = settings.source.git
        self._folder = Path(settings.state, FOLDER)
        self._source = self._make()
        self._tasks: set[asyncio.Task[None]] = set()

    def _make(self) -> "Source | None":
        if self._git is None:
            return None
        from reconciler.gitops.source import Source  # noqa: PLC0415 - most installations have none

        house = House(self._store, self._manifests, self._loop)
        source = Source(self._folder, _repository(self._git), house, check_spec)
        self._manifests.follow(source, self._reconsider)
        return source

    @property
    def known(self) -> tuple[str, ...]:
        """Names of the sources."""
        return (GIT,) if self._source else ()

    def start(self) -> None:
        """Begin to follow the remote, and to watch the synced files."""
        if self._source is None:
            self._forget()
            return
        from reconciler.controller.triggers import watch_manifests  # noqa: PLC0415 - slow to import

        self._do(self._source.run())
        self._do(watch_manifests(self._source.revisions, self.restore))

    def _forget(self) -> None:
        """The settings name no source any more: its documents are gone, and what was fetched is of no use."""
        if GIT in self._store.sources:
            with self._store.transaction(anyway=True):
                self._store.forget_source(GIT)
            shutil.rmtree(self._folder, ignore_errors=True)

    def restore(self) -> None:
        """Put the synced files right, soon."""
        if self._source is not None and self._tasks:
            self._do(self._source.restore())

    def _reconsider(self) -> None:
        if self._source is not None and self._tasks:
            self._do(self._source.reconsider())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("source %s: %s: %s", GIT, type(error).__name__, error)

    async def first(self) -> None:
        """Wait for the first look at the remote, if one is on its way."""
        if self._source is not None and self._tasks:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._source.synced.wait(), FIRST_SYNC)

    async def sync(self) -> dict[str, Any]:
        """Look at the remote now, and act on it; the source's item."""
        assert self._source
        return await self._acted(await self._source.sync())

    async def suspend(self, *, suspended: bool) -> dict[str, Any]:
        """Commit that the source rests or goes on; its item."""
        assert self._source
        now = self._loop.now()
        with self._store.transaction():
            if suspended:
                self._store.add_request("suspendSource", GIT, now)
            else:
                self._store.withdraw("suspendSource", GIT, now)
        return await self._acted(self._source.suspend() if suspended else await self._source.resume())

    async def _acted(self, record: SourceRecord) -> dict[str, Any]:
        """Once what is in force of it has been acted on, the source's item."""
        await self._loop.run_pass()
        return source_item(asdict(record))

    async def look_at(self, rev: str) -> Look | str:
        """What a revision of the repository declares; text: why that cannot be told.

        One that would be refused declares nothing: it has problems alone.
        """
        assert self._source
        from reconciler.gitops.git import GitError  # noqa: PLC0415 - most installations have no source

        try:
            declared, problems = await self._source.read(rev)
        except GitError as error:
            return str(error)
        if problems:
            return Look(problems=tuple(problems))
        return Look(documents=declared.documents, others=declared.others)

    def close(self) -> None:
        """Let go of the remote."""
        for task in self._tasks:
            task.cancel()
        if self._source is not None:
            self._source.close()


def _repository(settings: GitSource) -> "Repository":
    from reconciler.gitops.git import Remote  # noqa: PLC0415 - most installations have no source
    from reconciler.gitops.source import Repository  # noqa: PLC0415

    auth = settings.auth
    remote = Remote(
        url=settings.url,
        ref=settings.ref,
        token_file=auth.token_file,
        username=auth.username,
        ssh_key_file=auth.ssh_key_file,
        known_hosts_file=auth.known_hosts_file,
        timeout=settings.timeout,
        most_bytes=settings.max_mib * MIB,
    )
    return Repository(remote, settings.path, settings.interval)
