"""The manifests folder as it is now: which files there are, which of them have settled, and what they say."""

import os
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from reconciler.core.clean import escaped
from reconciler.core.kinds import OtherDocument
from reconciler.core.model import Document, Problem
from reconciler.manifests.parse import LARGEST, TOO_LARGE, Check, Parsed, parse
from reconciler.manifests.scan import Scan, SuffixError
from reconciler.manifests.settle import Writers, can_ask, writers_of

QUIET = 0.5
"""Seconds without a change after which a file that is written in place is used."""
GLANCE = 0.05
"""Seconds until the next look at a file that somebody still writes to."""

_Found = TypeVar("_Found", Document, Problem, OtherDocument)
_Key = tuple[int, int, int, int, int]
"""Device, inode, size, mtime and ctime (both in nanoseconds): while they stay, so does the content."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the folder said at one moment. It is the same object as long as nothing changes."""

    documents: tuple[Document, ...] = ()
    """In the order of the files' names, then of their lines. Two may bear the same name."""
    problems: tuple[Problem, ...] = ()
    files_seen: frozenset[str] = frozenset()
    """Every manifest file that is there, settled and readable or not."""
    empty: frozenset[str] = frozenset()
    """Files that hold nothing, not even a comment: more likely a writer's accident than a wish."""
    failed: str = ""
    """Why the folder, or a part of it, could not be read, and what to do; a file not seen is then not gone."""
    devices: Mapping[str, int] = field(default_factory=dict)
    """The file system of each folder, by its name as shown: another one took its place when that changes."""
    wake_at: float | None = None
    """Monotonic time at which to look again, because a file has not settled."""
    others: tuple[OtherDocument, ...] = ()
    """Documents of the other kinds, in the same order."""


@dataclass(slots=True)
class _File:
    """What is known of one file between looks."""

    key: _Key | None = None
    """The version in use; None before the first one has settled."""
    parsed: Parsed = field(default_factory=Parsed)
    empty: bool = False
    """The version in use holds nothing, not even a comment."""
    newer: _Key | None = None
    """A version that has not settled."""
    since: float = 0.0
    """When it was first seen, monotonic."""


def find(root: Path) -> list[Path]:
    """The manifest files below a folder, sorted; a root that is a file is itself the only one.

    Raises OSError with a message for people when the folder, or a folder in it, cannot be read.
    """
    if root.is_file():
        return [root]
    scan = Scan(root).run()
    if scan.failed:
        raise OSError(scan.failed)
    for name, found in sorted(scan.files.items()):
        if isinstance(found, SuffixError):
            raise OSError(f"{shown(str(root), name)}: {found}")
    return [root / relative for relative in sorted(scan.files)]


def shown(root: str, relative: str) -> str:
    """A file's name as people type it from the working folder, on one line whatever it holds."""
    return escaped(f"{root}/{relative}")


