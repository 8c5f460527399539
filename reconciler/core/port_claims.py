"""Who holds which port, who keeps one, and which one `auto` takes."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from reconciler.core.history import History, Instance
from reconciler.core.model import Desired, Document, Wanted
from reconciler.core.observed import Listener, Observed, Stranger
from reconciler.core.ports import choose_port, hosts_overlap
from reconciler.core.server import Server
from reconciler.core.source import GIT
from reconciler.core.spec import DEFAULT_HOST


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody on a port."""

    server: str
    """Ours; empty for a stranger."""
    told: str
    keeps: bool = False
    """The port is this server's also while it does not run: it gives way to none that come from Git."""

    def way_out(self, port: int) -> str:
        """What whoever wants the port can do."""
        if self.keeps:
            return "it is a local server, which keeps its port; declare another one"
        if self.server:
            return f"declare another port, or if its port is auto, move it with: reconciler restart {self.server}"
        return f"declare another port, or see whose it is, and end that: sudo ss -ltnp 'sport = :{port}'"


class Ports:
    """Who holds which port, by the listening sockets and by the open instances that may not listen yet."""

    def __init__(self, servers: Iterable[Server], observed: Observed, desired: Desired, history: History) -> None:
        current: dict[str, Instance | None] = {**history.instances, **{s.name: s.instance for s in servers}}
        self._instances = {name: instance for name, instance in current.items() if instance is not None}
        self._servers = {instance.uid: name for name, instance in self._instances.items()}
        adopted = {i.identity.pid: name for name, i in self._instances.items() if i.adopted and i.identity}
        self._adopted = adopted
        """By pid: they bear no mark."""
        self._listeners = observed.listeners
        # By port: where hundreds wait for a slot, each pass asks for each of them.
        self._listening: dict[int, list[Listener]] = defaultdict(list)
        self._running: dict[int, list[tuple[str, Instance]]] = defaultdict(list)
        for listener in self._listeners:
            self._listening[listener.port].append(listener)
        for name, instance in self._instances.items():
            self._running[instance.port].append((name, instance))
        self._strangers = observed.strangers
        self._assigned = dict(history.ports)
        self._limits = desired.limits
        self._wanted = desired.servers
        self._explicit: set[int] = set()
        """Declared by local documents."""
        self._asked: set[int] = set()
        """Declared by documents from Git."""
        for wanted in desired.servers.values():
            if isinstance(wanted.spec.port, int):
                (self._asked if _is_from_git(wanted) else self._explicit).add(wanted.spec.port)
        self._starting: dict[str, tuple[str, int]] = {}

    def holders(self, name: str, host: str, port: int) -> Iterator[Holder]:
        """Those other than the server itself who would collide with it."""
        yield from self._keepers(name, host, port)
        for listener in self._listening.get(port, ()):
            owner = self._servers.get(listener.uid) or self._adopted.get(listener.pid or 0, "")
            if owner != name and hosts_overlap(host, listener.address):
                program = f"pid {listener.pid} {listener.program}".strip() if listener.pid else "another program"
                yield Holder(owner, f"server '{owner}'" if owner else program)
        for owner, instance in self._running.get(port, ()):
            if owner != name and hosts_overlap(host, _host(instance)):
                yield Holder(owner, f"server '{owner}'")
        for owner, (its_host, its_port) in self._starting.items():
            if its_port == port and hosts_overlap(host, its_host):
                yield Holder(owner, f"server '{owner}'")

    def strangers(self, server: Server) -> list[Stranger]:
        """Those who have the declared port, when nobody of ours does: what is known of them decides what follows."""
        assert server.wanted
        host, port = server.wanted.spec.host, server.wanted.spec.port
        if (
            not self._strangers
            or not isinstance(port, int)
            or any(holder.server for holder in self.holders(server.name, host, port))
        ):
            return []
        return [one for one in self._strangers if one.port == port and hosts_overlap(host, one.address)]

    def _keepers(self, name: str, host: str, port: int) -> Iterator[Holder]:
        """Local servers of which one from Git may not have the port that they were given, running or not."""
        if not _is_from_git(self._wanted.get(name)):
            return
        for owner, its_port in self._assigned.items():
            wanted = self._wanted.get(owner)
            if its_port != port or wanted is None or wanted.spec.port != "auto" or _is_from_git(wanted):
                continue
            if hosts_overlap(host, wanted.spec.host):
                yield Holder(owner, f"server '{owner}'", keeps=True)

    def choose(self, server: Server) -> int | None:
        """The server's own port, or the next free one for `auto`; None when the range is full.

        What documents from Git declare, a local server leaves to them only where there is another.
        """
        assert server.wanted
        wish = server.wanted.spec.port
        if isinstance(wish, int):
            return wish
        reserved = self._explicit | self._asked if _is_from_git(server.wanted) else self._explicit
        kept = self._assigned.get(server.name)
        if kept is not None and kept not in reserved and not self._is_held(server, kept):
            return kept
        others = (port for name, port in self._assigned.items() if name != server.name)
        taken = {*reserved, *others, *(listener.port for listener in self._listeners)}
        found = choose_port(self._limits, taken | self._asked)
        if found is None and not self._asked <= taken:
            held = {instance.port for instance in self._instances.values()}
            starting = {port for _, port in self._starting.values()}
            found = choose_port(self._limits, taken | held | starting)
        return found

    def _is_held(self, server: Server, port: int) -> bool:
        assert server.wanted
        return any(self.holders(server.name, server.wanted.spec.host, port))

    def assign(self, server: Server, port: int) -> None:
        """Within this plan, the port is the server's."""
        assert server.wanted
        self._assigned[server.name] = port
        self._starting[server.name] = (server.wanted.spec.host, port)


def held_by_others(document: Document, running: Mapping[str, Instance], leaving: Collection[str]) -> str:
    """Which of the servers that run, but those that leave theirs, has a document's port; with the way out."""
    port = document.spec.port
    for name, instance in running.items():
        if instance.port != port or name in leaving or name == document.name:
            continue
        if hosts_overlap(document.spec.host, _host(instance)):
            return f"port {port} is held by server '{name}'; {Holder(name, name).way_out(port)}"
    return ""


def _is_from_git(wanted: Wanted | None) -> bool:
    return wanted is not None and wanted.document.origin == GIT


def _host(instance: Instance) -> str:
    return str(instance.spec.get("host", DEFAULT_HOST))
