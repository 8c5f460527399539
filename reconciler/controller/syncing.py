"""The Git source of a controller, where its settings name one: its tasks, and what people ask of it."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.controller.loop import Loop, report
from reconciler.controller.manifests import Manifests
from reconciler.controller.preview import check_spec
from reconciler.core.accept import Seen
from reconciler.core.actions import Event
from reconciler.core.model import Document
from reconciler.core.source import GIT, SourceRecord
from reconciler.manifests.folder import Look
from reconciler.settings import Settings
from reconciler.store.items import source_item
from reconciler.store.writer import Store

if TYPE_CHECKING:
    from reconciler.gitops.source import Source

FIRST_SYNC = 10.0
"""Most seconds that `apply` waits for the first look at the remote, when it has to be the controller itself."""


class House:
    """The controller as a source sees it (gitops.source.House)."""

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
        self._source = self._make(settings)
        self._tasks: list[asyncio.Task[None]] = []

    def _make(self, settings: Settings) -> "Source | None":
        git = settings.source.git
        if git is None:
            if GIT in self._store.sources:
                with self._store.transaction():
                    self._store.forget_source(GIT)
            return None
        from reconciler.gitops.source import Source  # noqa: PLC0415 - most installations have none
        from reconciler.remote import FOLDER, repository  # noqa: PLC0415

        house = House(self._store, self._manifests, self._loop)
        return Source(Path(settings.state, FOLDER), repository(git), house, check_spec)

    @property
    def known(self) -> tuple[str, ...]:
        """Names of the sources."""
        return (GIT,) if self._source else ()

    def open(self) -> None:
        """Have the revision in force at hand before the first pass."""
        if self._source is not None:
            self._manifests.source = self._source
            self._source.open()

    def start(self) -> None:
        """Begin to follow the remote, and to watch the synced files."""
        if self._source is None:
            return
        from reconciler.controller.triggers import watch_manifests  # noqa: PLC0415 - slow to import

        self._tasks = [
            asyncio.create_task(self._source.run()),
            asyncio.create_task(watch_manifests(self._source.revisions, self.restore)),
        ]

    def restore(self) -> None:
        """Put the synced files right, soon."""
        if self._source is not None and self._tasks:
            self._tasks = [task for task in self._tasks if not task.done()]
            self._tasks.append(asyncio.create_task(self._source.restore()))

    async def first(self) -> None:
        """Wait for the first look at the remote, if one is on its way."""
        if self._source is not None and self._tasks:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._source.synced.wait(), FIRST_SYNC)

    async def sync(self) -> dict[str, Any]:
        """Look at the remote now, and act on it; the source's item."""
        assert self._source
        record = await self._source.sync()
        await self._loop.run_pass()
        return source_item(asdict(record))

    async def suspend(self, *, suspended: bool) -> dict[str, Any]:
        """Commit that the source rests or goes on; its item."""
        assert self._source
        now = self._loop.now()
        with self._store.transaction():
            if suspended:
                self._store.add_request("suspendSource", GIT, now)
            else:
                self._store.withdraw("suspendSource", GIT, now)
        record = await self._source.suspend(suspended=suspended)
        await self._loop.run_pass()
        return source_item(asdict(record))

    async def look_at(self, rev: str) -> Look | str:
        """What a revision of the repository declares, or why that cannot be told."""
        assert self._source
        from reconciler.gitops.git import GitError  # noqa: PLC0415 - most installations have no source

        try:
            declared = await self._source.read(rev)
        except GitError as error:
            return str(error)
        return Look(documents=declared.documents, problems=declared.problems)

    def close(self) -> None:
        """Let go of the remote."""
        for task in self._tasks:
            task.cancel()
        if self._source is not None:
            self._source.close()
