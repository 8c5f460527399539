"""Checks of `doctor` of what is shown to the world: the address of the interface, and those who are told of events."""

import errno
import os
import shlex
import socket
import stat
from contextlib import suppress
from pathlib import Path

from reconciler.cli.doctoring import Findings, advised, ok, warn
from reconciler.cli.doctoring_ports import who
from reconciler.cli.doctoring_scene import Scene
from reconciler.cli.output import plural
from reconciler.cli.standing import health
from reconciler.controller.couriers import UntoldError, courier_of
from reconciler.core.listen import Listen, authority, parse_listen
from reconciler.core.ports import hosts_overlap
from reconciler.runtimes.host import choose_host

TOKEN = "token"  # noqa: S105 - the file's name
_OTHERS = 0o077


def interface(scene: Scene) -> Findings:
    """Whether the dashboard is served, or could be; and whether its token is the owner's alone."""
    yield from _token(scene)
    if scene.is_running:
        yield from _served(scene)
    elif not scene.settings.http.listen:
        yield ok("the settings serve it nowhere")
    else:
        yield from _could_be(scene, parse_listen(scene.settings.http.listen))


def _served(scene: Scene) -> Findings:
    """As the controller says itself: its settings may be older."""
    try:
        told = health(scene.state).get("dashboard", {})
    except (OSError, ValueError):
        yield ok("the controller does not answer")  # which is told by its own check
        return
    if told.get("url"):
        yield ok(f"the dashboard and the API are at {told['url']}")
    elif told.get("problem") and scene.settings.http.listen:
        see = f"see when it is: {scene.command('get', 'events')}"
        yield advised("warn", str(told["problem"]), str(told.get("remedy") or see))
    else:
        yield ok("the controller serves it nowhere")


def _could_be(scene: Scene, listen: Listen) -> Findings:
    where = authority(listen.host, listen.port)
    family = socket.AF_INET6 if listen.is_ipv6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((listen.host, listen.port))
            bound.listen()
    except OSError as error:
        message = f"the dashboard cannot be served at {where}: {(error.strerror or str(error)).lower()}"
        yield warn(message + _holder(scene, listen, error), f"choose another address: {_other(listen)}")
        return
    yield ok(f"{where} is free for the dashboard and the API")


def _other(listen: Listen) -> str:
    port = listen.port + 1 if 1024 <= listen.port < 65535 else 9798
    host = listen.host if listen.is_loopback else "127.0.0.1"
    return f'listen = "{authority(host, port)}" under [http] in reconciler.toml, or RECONCILER_HTTP'


def _holder(scene: Scene, listen: Listen, error: OSError) -> str:
    if error.errno != errno.EADDRINUSE:
        return ""
    listeners = choose_host(scene.settings.host).listeners(frozenset({listen.port}))
    found = [one for one in listeners if one.port == listen.port and hosts_overlap(listen.host, one.address)]
    return f", by {who(found[0].pid)}" if found else ""


def _token(scene: Scene) -> Findings:
    """Another's, or one that is no file, is made anew by the controller."""
    path = scene.state / TOKEN
    with suppress(OSError):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & _OTHERS:
            quoted = shlex.quote(str(path))
            message = f"the token in {path} can be read or written by others, who may act with it"
            yield warn(message, f"close it: chmod 600 {quoted}; if anybody may have read it, make it anew: rm {quoted}")


# ---------------------------------------------------------------- those who are told


def notify(scene: Scene) -> Findings:
    """Whether the files of all `[[notify]]` can be read by us alone, and their programs be run. Nobody is told."""
    targets = scene.settings.notify
    for number, target in enumerate(targets, 1):
        name = target.called(number)
        files = [path for path in (target.webhook_file, target.token_file) if path]
        try:
            courier_of(target).check()
        except UntoldError as error:
            yield warn(f"{name}: {error}", _remedy(scene, files))
        for path in files:
            yield from _open_to_others(name, Path(path))
    names = ", ".join(target.called(number) for number, target in enumerate(targets, 1))
    yield ok(f"{plural(len(targets), 'receiver')}: {names}; none was asked" if targets else "nobody is told of events")


def _remedy(scene: Scene, files: list[str]) -> str:
    if not files:
        return f"correct `command` under [[notify]] in {scene.settings.file}, or make the program executable"
    missing = [path for path in files if not os.path.lexists(path)]
    if missing:
        return f"write it: install -m 600 /dev/stdin {shlex.quote(missing[0])}"
    return f"correct it, it is read at each try: ls -la {shlex.join(files)}"


def _open_to_others(name: str, path: Path) -> Findings:
    with suppress(OSError):
        if path.stat().st_mode & _OTHERS:
            message = f"{name}: the secret in {path} can be read or written by others"
            yield warn(message, f"keep them out: chmod 600 {shlex.quote(str(path))}")
