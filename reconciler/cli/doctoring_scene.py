"""What the checks of `doctor` have in common: the settings, the folders, and the servers that are declared."""

import os
import shlex
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from reconciler import installation
from reconciler.cli.doctoring import PATIENCE, OverdueError, bounded
from reconciler.cli.failure import BAD_INPUT, Failure
from reconciler.cli.invocation import Invocation
from reconciler.core.source import LOCAL
from reconciler.settings import NO_FILE, Settings, SettingsError, load_settings
from reconciler.store import read
from reconciler.store.items import ENDED_ALONE

HALF = PATIENCE / 2
"""Seconds for what several checks need: so that they come to their own ends in time."""
_GLOBAL = ("config", "state", "manifests", "models")


@dataclass(frozen=True)
class Declared:
    """A server as it is accepted, else as its file has it."""

    name: str
    spec: Mapping[str, Any]
    port: int | None = None
    """Where it listens, or will; None where that is not known yet."""
    pid: int | None = None
    is_stopped: bool = False
    """It rests by request, by its policy or by the profile."""
    origin: str = LOCAL
    is_accepted: bool = False
    """Its manifest is in force."""

    @property
    def is_to_run(self) -> bool:
        """Whether anybody wants it to."""
        return not self.spec.get("suspend") and not self.is_stopped


@dataclass(frozen=True)
class Written:
    """What the manifests folder has."""

    files: int = 0
    servers: tuple[Declared, ...] = ()
    problems: tuple[str, ...] = ()
    trouble: str = ""
    """Why it cannot be read."""


def _made_locks() -> Mapping[str, threading.Lock]:
    return {name: threading.Lock() for name in ("written", "servers", "is_running")}


@dataclass
class Scene:
    """Everything that was named, or follows from it."""

    invocation: Invocation
    settings: Settings
    """Those of no file where they have errors."""
    problem: str = ""
    """What is wrong with the settings."""
    network: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    _locks: Mapping[str, threading.Lock] = field(default_factory=_made_locks, repr=False)

    @property
    def state(self) -> Path:
        """The state folder."""
        return Path(self.settings.state)

    @property
    def models(self) -> Path:
        """The models folder."""
        return Path(self.settings.models)

    @property
    def again(self) -> str:
        """This very check, as it was typed."""
        return self.command("--debug", "doctor")

    def command(self, *arguments: str) -> str:
        """A command line for the same installation."""
        named = [(name, getattr(self.invocation, name)) for name in _GLOBAL]
        words = [word for name, value in named if value for word in (f"--{name}", value)]
        return shlex.join(["reconciler", *words, *arguments])

    @property
    def is_installed(self) -> bool:
        """Whether there is an installation already."""
        return installation.holds_one(self.state)

    # Several checks ask at once, and the first one looks; what hangs there must not have all of them hang.

    @property
    def written(self) -> Written:
        """What the manifests folder has."""
        with self._locks["written"]:
            return self._written

    @property
    def servers(self) -> Sequence[Declared]:
        """All servers: those in force, and those that are only written yet."""
        with self._locks["servers"]:
            return self._servers

    @property
    def is_running(self) -> bool:
        """Whether a controller answers its socket."""
        with self._locks["is_running"]:
            return self._is_running

    @cached_property
    def _written(self) -> Written:
        try:
            return bounded(self._read, HALF)()
        except OverdueError:
            return Written(trouble=f"{self.settings.manifests} cannot be read within {HALF:g} s")

    def _read(self) -> Written:
        from reconciler.cli.documents import check_together, read_files, shown_folder  # noqa: PLC0415 - slow to import
        from reconciler.core.spec import dump_spec  # noqa: PLC0415

        folder = Path(self.settings.manifests)
        if not folder.is_dir():
            return Written()
        try:
            sources = read_files(folder, shown_folder(str(folder)))
        except Failure as error:
            return Written(trouble=error.message)
        checked = check_together((), sources)
        servers = tuple(_declared(one.name, dump_spec(one.spec)) for one in checked.documents)
        return Written(len(sources), servers, tuple(map(str, checked.problems)))

    @cached_property
    def _servers(self) -> Sequence[Declared]:
        items: Sequence[Mapping[str, Any]] = ()
        # Why they cannot be read is told by the check of the database.
        with suppress(read.ReadError, OverdueError):
            items = bounded(self._items, HALF)()
        in_force = {str(item["metadata"]["name"]): _in_force(item) for item in items}
        return [*in_force.values(), *(one for one in self.written.servers if one.name not in in_force)]

    def _items(self) -> Sequence[Mapping[str, Any]]:
        if not self.is_installed:
            return ()
        with opened(self.state) as db:
            return read.servers(db, now=time.time(), controller=self.is_running)

    @cached_property
    def _is_running(self) -> bool:
        return installation.is_controller_running(self.state)


