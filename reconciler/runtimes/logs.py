"""One log file for each instance: `<folder>/<server>/<uid>.log`, and its older half in `<uid>.log.1`."""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from reconciler.runtimes.exhaustion import exhausted

TAIL_BYTES = 16 * 1024
TAIL_LINES = 100
HEAD_BYTES = 256 * 1024
MOST_APPENDED = 256 * 1024
"""Bytes that are read at once of what was appended; of more, the newest."""
KEPT_OF_GONE = 10
"""So many times the logs kept for a server are kept of all names together that are gone."""


class Logs:
    """The log files of one installation."""

    def __init__(self, folder: Path, *, keep: int, most_bytes: int) -> None:
        """Keep the last `keep` instances of each server, each at most about `most_bytes`."""
        self._folder = folder
        self._keep = keep
        self._most_bytes = most_bytes

    def path(self, server: str, uid: str) -> Path:
        """Where an instance's log is."""
        return self._folder / server / f"{uid}.log"

    def open(self, server: str, uid: str) -> int:
        """A descriptor for the child to inherit. O_APPEND: a file that is cut while it writes goes on at its end.

        Raises ResourceError, or LogUnwritableError: whatever is in its way, it is not the server's fault.
        """
        path = self.path(server, uid)
        try:
            return _open(path)
        except OSError as error:
            raise exhausted(error, f"write a log into {path.parent}", str(path.parent)) from error

    def tail(self, server: str, uid: str, lines: int = TAIL_LINES) -> str:
        """The last lines, for the history; those cut off a moment before count too."""
        path = self.path(server, uid)
        newest = _last_bytes(path)
        content = _last_bytes(_older_half(path)) + newest if len(newest) < TAIL_BYTES else newest
        return "\n".join(content.decode(errors="replace").splitlines()[-lines:])

    def head(self, server: str, uid: str) -> str:
        """The first 256 KiB, in which a server tells of its loading."""
        with suppress(OSError), self.path(server, uid).open("rb") as file:
            return file.read(HEAD_BYTES).decode(errors="replace")
        return ""

    def appended(self, server: str, uid: str, offset: int | None) -> tuple[str, int]:
        """The whole lines written since `offset`, and where to go on; None stands for the end of what is there.

        Of one that was cut meanwhile, all that it has now.
        """
        path = self.path(server, uid)
        try:
            size = path.stat().st_size
            if offset is None or offset == size:
                return "", size
            start = offset if offset < size else 0
            skips = size - start > MOST_APPENDED
            start = size - MOST_APPENDED if skips else start
            with path.open("rb") as file:
                file.seek(start)
                data = file.read(size - start)
        except OSError:
            return "", offset or 0
        return _whole_lines(data, start, skips=skips)

    def trim(self, live: frozenset[str], known: frozenset[str] = frozenset()) -> None:
        """Drop logs of old instances and cut those that grew too large.

        `live` are the uids that may still write; servers that are not `known` are gone.
        """
        with suppress(OSError):
            folders = list(self._folder.iterdir())
            # First: what is cut looks as if it had just been written.
            self._trim_gone([folder for folder in folders if folder.name not in known], live)
            for folder in folders:
                with suppress(OSError):
                    self._trim_server(folder, live)

    def _trim_gone(self, folders: Sequence[Path], live: frozenset[str]) -> None:
        """Of names that are gone there may be ever more, each with few logs."""
        logs = sorted((path for folder in folders for path in folder.glob("*.log")), key=_changed_at, reverse=True)
        for path in logs[KEPT_OF_GONE * self._keep :]:
            if path.stem not in live:
                with suppress(OSError):
                    _drop(path)
        for folder in folders:
            with suppress(OSError):
                folder.rmdir()  # which it only is when it is empty

    def _trim_server(self, folder: Path, live: frozenset[str]) -> None:
        logs = sorted(folder.glob("*.log"), key=_changed_at, reverse=True)
        for path in logs[: self._keep]:
            self._cut(path)
        for path in logs[self._keep :]:
            if path.stem not in live:
                _drop(path)

    def _cut(self, path: Path) -> None:
        """Move the newer half aside and empty the file: its writer holds it open, so it cannot be renamed away."""
        with suppress(OSError):
            size = path.stat().st_size
            if size <= self._most_bytes:
                return
            with path.open("rb") as file:
                file.seek(size - self._most_bytes // 2)
                older = os.open(_older_half(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                with open(older, "wb") as copy:  # noqa: PTH123 - a descriptor, for its mode
                    shutil.copyfileobj(file, copy)
            os.truncate(path, 0)


def _open(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o600)


def _drop(path: Path) -> None:
    path.unlink(missing_ok=True)
    _older_half(path).unlink(missing_ok=True)


def _older_half(path: Path) -> Path:
    return path.with_suffix(".log.1")


def _whole_lines(data: bytes, start: int, *, skips: bool) -> tuple[str, int]:
    """A last line that is not at its end is left for later, unless there is nothing else."""
    first = data.find(b"\n") + 1 if skips else 0
    end = data.rfind(b"\n") + 1
    if end <= first:
        return "", start + len(data) if len(data) >= MOST_APPENDED else start + end
    return data[first:end].decode(errors="replace"), start + end


def _last_bytes(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
        return file.read()
    return b""


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
