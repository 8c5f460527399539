"""The check of `doctor` of ports: each declared one, and enough for those that are given one."""

import ipaddress
import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from reconciler.cli.doctoring import Findings, fail, ok, warn
from reconciler.cli.doctoring_scene import Declared, Scene, in_short
from reconciler.cli.output import plural
from reconciler.core.observed import Listener
from reconciler.core.ports import choose_port, hosts_overlap
from reconciler.discovery import PROGRAM
from reconciler.runtimes.bearers import marks_of
from reconciler.runtimes.host import FOLDER, SERVER, choose_host
from reconciler.runtimes.strangers import look_at

UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_HOST = "127.0.0.1"
"""Where servers listen that name no host."""


def ports(scene: Scene) -> Findings:
    """Whether each server's port is its own, or free for it; and whether enough are left for `port: auto`."""
    servers = [server for server in scene.servers if server.is_to_run]
    fixed = [server for server in servers if isinstance(server.spec.get("port"), int)]
    host = choose_host(scene.settings.host)
    listeners = host.listeners(frozenset(int(server.spec["port"]) for server in fixed))
    free = _free(scene, servers, listeners)
    for server in fixed:
        yield from _privileged(scene, server, free)
        yield from _held(scene, server, listeners, free)
    yield from _elsewhere(scene, servers)
    waiting = [server for server in servers if server.port is None]
    limits = scene.settings.limits()
    span = f"{limits.port_low}-{limits.port_high}"
    if len(free) < len(waiting):
        low, high = limits.ephemeral
        message = f"{plural(len(waiting), 'server')} with port: auto, and {len(free)} of {span} are free"
        overlap = f" ({low}-{high} are the kernel's own)" if low <= limits.port_high and limits.port_low <= high else ""
        yield fail(
            f"{message}{overlap}", "give them a larger range: ports = { low = 8001, high = 8999 } in reconciler.toml"
        )
    yield ok(f"{len(free)} of {span} are free; {plural(len(servers), 'server')}")


def _free(scene: Scene, servers: Iterable[Declared], listeners: Sequence[Listener]) -> list[int]:
    """Ports that could be given to a server."""
    limits = scene.settings.limits()
    low, high = limits.ephemeral
    taken = {one.port for one in listeners} | {server.port for server in servers if server.port}
    span = range(limits.port_low, limits.port_high + 1)
    return [port for port in span if port not in taken and not low <= port <= high]


def _other_port(scene: Scene, server: Declared, free: Sequence[int]) -> str:
    limits = scene.settings.limits()
    other = free[0] if free else choose_port(limits, ()) or 8001
    return scene.command("set", f"server/{server.name}", f"spec.port={other}")


def _privileged(scene: Scene, server: Declared, free: Sequence[int]) -> Findings:
    lowest = 1024
    with suppress(OSError, ValueError):
        lowest = int(UNPRIVILEGED.read_text())
    port = int(server.spec["port"])
    if port < lowest and os.geteuid() != 0:
        message = f"port {port} of server/{server.name} is for root alone (below {lowest})"
        yield fail(message, f"give it another one: {_other_port(scene, server, free)}")


def _held(scene: Scene, server: Declared, listeners: Sequence[Listener], free: Sequence[int]) -> Findings:
    """By whom, where that is not the server itself."""
    host = str(server.spec.get("host") or _HOST)
    for one in listeners:
        if one.port != server.spec["port"] or not hosts_overlap(host, one.address):
            continue
        if _is_its(one, scene, server):
            continue
        other = _other_port(scene, server, free)
        message = f"port {one.port} of server/{server.name} is held by {who(one.pid)}"
        if one.pid is None:
            yield fail(message, f"see by whom: sudo ss -ltnp 'sport = :{one.port}'; or give it another one: {other}")
        elif (seen := look_at(one.pid)) is not None and seen.name.startswith(PROGRAM) and seen.is_same_user:
            adopt = scene.command("adopt", server.name)
            yield warn(message, f"take it over as it is: {adopt}; or end it: kill {one.pid}")
        else:
            yield fail(message, f"end it: kill {one.pid}; or give the server another one: {other}")
        return


def _is_its(one: Listener, scene: Scene, server: Declared) -> bool:
    """Whether it was started as that server, in this state folder."""
    if one.pid is None:
        # Where nobody can tell whose a socket is, it is that of a server that runs.
        host = choose_host(scene.settings.host)
        return server.pid is not None and host.listens(server.pid, one.address, one.port) is not False
    marks = marks_of(one.pid)
    is_marked = marks.get(FOLDER) == os.path.realpath(scene.state) and marks.get(SERVER) == server.name
    return one.pid == server.pid or is_marked


def who(pid: int | None) -> str:
    """Who holds a port, in words."""
    seen = look_at(pid) if pid is not None else None
    if seen is None:
        return "a program that this user may not see" if pid is None else f"pid {pid}"
    return f"pid {pid} ({seen.name}, user {seen.user})"


def _elsewhere(scene: Scene, servers: Iterable[Declared]) -> Findings:
    """Addresses that this machine has not."""
    users: dict[str, list[str]] = {}
    for server in servers:
        users.setdefault(str(server.spec.get("host") or _HOST), []).append(server.name)
    for host, names in users.items():
        if trouble := _why_not(host):
            back = scene.command("set", f"server/{names[0]}", f"spec.host={_HOST}")
            message = f"{in_short(names)} cannot listen on {host}: {trouble}"
            yield fail(message, f"see which addresses there are: ip addr; or have it listen here: {back}")


def _why_not(host: str) -> str:
    """Why nobody can listen there; names are left to the resolver."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        return ""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.bind((host, 0))
    except OSError as error:
        return error.strerror or str(error)
    return ""
