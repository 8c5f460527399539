"""Looks at who has a port that a server of ours wants, and asks it what it is. It only reports: the planner judges."""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import h11

from reconciler.controller.http_get import NotAskedError, http_get
from reconciler.controller.launching import Launcher
from reconciler.core.history import Instance
from reconciler.core.model import Identity, Now, Process, Wanted
from reconciler.core.observed import Listener, Started, Stranger
from reconciler.core.ports import hosts_overlap
from reconciler.core.spec import DEFAULT_HOST
from reconciler.engines.started import is_llama_server, is_of_llama_server, read_started, shown_command
from reconciler.runtimes.homes import is_at_home
from reconciler.runtimes.host import ResourceError
from reconciler.runtimes.local import LocalRuntime
from reconciler.runtimes.models_in_use import model_in_use
from reconciler.runtimes.strangers import Seen, find_listener, look_at

PROGRAM = "llama"
"""How the names of programs begin that may be llama-server."""
TIMEOUT = 3.0
"""Seconds for a stranger to answer."""
ASK_AGAIN = 2.0
"""Seconds until one that did not answer is asked again."""
SHARING_LOOK = 5.0
"""Seconds between looks whether somebody else listens on the port of a server that runs."""


class Strangers:
    """Those whom we met, each looked at once and asked until it has answered."""

    def __init__(self, runtime: LocalRuntime, launcher: Launcher, on_change: Callable[[], None]) -> None:
        """`on_change` is called when one has answered."""
        self._runtime = runtime
        self._launcher = launcher
        self._on_change = on_change
        self._met: dict[tuple[Identity, int], Stranger] = {}
        self._asked: dict[tuple[Identity, int], asyncio.Task[None]] = {}
        self._alone: dict[str, tuple[object, ...]] = {}
        """By uid of an instance: the sockets on its port, when all of them were its own."""
        self._sharers: dict[str, Stranger] = {}
        self._looked_at = float("-inf")

    # -- on ports that are wanted

    def look(
        self, due: Sequence[Wanted], listeners: Sequence[Listener], ours: Iterable[Process]
    ) -> tuple[tuple[Stranger, ...], Mapping[str, str]]:
        """Strangers on the ports that these servers declare, and the real paths of the servers' models."""
        wished = {wanted.spec.port for wanted in due}
        held = [listener for listener in listeners if listener.port in wished]
        if not held:
            self._forget(frozenset())
            return (), {}
        pids = {process.identity.pid for process in ours if process.alive}
        try:
            met = [self._meet(one, pids) for one in held if one.pid not in pids]
        except ResourceError:
            return (), {}  # the port is held all the same, by somebody of whom nothing is known for now
        found = [stranger for stranger in met if stranger is not None]
        self._forget(frozenset((one.identity, one.port) for one in found))
        for stranger in found:
            self._ask(stranger)
        ports = {stranger.port for stranger in found}
        names = [wanted for wanted in due if wanted.spec.port in ports]
        return tuple(found), {wanted.document.name: self._model_of(wanted) for wanted in names}

    def _meet(self, listener: Listener, ours: set[int]) -> Stranger | None:
        pid = listener.pid
        if pid is None and self._runtime.polls:
            pid = find_listener(listener.port, PROGRAM)
        identity = None if pid is None or pid in ours else self._runtime.identify(pid)
        if pid is None or identity is None:
            return None
        # Each time anew: a process may execute another program, and have the same identity and sockets.
        seen = look_at(pid)
        holder = self._runtime.holder(identity)
        if seen is None or (holder is None and seen.installation == self._runtime.installation):
            return None
        key = (identity, listener.port)
        known, found = self._met.get(key), stranger_of(identity, listener, seen)
        if known is not None and (known.name, known.command, known.started) == (
            found.name,
            found.command,
            found.started,
        ):
            found = replace(found, answers=known.answers)
        elif known is not None and key in self._asked:
            self._asked.pop(key).cancel()
        self._met[key] = found
        if holder is not None:
            return replace(
                found, installation=holder.installation, folder=holder.folder, server=holder.server, is_at_home=True
            )
        return replace(found, is_at_home=bool(found.folder) and is_at_home(found.installation, found.folder, pid))

    def _model_of(self, wanted: Wanted) -> str:
        path = self._launcher.model_path(wanted.spec)
        return os.path.realpath(path) if path else ""

    def _ask(self, stranger: Stranger) -> None:
        """Only what is called llama-server is asked: others may take it ill."""
        key = (stranger.identity, stranger.port)
        if stranger.started is not None and not stranger.answers and key not in self._asked:
            asking = self._listen_to(stranger)
            self._asked[key] = asyncio.get_running_loop().create_task(asking, name=f"ask {stranger.identity.pid}")

    async def _listen_to(self, stranger: Stranger) -> None:
        key, started = (stranger.identity, stranger.port), stranger.started or Started()
        path = f"{started.flags.get('api-prefix', '')}/health"
        try:
            async with asyncio.timeout(TIMEOUT):
                tls = "ssl-cert-file" in started.flags
                answer = await http_get(stranger.address, stranger.port, path, tls=tls)
            answers: bool | None = is_of_llama_server(answer.headers)
        except NotAskedError:
            answers = stranger.answers
        except (OSError, TimeoutError, h11.RemoteProtocolError, ValueError):
            answers = False
        known = self._met.get(key)
        if known is not None and known.answers is not answers:
            self._met[key] = replace(known, answers=answers)
            self._on_change()
        if not answers:
            await asyncio.sleep(ASK_AGAIN)
        self._asked.pop(key, None)

    def _forget(self, kept: frozenset[tuple[Identity, int]]) -> None:
        for key in self._met.keys() - kept:
            del self._met[key]
        for key in self._asked.keys() - kept:
            self._asked.pop(key).cancel()

    # -- on ports of servers that run

    def sharers(
        self, instances: Mapping[str, Instance], processes: Mapping[str, tuple[Process, ...]], now: Now
    ) -> Mapping[str, Stranger]:
        """Who listens on the port of a running server beside it, by the server's name; looked at now and again."""
        pause = 1.0 if self._sharers else SHARING_LOOK
        if self._runtime.polls or now.monotonic < self._looked_at + pause:
            return self._sharers
        self._looked_at = now.monotonic
        with suppress(ResourceError):
            self._sharers = self._look_for_sharers(instances, processes)
        return self._sharers

    def _look_for_sharers(
        self, instances: Mapping[str, Instance], processes: Mapping[str, tuple[Process, ...]]
    ) -> dict[str, Stranger]:
        listeners = self._runtime.listeners(frozenset())
        running = {name: one for name, one in instances.items() if one.first_ready and _runs(one, processes)}
        self._alone = {one.uid: self._alone[one.uid] for one in running.values() if one.uid in self._alone}
        by_port: dict[int, list[str]] = {}
        for listener in listeners:
            by_port.setdefault(listener.port, []).append(listener.address)
        return {
            name: sharer
            for name, instance in running.items()
            if (sharer := self._sharer(instance, by_port.get(instance.port, [])))
        }

    def _sharer(self, instance: Instance, addresses: Sequence[str]) -> Stranger | None:
        """Whose the sockets are is only looked up when there are others than before."""
        key, host = tuple(sorted(addresses)), str(instance.spec.get("host", DEFAULT_HOST))
        if instance.identity is None or self._alone.get(instance.uid) == key or len(key) < 2:
            return None
        pid = instance.identity.pid
        if self._runtime.listens(pid, host, instance.port) is not False:
            self._alone[instance.uid] = key
            return None
        for listener in self._runtime.listeners(frozenset({instance.port})):
            if listener.port == instance.port and listener.pid != pid and hosts_overlap(host, listener.address):
                found = self._meet_sharer(listener)
                if found is not None:
                    return found
        return None

    def _meet_sharer(self, listener: Listener) -> Stranger | None:
        identity = None if listener.pid is None else self._runtime.identify(listener.pid)
        if identity is None:
            return Stranger(Identity(self._runtime.boot, 0, 0), listener.address, listener.port, "unknown")
        seen = look_at(identity.pid)
        return stranger_of(identity, listener, seen) if seen is not None else None

    def close(self) -> None:
        """Ask no more."""
        self._forget(frozenset())


