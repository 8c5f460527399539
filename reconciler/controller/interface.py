"""What the controller answers, whoever asks: the command line, other programs, the dashboard."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from reconciler.controller import asking
from reconciler.controller.accepting import folder_problem
from reconciler.controller.launching import Launcher
from reconciler.controller.loop import Loop
from reconciler.controller.manifests import in_force_of_git
from reconciler.controller.preview import SETTLE, Before, check_spec, preview_texts, problems_data, refused
from reconciler.controller.syncing import Syncing
from reconciler.core.accept import Beside
from reconciler.core.pruning import LONG_DELAY
from reconciler.core.refusals import BadRevisionError, NoSourceError, UnknownServersError
from reconciler.core.server import STATE_UNWRITABLE
from reconciler.core.source import GIT
from reconciler.settings import Settings
from reconciler.store.writer import Store

if TYPE_CHECKING:
    from reconciler.api.listener import Listener
    from reconciler.controller.metering import Meter


class Interface:
    """One controller as those see it who ask it (api.controller.Controller)."""

    def __init__(self, settings: Settings, store: Store, loop: Loop, launcher: Launcher, syncing: Syncing) -> None:
        self._settings = settings
        self._store = store
        self.loop = loop
        self._launcher = launcher
        self._syncing = syncing
        self.meter: Meter | None = None
        """Figures of servers; None where nobody is shown them."""
        self.listener: Listener | None = None
        """The interface on TCP; None where it is not served."""

    def known_names(self) -> frozenset[str]:
        """Servers that are declared, or not gone yet."""
        history = self._store.history()
        return frozenset({*self._store.documents, *history.servers, *history.instances})

    def describe(self) -> dict[str, Any]:
        """Who answers, and how it is."""
        trouble = self._store.trouble
        writable = {"type": "StateWritable", "status": "False" if trouble else "True"}
        about = {"reason": STATE_UNWRITABLE if trouble else "Written", "message": str(trouble) if trouble else ""}
        return {
            "pid": os.getpid(),
            "version": program_version(),
            "passes": self.loop.passes,
            "conditions": [{**writable, **about}],
        }

    def database(self) -> bytes:
        """All that is known, also while it cannot be written."""
        return self._store.snapshot()

    async def reconcile(self) -> dict[str, Any]:
        """Look at everything, and wait for what is only a matter of moments: quiet files, missing documents."""
        await self._syncing.first()
        until = time.monotonic() + LONG_DELAY + SETTLE
        while True:
            self.loop.poke(fresh=True)
            await self.loop.run_pass()
            acceptance = self.loop.acceptance
            if not self.loop.unsettled or time.monotonic() > until:
                break
            await asyncio.sleep(0.05)
        return {
            "pass": self.loop.passes,
            "stateTrouble": str(self._store.trouble or ""),
            "problems": problems_data(acceptance),
            "folderProblem": folder_problem(acceptance),
            "prunable": list(acceptance.prunable),
            "held": dict(acceptance.held),
        }

    async def request(self, kind: str, servers: Sequence[str]) -> list[int]:
        """Commit the requests, then act on them."""
        self._refuse_unknown(kind, servers)
        if kind != "profile":
            self.loop.extend_to(servers)
        ids = asking.commit(self._store, kind, servers, self.loop.now())
        await self.loop.run_pass()
        return ids

    def _refuse_unknown(self, kind: str, names: Sequence[str]) -> None:
        others = self._store.others
        if kind == "profile":
            # One that is new in the files may not have been looked at yet; the edit that follows may mend an error.
            look = self.loop.look()
            known = asking.profiles_among((*others.values(), *look.others), look.problems)
        else:
            known = self.known_names() | (frozenset(others) if kind == "prune" else frozenset())
        if unknown := [name for name in names if name not in known]:
            what = "profile" if kind == "profile" else "server"
            raise UnknownServersError(unknown, what)

    async def preview(self, texts: Sequence[Mapping[str, str]], against: str | None = None) -> dict[str, Any]:
        """What would happen with these documents, once the files are quiet; `against`: with a revision in force."""
        until = time.monotonic() + SETTLE
        while (look := self.loop.look()).wake_at is not None and time.monotonic() < until:  # noqa: ASYNC110 - a file's writer sends no event
            await asyncio.sleep(0.05)
        if against is not None:
            self._refuse_unknown_source(GIT)
            revision = await self._syncing.look_at(against)
            if isinstance(revision, str):
                raise BadRevisionError(revision)
            if revision.problems:
                return refused(against, revision.problems)
            look = in_force_of_git(look, revision)
        git = self._settings.source.git
        store, where = self._store, git.where if git else ""
        beside = Beside(store.others, self.loop.acceptance.selection, store.asked_profile(), check_spec)
        state = Before(store.documents, store.history(), store.requests(), where, beside)
        before = self._launcher.flags.asked
        answer = preview_texts(state, look, texts, self._launcher, self.loop.now())
        if not await self._launcher.flags.has_answers(before):
            answer = preview_texts(state, look, texts, self._launcher, self.loop.now())
        return answer

    async def sync(self) -> dict[str, Any]:
        """Look at the remote of the Git source, and act on it."""
        self._refuse_unknown_source(GIT)
        return await self._syncing.sync()

    async def suspend_source(self, name: str, suspended: bool) -> dict[str, Any]:
        """Commit that a source rests or goes on."""
        self._refuse_unknown_source(name)
        return await self._syncing.suspend(suspended=suspended)

    def _refuse_unknown_source(self, name: str) -> None:
        if name not in self._syncing.known:
            raise NoSourceError(name, self._syncing.known)


def program_version() -> str:
    """The installed version."""
    try:
        return version("reconciler")
    except PackageNotFoundError:
        return "unknown"
