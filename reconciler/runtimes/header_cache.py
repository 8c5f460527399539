"""Headers that were read before, so that a folder of many models is told at once the next time."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.runtimes.gguf_header import Fact, Header, read_header

VERSION = 1
MOST_ENTRIES = 2000
LARGEST = 64 * 1024 * 1024
"""Bytes of the file that is believed."""
LONGEST_TEXT = 64 * 1024
"""Characters of a text that is kept; chat templates of 10,000 are common."""


def cache_file(environ: Mapping[str, str]) -> Path:
    """Where headers are kept for one user."""
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "reconciler", "headers.json")


class HeaderCache:
    """Headers by file, each as long as the file is the same. A cache that cannot be read or written is none."""

    def __init__(self, path: Path | None = None) -> None:
        """`path`: where they are kept; None: nowhere."""
        self._path = path
        self._known: dict[str, Any] = _read(path) if path else {}
        self._used: dict[str, Any] = {}
        self._is_changed = False

    def header(self, path: Path) -> Header:
        """The header of a file. Raises HeaderError, and OSError where it cannot be read."""
        key, same = os.path.realpath(path), _identity(path)
        entry = self._known.get(key)
        header = _header(entry) if isinstance(entry, dict) and entry.get("file") == same else None
        if header is None:
            header, self._is_changed = read_header(path), True
            entry = {"file": same, "facts": _kept(header.facts), "weights": list(header.weights.items())}
            entry |= {"size": header.size, "least": header.least_size}
        self._used[key] = entry
        return header

    def save(self) -> None:
        """Keep what was read; what was looked at last is kept first."""
        if self._path is None or not self._is_changed:
            return
        entries = {**self._used, **{key: entry for key, entry in self._known.items() if key not in self._used}}
        with suppress(OSError, ValueError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
            draft.write_text(_written(dict(list(entries.items())[:MOST_ENTRIES])))
            draft.replace(self._path)


def _written(entries: Mapping[str, Any]) -> str:
    """As JSON; without the largest, where with them it would not be believed."""
    texts = {key: f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in entries.items()}
    total = 0
    for key in sorted(texts, key=lambda key: len(texts[key])):
        total += len(texts[key]) + 2
        if total > LARGEST - 64:
            del texts[key]
    return f'{{"version": {VERSION}, "headers": {{{", ".join(texts.values())}}}}}'


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST:
            return {}
        found = json.loads(path.read_bytes())
        headers = found["headers"] if found["version"] == VERSION else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return headers if isinstance(headers, dict) else {}


def _identity(path: Path) -> list[int]:
    """What changes with the file's content."""
    found = path.stat()
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _kept(facts: Mapping[str, Fact]) -> dict[str, Any]:
    return {key: fact for key, fact in facts.items() if not isinstance(fact, str) or len(fact) <= LONGEST_TEXT}


def _header(entry: Mapping[str, Any]) -> Header | None:
    """As it was kept; None where that is not one."""
    try:
        facts = {str(key): tuple(fact) if isinstance(fact, list) else fact for key, fact in entry["facts"].items()}
        weights = {int(kind): int(numbers) for kind, numbers in entry["weights"]}
        return Header(facts, weights, int(entry["size"]), int(entry["least"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