def in_short(names: Sequence[str]) -> str:
    """Servers in a message: `server/a and 3 more`."""
    return f"server/{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}"


@contextmanager
def opened(state: Path) -> Iterator[sqlite3.Connection]:
    """The database, with nothing made beside it: SQLite does so to read one that nobody has open. Raises ReadError."""
    path = state / read.DATABASE
    if not path.exists() or os.path.lexists(f"{path}-wal"):
        with read.opened(state) as db:
            yield db
        return
    address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as db:
            yield read.as_known(db, path)
    except sqlite3.Error as error:
        raise read.ReadError(read.explain(error, path)) from None


def _declared(name: str, spec: Mapping[str, Any]) -> Declared:
    port = spec.get("port", "auto")
    return Declared(name, spec, None if port == "auto" else int(port))


def _in_force(item: Mapping[str, Any]) -> Declared:
    status = item["status"]
    pid = (status["instance"] or {}).get("pid")
    origin = (item["metadata"].get("source") or {}).get("origin", LOCAL)
    is_stopped = status["phase"] == "Stopped" and status["message"] != ENDED_ALONE
    return Declared(
        str(item["metadata"]["name"]), item["spec"], status["port"], pid, is_stopped, origin, is_accepted=True
    )


def scene_of(invocation: Invocation, *, network: bool = False) -> Scene:
    """What is meant by this command line, also where the settings or the database cannot be read."""
    try:
        return bounded(lambda: _scene(invocation, network=network), PATIENCE)()
    except OverdueError:
        problem = "the settings, or the folders that they name, cannot be read within 3 s"
        return Scene(invocation, _none(invocation), problem, network=network)


def _scene(invocation: Invocation, *, network: bool) -> Scene:
    try:
        return Scene(invocation, invocation.existing_or_new(), network=network)
    except Failure as error:
        if error.exit_code == BAD_INPUT:
            return Scene(invocation, _none(invocation), error.message, network=network)
    return Scene(invocation, *_beside_a_broken_database(invocation), network=network)


def _beside_a_broken_database(invocation: Invocation) -> tuple[Settings, str]:
    """Where the last controller had its settings stands in the database; the usual place must do."""
    try:
        state = installation.find_state(Path.cwd(), os.environ, invocation.state, invocation.config)
    except installation.NotFoundError:
        return _none(invocation), ""
    beside = state.parent / installation.CONFIG
    config = invocation.config or (str(beside) if beside.exists() else NO_FILE)
    flags = {"state": str(state), "manifests": invocation.manifests, "models": invocation.models}
    try:
        settings = load_settings(os.environ, config, flags)
    except SettingsError as error:
        return _none(invocation, str(state)), str(error)
    own = {
        name: str(state.parent / name)
        for name in ("manifests", "models")
        if flags[name] is None and getattr(settings, name) == str(Path.cwd() / name)
    }
    return settings.model_copy(update=own), ""


def _none(invocation: Invocation, state: str | None = None) -> Settings:
    """Settings of no file, with what was named on the command line, and in variables that can be used."""
    flags = {"state": state or invocation.state, "manifests": invocation.manifests, "models": invocation.models}
    try:
        return load_settings(os.environ, NO_FILE, flags)
    except SettingsError:
        return load_settings({}, NO_FILE, flags)
