"""Which installation a state folder is: an id, bound to the folder's real path.

A folder that was copied or moved must not control the servers of the one it comes from.
"""

import os
import sqlite3
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reconciler.core.model import Identity

INSTALLATION = "installation"
"""File in the state folder that holds the id, and below it the folder's path."""
ID, FOLDER = "installation", "installationFolder"
"""Their keys in the table `meta`."""


@dataclass(frozen=True, slots=True)
class Installation:
    """A state folder's id, and the folder it is for."""

    id: str
    folder: str
    """Its real path; empty where a version wrote it that did not bind them."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Which installation it is, and which one it was, if its folder was copied or moved."""

    now: Installation
    before: Installation | None = None


class Living(Protocol):
    """What the live processes tell that installations started."""

    def installations_over(self, folder: str) -> Collection[str]:
        """The ids that those bear which were started over this folder."""
        ...

    def is_elsewhere(self, installation: str, folder: str) -> bool:
        """Whether one of that id was started over another folder of this path, in another view of the files."""
        ...

    def lives(self, identity: Identity) -> bool:
        """Whether this very process is there."""
        ...


class Nobody:
    """Of no process anything is known."""

    def installations_over(self, folder: str) -> Collection[str]:  # noqa: ARG002 - as asked
        """None."""
        return ()

    def is_elsewhere(self, installation: str, folder: str) -> bool:  # noqa: ARG002
        """None is."""
        return False

    def lives(self, identity: Identity) -> bool:  # noqa: ARG002
        """It cannot be told."""
        return True


def settle(connection: sqlite3.Connection, folder: Path, living: Living) -> Settled:
    """The installation of a folder: as its database says, else its file, else the processes that it started."""
    real = os.path.realpath(folder)
    found = _recorded(connection) or read_installation(folder)
    if found is None:
        return Settled(Installation(_borne(living, real) or _new_id(), real))
    if found.folder in ("", real):
        if not living.is_elsewhere(found.id, real):
            return Settled(Installation(found.id, real))
        return Settled(Installation(_new_id(), real), before=found)
    if _is_same(found.folder, folder):
        # A link was left at the old path, or this one is another way to the folder (a bind mount).
        is_link = os.path.realpath(found.folder) == real
        return Settled(Installation(found.id, real if is_link else found.folder))
    # Moved back, it has what was started over it before.
    return Settled(Installation(_borne(living, real) or _new_id(), real), before=found)


def _borne(living: Living, folder: str) -> str:
    ids = living.installations_over(folder)
    return next(iter(ids)) if len(ids) == 1 else ""


def _is_same(one: str, other: Path) -> bool:
    try:
        return other.samefile(one)
    except (OSError, ValueError):
        return False


def _new_id() -> str:
    return uuid.uuid4().hex[:16]


def _recorded(connection: sqlite3.Connection) -> Installation | None:
    facts = dict(connection.execute("select key, value from meta where key in (?, ?)", [ID, FOLDER]).fetchall())
    return Installation(facts[ID], facts.get(FOLDER, "")) if facts.get(ID) else None


def read_installation(folder: Path) -> Installation | None:
    """As the file in a state folder says."""
    try:
        lines = (folder / INSTALLATION).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    identity, path = (*(line.strip() for line in lines), "", "")[:2]
    return Installation(identity, path) if identity else None


def write_installation(folder: Path, installation: Installation) -> None:
    """Put the file right, if it is not. Raises OSError."""
    if read_installation(folder) == installation:
        return
    draft = folder / f".{INSTALLATION}"
    draft.write_text(f"{installation.id}\n{installation.folder}\n")
    draft.replace(folder / INSTALLATION)
