"""Which programs `doctor` may run: those that the controller would, and none that only a manifest names."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.cli.doctoring import Finding, ok, warn
from reconciler.cli.doctoring_scene import Declared, Scene
from reconciler.core.source import LOCAL
from reconciler.discovery import find_llama_server
from reconciler.settings import NO_FILE

IN_SETTINGS = "llama_server in the settings"


@dataclass(frozen=True, slots=True)
class Program:
    """A program that servers are to run."""

    path: str
    origin: str
    """Who names it."""
    named_by: Declared | None = None
    """The server that does, where it may not be run."""


def programs(scene: Scene) -> Iterator[Program]:
    """Each program once; that of servers which name none comes first, before it is known which servers there are."""
    default = _default(scene)
    if default is not None:
        yield default
    told = {default.path: True} if default is not None else {}
    for server in scene.servers:
        if not server.is_to_run or not (binary := server.spec.get("binary")):
            continue
        path = _absolute(str(binary))
        if may_run(scene, server, path, default.path if default else ""):
            if not told.get(path):
                yield Program(path, f"server/{server.name}")
            told[path] = True
        elif path not in told:
            told[path] = False
            yield Program(path, f"server/{server.name}", server)


def _default(scene: Scene) -> Program | None:
    if named := scene.settings.llama_server:
        is_variable = scene.environ.get("LLAMA_SERVER") == named
        return Program(_absolute(named), "LLAMA_SERVER" if is_variable else IN_SETTINGS)
    found = find_llama_server(scene.environ)
    return Program(*found) if found else None


def may_run(scene: Scene, server: Declared, path: str, default: str) -> bool:
    """As the controller decides; but `*` stands for no program of a manifest that nobody has accepted yet."""
    from reconciler.controller import policy  # noqa: PLC0415 - slow to import, and most servers name no program

    return policy.may_run(path, server.origin, scene.settings, default, is_sure=server.is_accepted)


def untried(scene: Scene, program: Program) -> Finding:
    """What is told of one that may not be run."""
    server, path = program.named_by, program.path
    assert server is not None
    if may_run(scene, Declared(server.name, server.spec, origin=server.origin, is_accepted=True), path, ""):
        return ok(f"{path} (server/{server.name}) is not run before its manifest is accepted", of_all=False)
    table = "" if server.origin == LOCAL else f" under [policy.{server.origin}]"
    file = scene.settings.file if scene.settings.file not in ("", NO_FILE) else "reconciler.toml"
    message = f"{path} (server/{server.name}) was not run: the settings do not allow it, so that server will not start"
    return warn(message, f'to allow it, add "{path}" to binaries{table} in {file}')


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH111 - a Path raises for `~nobody`
