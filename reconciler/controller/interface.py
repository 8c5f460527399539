"""What the controller answers, whoever asks: the command line, other programs, the dashboard."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from reconciler.api.tokens import NAME as TOKEN
from reconciler.api.tokens import Tokens
from reconciler.controller import asking
from reconciler.controller.accepting import folder_problem
from reconciler.controller.configuration import Configuration
from reconciler.controller.launching import Launcher
from reconciler.controller.loop import Loop
from reconciler.controller.manifests import in_force_of_git
from reconciler.controller.preview import SETTLE, Before, check_spec, preview_texts, problems_data, refused, shown
from reconciler.controller.syncing import Syncing
from reconciler.core.accept import Beside
from reconciler.core.counts import Counts
from reconciler.core.pruning import LONG_DELAY
from reconciler.core.refusals import BadRevisionError, EditRefusedError, NoSourceError, UnknownServersError
from reconciler.core.server import STATE_UNWRITABLE
from reconciler.core.source import GIT
from reconciler.core.spec import ServerSpec
from reconciler.manifests.folder import Look
from reconciler.settings import Settings
from reconciler.store.trouble import StateUnwritableError
from reconciler.store.writer import Store

if TYPE_CHECKING:
    from reconciler.api.listener import Listener
    from reconciler.controller.editing import Editing
    from reconciler.controller.metering import Meter

NOT_SERVED = "the settings serve it nowhere (`listen` under [http], or RECONCILER_HTTP)"
TO_SERVE = 'set `listen = "127.0.0.1:9797"` under [http] in reconciler.toml, and start the controller anew'


class Interface:
    """One controller as those see it who ask it (api.controller.Controller)."""

    def __init__(self, settings: Settings, store: Store, loop: Loop, launcher: Launcher, syncing: Syncing) -> None:
        self._settings = settings
        self._store = store
        self.loop = loop
        self._launcher = launcher
        self._syncing = syncing
        self._configuration = Configuration(settings, launcher.discovered)
        self._editing: Editing | None = None
        self.meter: Meter | None = None
        """Figures of servers; None where nobody is shown them."""
        self.listener: Listener | None = None
        """The interface on TCP; None where it is not served."""
        self.tokens = Tokens(Path(settings.state) / TOKEN)

    @property
    def counts(self) -> Counts:
        """What was counted since it began."""
        self.loop.counts.state_errors = self._store.errors
        return self.loop.counts

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

    def served(self) -> dict[str, str]:
        """Where the dashboard is; where it is nowhere, why, and what to do."""
        listener = self.listener
        if listener is None:
            return {"url": "", "problem": NOT_SERVED, "remedy": TO_SERVE}
        return {"url": listener.url, "problem": listener.problem}

    def shortcomings(self) -> list[str]:
        """Why nobody should rely on this controller now; nothing where all is well."""
        trouble, age = self._store.trouble, self.loop.age
        return [
            *(["no pass has gone well yet"] if age is None else []),
            *([f"the last pass that went well was {age:.0f} s ago"] if age and age > self._longest_rest() else []),
            # Everybody may ask for it: what the folder is called, and how it is, stands in `describe`.
            *(["the state cannot be written"] if trouble else []),
        ]

    def _longest_rest(self) -> float:
        """Seconds between two passes, however idle all are, and however slow the machine is for a moment."""
        return 2 * self._settings.tick + 15

    def database(self) -> bytes:
        """All that is known, also while it cannot be written."""
        return self._store.snapshot()

    @property
    def folder(self) -> Path:
        """The state folder."""
        return self._store.path.parent

    def is_writable(self) -> bool:
        """Whether what is in the state folder is all that is known."""
        return self._store.trouble is None

    def on_commit(self, tell: Callable[[], None]) -> None:
        """Have it called whenever something was committed."""
        self._store.on_commit.append(tell)

    def told(self, server: str, text: str, spec: Mapping[str, Any]) -> str:
        """What a server wrote, without the secrets that its document names, or named when it was started."""
        document = self._store.documents.get(server)
        specs = [document.spec] if document else []
        with suppress(ValidationError):  # of another version
            specs += [ServerSpec.model_validate(dict(spec))] if spec else []
        return self._launcher.secrets.without(text, *specs)

    async def configuration(self) -> dict[str, Any]:
        """The settings in force and where each came from, and the llama-server of those that name none."""
        return await self._configuration.told()

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
        try:
            ids = asking.commit(self._store, kind, servers, self.loop.now())
        except StateUnwritableError:
            # Whoever has nothing to do would not try to mend it before the next tick.
            self.loop.poke()
            raise
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
            raise UnknownServersError(unknown, what, known)

    async def preview(self, texts: Sequence[Mapping[str, str]], against: str | None = None) -> dict[str, Any]:
        """What would happen with these documents, once the files are quiet; `against`: with a revision in force."""
        look = await self._settled()
        if against is not None:
            self._refuse_unknown_source(GIT)
            revision = await self._syncing.look_at(against)
            if isinstance(revision, str):
                raise BadRevisionError(revision)
            if revision.problems:
                return refused(against, revision.problems)
            look = in_force_of_git(look, revision)
        return await self._foresee(look, texts)

    async def _settled(self) -> Look:
        """What the manifests say, once the files are quiet."""
        until = time.monotonic() + SETTLE
        while (look := self.loop.look()).wake_at is not None and time.monotonic() < until:  # noqa: ASYNC110 - a file's writer sends no event
            await asyncio.sleep(0.05)
        return look

    async def _foresee(self, look: Look, texts: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
        """What would happen, were this what the manifests say."""
        git = self._settings.source.git
        store, where = self._store, git.where if git else ""
        selection, host = self.loop.acceptance.selection, self._settings.server_host
        beside = Beside(store.others, selection, store.asked_profile(), check_spec, server_host=host)
        state = Before(store.documents, store.history(), store.requests(), where, beside)
        before = self._launcher.flags.asked
        answer = preview_texts(state, look, texts, self._launcher, self.loop.now())
        if not await self._launcher.flags.has_answers(before):
            answer = preview_texts(state, look, texts, self._launcher, self.loop.now())
        return answer

    @property
    def editing(self) -> "Editing":
        """Edits of the manifests folder."""
        if self._editing is None:
            from reconciler.controller.editing import Editing, House  # noqa: PLC0415 - no start waits for its imports
            from reconciler.controller.manifest_files import ManifestFiles  # noqa: PLC0415

            folder, git = self._settings.manifests, self._settings.source.git
            where = git.where if git else ""
            house = House(self.loop, self._settled, self._foresee, self.request, self.reconcile, where)
            self._editing = Editing(house, ManifestFiles(Path(folder), shown(folder)))
        return self._editing

    def refuse_resting(self, name: str, kind: str) -> None:
        """Raise EditRefusedError for a server that this request does not have run."""
        if kind in ("restart", "primary") and name in self._store.requests().stop:
            raise EditRefusedError("Stopped", f"{name} was stopped", f"have it run again with: reconciler start {name}")
        acceptance = self.loop.acceptance
        document, parked = acceptance.documents.get(name), acceptance.parked(name)
        if document is not None and document.spec.suspend:
            do = f"have it run again with: reconciler resume {name}"
            raise EditRefusedError("Suspended", f"{name} is suspended by its manifest", do)
        if document is not None and parked:
            do = "choose another of `reconciler get profiles`, or run all with: reconciler profile use --none"
            raise EditRefusedError("NotInProfile", f"{name} is left out: {parked}", do)

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
