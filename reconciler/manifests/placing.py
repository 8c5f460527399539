"""Putting a new text in a manifest file's place, unless somebody else has changed it meanwhile."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.manifests import changing, edit


@dataclass(frozen=True)
class Text:
    """A file's text before and after the edit."""

    before: bytes | None
    """None: there is no such file yet."""
    after: str | None
    """None: the file goes."""

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to write."""
        return (None if self.after is None else self.after.encode()) != self.before


def put_in_place(path: Path, text: Text, check: Callable[[], None] = lambda: None, *, exactly: bool = False) -> None:
    """Make, exchange or remove one file. Raises ChangedMeanwhileError, and OSError.

    `check` is called while no other command writes in that folder, and may raise. `exactly`: a new file gets this very
    name, or none where that is taken by now.
    """
    with _alone_in(path.parent):
        check()
        _write(path, text, exactly=exactly)


def is_published(path: Path) -> bool:
    """Whether a link leads to it into a folder that another program puts there anew: a volume's, or git-sync's."""
    found = path.resolve()
    return found != path.absolute() and any(part.startswith("..") or part == ".worktrees" for part in found.parts)


def put_back(path: Path, text: Text) -> bool:
    """Take a change back; whether that went well. A file that was removed would come back with other rights."""
    if text.after is None:
        return False
    before = None if text.before is None else text.before.decode()
    try:
        put_in_place(path, Text(text.after.encode(), before))
    except (changing.ChangedMeanwhileError, OSError):
        return False
    return True


def _write(path: Path, text: Text, *, exactly: bool) -> None:
    if text.before is None and exactly:
        if not edit.create_file(path, text.after or ""):
            raise changing.ChangedMeanwhileError(f"{path} was made meanwhile", "look at what it says, and try again")
    elif text.before is None:
        edit.create(path.parent, path.stem, text.after or "")
    else:
        changing.write(path, text.before, text.after)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Of several commands that edit files of a folder, one at a time looks whether its file is still the same."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
