"""Looks at the files that starts need, for the gate."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from reconciler.core.gate import FileFacts
from reconciler.core.model import Now
from reconciler.runtimes.exhaustion import raise_if_exhausted

MAGIC = b"GGUF"


@dataclass(frozen=True, slots=True)
class _Seen:
    signature: tuple[int, ...]
    changed_at: float
    facts: FileFacts


class FileLooker:
    """Remembers from look to look when a file was last seen to change."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def look(self, path: str, now: Now) -> FileFacts:
        """The file's facts; it is opened only when it changed. Raises ResourceError when there is no room for that."""
        try:
            found = os.stat(path)  # noqa: PTH116 - paths are text here
        except OSError:
            self._seen.pop(path, None)
            return FileFacts(path)
        signature = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode)
        before = self._seen.get(path)
        if before is not None and before.signature == signature and before.facts.readable:
            return before.facts
        if before is None:
            changed_at = _first_change(found.st_mtime, now)
        else:
            changed_at = before.changed_at if before.signature == signature else now.monotonic
        regular = stat.S_ISREG(found.st_mode)
        facts = FileFacts(
            path=path,
            exists=True,
            readable=regular and os.access(path, os.R_OK),
            executable=regular and os.access(path, os.X_OK),
            is_gguf=regular and _begins_with_magic(path),
            changed_at=changed_at,
            identity=":".join(str(part) for part in signature[:4]),
        )
        self._seen[path] = _Seen(signature, changed_at, facts)
        return facts


def _first_change(mtime: float, now: Now) -> float:
    """A file not seen before: as old as it says, but a date in the future says nothing."""
    age = now.wall - mtime
    return now.monotonic - age if age >= 0 else now.monotonic


def _begins_with_magic(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise_if_exhausted(error)  # or it would be remembered as no model
        return False
