"""Why the state cannot be written, in words that tell what to do."""

import errno
import os
import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from shlex import quote

from reconciler.store.holders import who_holds

FAULTS = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError, ValueError)
"""What is wrong with a change itself: no trouble of the disk, and nothing that waiting mends."""


TROUBLES = (sqlite3.Error, OSError, UnicodeDecodeError)
"""What opening and reading a database raises; the last where its own words for a damage are damaged."""


class DamagedError(sqlite3.DatabaseError):
    """The file is damaged, as SQLite's own check says or as we found."""

    sqlite_errorname = "SQLITE_CORRUPT"


class StateUnwritableError(sqlite3.OperationalError):
    """What must be on disk before it is done cannot be written now; nothing was done."""


class Cause(StrEnum):
    """What keeps the state from being written."""

    DISK_FULL = "disk full"
    READ_ONLY = "read-only"
    LOCKED = "locked"
    CORRUPT = "corrupt"
    DELETED = "deleted"
    PERMISSION = "permission"
    DESCRIPTORS = "descriptors"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Trouble:
    """The state cannot be written at present."""

    cause: Cause
    why: str
    """With what to do about it, in one line."""

    def __str__(self) -> str:
        return f"the state cannot be written: {self.why}"


def trouble_of(error: BaseException, path: Path) -> Trouble:
    """What an error of the database at `path` means."""
    cause = _cause(error, path)
    return Trouble(cause, _explained(cause, path, error))


def deleted(path: Path) -> Trouble:
    """Its files are gone, or not the ones that were opened."""
    return Trouble(Cause.DELETED, _explained(Cause.DELETED, path))


def foreseen(path: Path) -> Trouble | None:
    """What would keep the database at `path` from being written, as far as its folder tells; None: nothing."""
    cause = _seen(path)
    if cause is Cause.DELETED and os.path.lexists(path.parent):
        return None  # it is only to be made
    return None if cause is None else Trouble(cause, _explained(cause, path))


def _cause(error: BaseException, path: Path) -> Cause:
    if isinstance(error, OSError):
        return _BY_NUMBER.get(error.errno or 0, Cause.OTHER)
    if isinstance(error, UnicodeDecodeError) or "Could not decode" in str(error):
        return Cause.CORRUPT
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_IOERR")):
        return _seen(path) or (Cause.READ_ONLY if name.startswith("SQLITE_READONLY") else Cause.OTHER)
    if name == "SQLITE_ERROR" and "no such" in str(error):
        return Cause.CORRUPT  # a table or column that we made is not there any more
    return next((cause for start, cause in _BY_NAME.items() if name.startswith(start)), Cause.OTHER)


def _seen(path: Path) -> Cause | None:
    """What the folder itself says: SQLite has one error for many causes."""
    effective = os.access in os.supports_effective_ids
    try:
        space = os.statvfs(path.parent)
        if space.f_flag & os.ST_RDONLY:
            return Cause.READ_ONLY
        if space.f_blocks and not space.f_bavail:
            return Cause.DISK_FULL
        if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=effective):
            return Cause.PERMISSION
        path.stat()
        os.close(os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return _BY_NUMBER.get(error.errno or 0)
    return None if os.access(path, os.W_OK, effective_ids=effective) else Cause.PERMISSION


def _explained(cause: Cause, path: Path, error: BaseException | None = None) -> str:
    if cause is Cause.LOCKED:
        return who_holds(path)
    if cause is Cause.DELETED and not os.path.lexists(path.parent.parent):
        gone = path.parent.parent
        while not os.path.lexists(gone.parent):
            gone = gone.parent
        return f"{quote(str(gone))} is gone, or was renamed; put it back: mv RENAMED {quote(str(gone))}"
    return _WORDS[cause].format(folder=quote(str(path.parent)), file=quote(str(path)), error=one_line(error))


def one_line(error: BaseException | None) -> str:
    """An error's text: SQLite's check answers with several lines."""
    return " ".join(str(error).split())


_WORDS = {
    Cause.DISK_FULL: "its disk is full; make room there: df -h {folder}",
    Cause.READ_ONLY: "{folder} is read-only; see why, and mount it writable: findmnt -T {folder}",
    Cause.CORRUPT: "{file} is damaged ({error}); it is set aside, and made anew",
    Cause.DELETED: (
        "{file} was deleted or replaced; it is made anew as soon as the folder can be written; see: ls -la {folder}"
    ),
    Cause.PERMISSION: "this user may not write {folder}; see whose it is, and give it back: ls -la {folder}",
    Cause.DESCRIPTORS: (
        "the controller has no descriptors left; raise LimitNOFILE of its service, or before it is run: ulimit -n 65536"
    ),
    Cause.OTHER: "{error}; see: ls -la {folder}",
}
_BY_NUMBER = {
    errno.ENOSPC: Cause.DISK_FULL,
    errno.EDQUOT: Cause.DISK_FULL,
    errno.EROFS: Cause.READ_ONLY,
    errno.EACCES: Cause.PERMISSION,
    errno.EPERM: Cause.PERMISSION,
    errno.ENOENT: Cause.DELETED,
    errno.ENOTDIR: Cause.DELETED,
    errno.EMFILE: Cause.DESCRIPTORS,
    errno.ENFILE: Cause.DESCRIPTORS,
}
_BY_NAME = {
    "SQLITE_FULL": Cause.DISK_FULL,
    "SQLITE_BUSY": Cause.LOCKED,
    "SQLITE_LOCKED": Cause.LOCKED,
    "SQLITE_CORRUPT": Cause.CORRUPT,
    "SQLITE_NOTADB": Cause.CORRUPT,
}
