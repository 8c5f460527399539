"""Looks at the files that starts need, for the gate."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.core.gate import FileFacts, NamedFile, part_paths
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
        except OSError as error:
            self._seen.pop(path, None)
            return FileFacts(path, barred_by=_barrier(path) if isinstance(error, PermissionError) else "")
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
            is_file=regular,
        )
        self._seen[path] = _Seen(signature, changed_at, facts)
        return facts

    def look_at_all(self, model: str | None, named: Iterable[NamedFile], now: Now) -> list[FileFacts]:
        """Those of the model, and others.

        Of a model's many parts hardly more than the first that is missing: a name can promise 99,999.
        """
        found: list[FileFacts] = []
        for path in part_paths(model) if model else ():
            found.append(self.look(path, now))
            if len(found) > 1 and not all(facts.exists for facts in found[-2:]):
                break
        others = [replace(self.look(one.path, now), field=one.field, is_model=one.is_model) for one in named]
        return [*found, *others]


def _barrier(path: str) -> str:
    """The first folder on the way that may not be entered."""
    folder = os.path.dirname(path)  # noqa: PTH120 - as above
    while (above := os.path.dirname(folder)) != folder:  # noqa: PTH120 - as above
        if not _is_hidden(above):
            return folder
        folder = above
    return folder


def _is_hidden(folder: str) -> bool:
    """Whether what is in it cannot be seen."""
    try:
        os.stat(f"{folder}/.")  # noqa: PTH116 - a Path would drop the dot
    except PermissionError:
        return True
    except OSError:
        return False
    return False


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
