"""The settings in force, and where each of them comes from."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from reconciler.runtimes.binary_help import LOADER, ask
from reconciler.settings import Settings

HIDDEN = "(hidden)"
PATIENCE = 10.0
"""Seconds in which a llama-server has to tell its version."""
_PLAIN = frozenset({"name", "reasons", "severity"})
"""What can be told of `[[notify]]` as it is; addresses and arguments may hold secrets."""


class Configuration:
    """Told without secrets."""

    def __init__(self, settings: Settings, discovered: Callable[[], tuple[str, str] | None]) -> None:
        """`discovered`: the llama-server of specs that name none, and where it was found."""
        self._settings = settings
        self._discovered = discovered
        self._version: tuple[Any, str | None] = (None, None)
        """Of which file, and what it told."""

    async def told(self) -> dict[str, Any]:
        """`file`, `settings` with `value` and `from` by key, and `llamaServer` with `path`, `from` and `version`."""
        settings = self._settings
        found = dict(_flat(settings.model_dump(mode="json")))
        found["notify"] = [_without_secrets(one) for one in found.get("notify", ())]
        listed = {key: {"value": value, "from": _origin(settings.origins, key)} for key, value in sorted(found.items())}
        return {"file": settings.file, "settings": listed, "llamaServer": await self._llama_server()}

    async def _llama_server(self) -> dict[str, Any] | None:
        found = await asyncio.to_thread(self._discovered)
        if found is None:
            return None
        path, origin = found
        stamp = await asyncio.to_thread(_stamp, path)
        if stamp != self._version[0]:
            self._version = stamp, await asyncio.to_thread(_version, path) if stamp else None
        return {"path": path, "from": origin, "version": self._version[1]}


def _flat(values: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{within}{name}.")
        else:
            yield within + name, value


def _origin(origins: Mapping[str, str], key: str) -> str:
    return origins.get(key, "default")


def _without_secrets(notify: Mapping[str, Any]) -> dict[str, Any]:
    """Whom it tells: not how one proves to be allowed to."""
    return {key: _harmless(key, value) for key, value in notify.items()}


def _harmless(key: str, value: Any) -> Any:
    if not value or key in _PLAIN or key.endswith("_file") or isinstance(value, bool | int | float):
        return value
    if key == "webhook":
        parts = urlsplit(str(value))
        return f"{parts.scheme}://{parts.hostname or ''}/{HIDDEN}"
    if key == "command":
        return [value[0], *[HIDDEN] * (len(value) > 1)]
    return HIDDEN


def _stamp(path: str) -> tuple[str, int, int, int] | None:
    """What tells a file from another that comes in its place; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - any text may be a path
    except (OSError, ValueError):
        return None
    return path, found.st_ino, found.st_size, found.st_mtime_ns


def _version(path: str) -> str | None:
    """As the program tells it; None where it does not."""
    try:
        environment = {name: os.environ[name] for name in LOADER if name in os.environ}
        text = ask(path, environment, PATIENCE, flag="--version") or ""
    except OSError:
        return None
    line = next((line for line in text.splitlines() if line.startswith("version:")), "")
    return line.partition(":")[2].strip() or None