class Folder:
    """Looks at a folder again and again, and reads only what has changed and settled.

    A file changed in place is used when it has been quiet for half a second, one renamed into place at once. Whether
    somebody still writes to a file is asked with a lease, and a lease that is broken sends SIGIO, which kills by
    default: a controller installs a handler for it that does nothing. Without one no lease is taken, and a new file has
    to be quiet. Not safe for use by several threads at once.
    """

    def __init__(self, root: Path, check: Check, shown_as: str | None = None) -> None:
        self._root = root
        self._check = check
        self._shown_as = str(root) if shown_as is None else shown_as.rstrip("/")
        self._files: dict[str, _File] = {}
        self._last_keys: dict[str, _Key] | None = None
        self._last = Look()
        self._cold = True

    def look(self, now: float, overlay: Mapping[str, str] | None = None) -> Look:
        """What the folder says; `now` is monotonic, in seconds.

        `overlay` holds texts by shown file name that count in place of (or beside) what is in the folder.
        """
        look = self._look(now)
        texts: Mapping[str, str | None] = overlay or {}
        return overlaid(look, texts, self._check) if texts else look

    def _look(self, now: float) -> Look:
        scan = Scan(self._root).run()
        keys = {name: _key(found) for name, found in scan.files.items() if isinstance(found, os.stat_result)}
        if keys == self._last_keys and len(keys) == len(scan.files) and not scan.failed:
            return self._last
        wakes = [self._update(name, found, now) for name, found in scan.files.items()]
        if not scan.failed:
            for name in self._files.keys() - scan.files.keys():
                del self._files[name]
        self._cold = self._cold and bool(scan.failed)
        settled = not scan.failed and all(name in keys and self._files[name].key == keys[name] for name in scan.files)
        self._last_keys = keys if settled else None
        look = self._result(scan, min((wake for wake in wakes if wake is not None), default=None))
        self._last = self._last if look == self._last else look
        return self._last

    def _result(self, scan: Scan, wake_at: float | None) -> Look:
        files = [self._files[name].parsed for name in sorted(scan.files) if name in self._files]
        return Look(
            documents=tuple(document for parsed in files for document in parsed.documents),
            problems=tuple(problem for parsed in files for problem in parsed.problems),
            files_seen=frozenset(shown(self._shown_as, name) for name in scan.files),
            empty=frozenset(shown(self._shown_as, name) for name in scan.files if self._is_empty(name)),
            failed=scan.failed,
            devices={shown(self._shown_as, name).rstrip("/"): device for name, device in scan.devices.items()},
            wake_at=wake_at,
            others=tuple(document for parsed in files for document in parsed.others),
        )

    def _update(self, name: str, found: os.stat_result | OSError, now: float) -> float | None:
        """Brings one file up to date; the time at which to look again when it has not settled."""
        file = self._files.setdefault(name, _File())
        if isinstance(found, OSError):
            file.key, file.newer = None, None
            file.parsed = self._unusable(name, _why(found))
            return None
        key = _key(found)
        if key == file.key:
            return None
        if key != file.newer:
            file.newer, file.since = key, now
        if not stat.S_ISREG(found.st_mode):
            self._use(file, key, self._unusable(name, "not a regular file: remove it, or give it another ending"))
        elif found.st_size > LARGEST:
            self._use(file, key, self._unusable(name, TOO_LARGE))
        else:
            return self._read(name, file, found, now)
        return None

    def _read(self, name: str, file: _File, found: os.stat_result, now: float) -> float | None:
        """Reads a version if it has settled."""
        quiet_at = file.since + QUIET
        in_place = file.key is not None and file.key[:2] == (found.st_dev, found.st_ino)
        quiet = now >= quiet_at or (self._cold and _is_old(found))
        if not quiet and (in_place or found.st_size == 0 or not (can_ask() or _is_old(found))):
            return quiet_at
        try:
            content = _content(self._root / name, found, ask=not quiet)
        except FileNotFoundError:
            return now + GLANCE
        except OSError as error:
            file.key, file.parsed = None, self._unusable(name, _why(error))
            return None if isinstance(error, PermissionError) else now + 1.0
        if content is None:
            return now + GLANCE
        self._use(file, _key(found), parse(content, shown(self._shown_as, name), self._check))
        file.empty = not content.strip()
        return None

    def _is_empty(self, name: str) -> bool:
        file = self._files.get(name)
        return file is not None and file.empty

    def _use(self, file: _File, key: _Key, parsed: Parsed) -> None:
        file.key, file.parsed, file.newer, file.empty = key, parsed, None, False

    def _unusable(self, name: str, why: str) -> Parsed:
        return Parsed(problems=(Problem(shown(self._shown_as, name), why),))


def overlaid(look: Look, texts: Mapping[str, str | None], check: Check) -> Look:
    """What the folder would say with these texts in place of (or beside) its files, by name as shown; None: without."""
    parsed = [parse(text, file, check) for file, text in sorted(texts.items()) if text is not None]
    blank = {file for file, text in texts.items() if text is not None and not text.strip()}
    there = {file for file, text in texts.items() if text is not None}
    return replace(
        look,
        documents=_without(look.documents, texts) + tuple(one for each in parsed for one in each.documents),
        problems=_without(look.problems, texts) + tuple(one for each in parsed for one in each.problems),
        files_seen=(look.files_seen - texts.keys()) | there,
        empty=(look.empty - texts.keys()) | blank,
        others=_without(look.others, texts) + tuple(one for each in parsed for one in each.others),
    )


def _without(found: Sequence[_Found], files: Mapping[str, str | None]) -> tuple[_Found, ...]:
    return tuple(one for one in found if one.file not in files)


def _key(found: os.stat_result) -> _Key:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _why(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "cannot be read (permission denied): let this user read it (chmod u+r)"
    if isinstance(error, FileNotFoundError):
        return "a link to something that is missing: make that, or remove the link"
    return str(error) if isinstance(error, SuffixError) else f"cannot be read ({error.strerror})"


def _is_old(found: os.stat_result) -> bool:
    """Whether the last change is longer ago than files need to settle. A time in the future says nothing."""
    return time.time() - found.st_mtime > QUIET


def _content(path: Path, expected: os.stat_result, *, ask: bool) -> bytes | None:
    """The bytes of a version; None while it is being written, or is no longer what stands there.

    `ask`: it has not been quiet, so whoever still writes to it must be found out. Raises OSError.
    """
    # A fifo in the file's place must not block, a terminal must not become ours.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with open(descriptor, "rb") as opened:  # noqa: PTH123 - it wraps a descriptor
        if _key(os.fstat(descriptor)) != _key(expected):
            return None
        if ask:
            writers = writers_of(descriptor)
            if writers is Writers.SOME or (writers is Writers.UNKNOWN and not _is_old(expected)):
                return None
        content = opened.read(LARGEST + 1)
        return content if _key(os.fstat(descriptor)) == _key(expected) else None