def _runs(instance: Instance, processes: Mapping[str, tuple[Process, ...]]) -> bool:
    return any(process.alive and instance.is_process(process) for process in processes.get(instance.server, ()))


def stranger_of(identity: Identity, listener: Listener, seen: Seen) -> Stranger:
    """What is known of one who listens, before it was asked."""
    is_named = is_llama_server(seen.executable, seen.argv)
    return Stranger(
        identity=identity,
        address=listener.address or DEFAULT_HOST,
        port=listener.port,
        name=seen.name,
        command=shown_command(seen.argv),
        user=seen.user,
        is_same_user=seen.is_same_user,
        installation=seen.installation,
        folder=seen.folder,
        is_contained=not seen.shares_files,
        unit=seen.unit,
        server=seen.server,
        started=_started(seen) if is_named else None,
        answers=None if is_named else False,
        output=seen.output,
    )


def _started(seen: Seen) -> Started:
    """Its model by the real path, for what it was given may lead through links, or from another folder."""
    started = read_started(seen.argv, seen.environment)
    key = os.path.join(seen.cwd, started.api_key_file) if started.api_key_file and seen.cwd else ""  # noqa: PTH118 - see below
    if not started.model or started.hf:
        return replace(started, api_key_file=key)
    is_known = seen.shares_files and (seen.cwd or os.path.isabs(started.model))  # noqa: PTH117 - a Path may raise
    path = os.path.join(seen.cwd, started.model)  # noqa: PTH118
    if not seen.cwd and seen.shares_files and seen.mapped:
        return replace(started, model=seen.mapped[0].path, api_key_file=key)
    model = model_in_use(path, seen.mapped, seen.since) if is_known else ""
    return replace(started, model=model, api_key_file=key)
