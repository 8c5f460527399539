"""Checks of `doctor`: the models folder, and the manifests."""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from reconciler.cli.doctoring import Findings, Status, fail, ok, warn
from reconciler.cli.doctoring_scene import Scene, in_short
from reconciler.cli.models import in_bytes
from reconciler.cli.output import plural
from reconciler.core.gate import part_paths
from reconciler.runtimes.header_cache import HeaderCache, cache_file
from reconciler.runtimes.listed_models import used_by
from reconciler.runtimes.models import Model, find_models

LITTLE = 1_000_000_000
"""Bytes of disk below which no model could be fetched."""
MOST_TOLD = 5
"""Findings of one sort that are told one by one."""
MOST_PARTS = 100


class _Cache(HeaderCache):
    """What was read before is used, and nothing is written."""

    def save(self) -> None:
        """Not by who only looks."""


def files_of(spec: Mapping[str, Any], models: Path) -> Iterator[Path]:
    """The files of a server's model; none of one that is fetched by llama-server itself."""
    if isinstance(model := spec.get("model"), str):
        path = os.path.join(models, os.path.expanduser(model))  # noqa: PTH111, PTH118 - as a launch has it
        yield from map(Path, islice(part_paths(path), MOST_PARTS))


# ---------------------------------------------------------------- models


def models(scene: Scene) -> Findings:
    """The models folder, the models that servers name, and files that cannot be loaded."""
    folder, quoted = scene.models, shlex.quote(str(scene.models))
    yield from _of_servers(scene)
    if not folder.is_dir():
        make = f"make it: mkdir -p {quoted}; or name another one with --models"
        yield warn(f"the models folder {folder} does not exist", make)
        return
    if not _may(folder, os.R_OK | os.X_OK):
        yield fail(f"the models folder {folder} may not be read by this user", f"see whose it is: ls -ld {quoted}")
        return
    found = find_models(folder, _Cache(cache_file(scene.environ)))
    yield from _broken(scene, found)
    free = _free(folder)
    if free < LITTLE:
        yield warn(f"the disk of {folder} has {in_bytes(free)} left", f"make room there: df -h {quoted}")
    size = in_bytes(sum(model.size for model in found))
    yield ok(f"{plural(len(found), 'model')} in {folder} ({size}), {in_bytes(free)} free")


def _of_servers(scene: Scene) -> Findings:
    users: dict[Path, list[str]] = {}
    for server in scene.servers:
        missing = next((path for path in files_of(server.spec, scene.models) if not _may(path, os.R_OK)), None)
        if missing is not None and server.is_to_run:
            users.setdefault(missing, []).append(server.name)
    for path, names in users.items():
        yield from _not_to_be_read(scene, names, path)


def _not_to_be_read(scene: Scene, names: Sequence[str], path: Path) -> Findings:
    quoted, whose = shlex.quote(str(path)), in_short(names)
    closed = next((folder for folder in reversed(path.parents) if folder.is_dir() and not _may(folder, os.X_OK)), None)
    if closed is not None:
        message = f"the model of {whose} is in {closed}, which this user may not enter"
        yield fail(message, f"allow it: sudo chmod a+x {shlex.quote(str(closed))}")
    elif not path.exists():
        other = scene.command("set", f"server/{names[0]}", "spec.model=FILE")
        yield fail(f"no model for {whose}: no file at {path}", f"put it there, or name another: {other}")
    else:
        message = f"the model of {whose} may not be read by this user: {path}"
        yield fail(message, f"allow it: sudo chmod a+r {quoted}")


def _broken(scene: Scene, found: list[Model]) -> Findings:
    specs = [(server.name, server.spec) for server in scene.servers if server.is_to_run]
    users = used_by(specs, scene.models)
    broken = [model for model in found if model.problem]
    for model in broken[:MOST_TOLD]:
        path = os.path.realpath(scene.models / model.file)
        names = [name for part in model.parts for name in users.get(os.path.realpath(scene.models / part), ())]
        whose = f" (server/{names[0]})" if names else ""
        status: Status = "fail" if names else "warn"
        # The problem says itself what to do, behind its semicolon.
        message, _, remedy = model.problem.partition("; ")
        away = f"mv {shlex.quote(path)} {shlex.quote(path)}.broken"
        remedy = f"{remedy or 'fetch it again'}, or put it aside: {away}"
        yield (fail if status == "fail" else warn)(f"{message}{whose}", remedy)
    if len(broken) > MOST_TOLD:
        yield warn(f"{len(broken) - MOST_TOLD} more files cannot be loaded", f"see them: {scene.command('models')}")


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _may(path: Path, mode: int) -> bool:
    with suppress(OSError, ValueError):
        return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
    return False


# ---------------------------------------------------------------- manifests


def manifests(scene: Scene) -> Findings:
    """The manifests folder, and the errors in it."""
    written, folder = scene.written, Path(scene.settings.manifests)
    quoted = shlex.quote(str(folder))
    if not written.trouble and not folder.is_dir():
        first = scene.command("create", "server", "NAME", "--model", "FILE")
        if scene.servers:
            yield fail(
                f"the manifests folder {folder} does not exist, and servers run on what it had",
                f"put it back: mkdir -p {quoted}",
            )
        else:
            yield warn(f"the manifests folder {folder} does not exist", f"make a first manifest: {first}")
        return
    if written.trouble or not _may(folder, os.R_OK | os.X_OK):
        yield fail(written.trouble or f"{folder} may not be read by this user", f"see whose it is: ls -la {quoted}")
        return
    check = scene.command("validate")
    for problem in written.problems[:MOST_TOLD]:
        yield fail(problem, f"correct it there, and look again: {check}")
    if len(written.problems) > MOST_TOLD:
        yield fail(f"{len(written.problems) - MOST_TOLD} more errors in manifests", f"see all of them: {check}")
    if not written.problems:
        yield ok(f"{plural(written.files, 'manifest')} in {folder}, {plural(len(written.servers), 'server')}")
