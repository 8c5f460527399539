"""The manifests of a revision as files: each revision in a folder of its own, one of them current.

They are for people to read. What is in force comes from the object store, and what somebody changes here is put right.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from reconciler.gitops.cache import Blob

REVISIONS = "revisions"
CURRENT = "current"
REPLACED = "replaced"
"""Folder that keeps what was found in place of a revision's files."""


class Checkout:
    """The folder with the revisions. All calls raise OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._revisions = folder / REVISIONS

    @property
    def revisions(self) -> Path:
        """The folder to watch."""
        return self._revisions

    @property
    def replaced(self) -> Path:
        """Where that is kept which stood in place of a revision's files."""
        return self._folder / REPLACED

    def make(self) -> None:
        """Create the folders."""
        self._revisions.mkdir(mode=0o700, parents=True, exist_ok=True)

    def current(self) -> str:
        """The commit whose folder is current; empty when none is."""
        try:
            return (self._folder / CURRENT).readlink().name
        except OSError:
            return ""

    def put(self, commit: str, blobs: Sequence[Blob]) -> list[str]:
        """Have a revision's files in its folder, whole; the names of those that were not as they should be.

        A new folder comes into being by a rename: nobody sees a part of it.
        """
        folder = self._revisions / commit
        if folder.is_dir() and not folder.is_symlink():
            return self._mend(folder, blobs)
        draft = self._revisions / f".{commit}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for blob in blobs:
            _write(draft / blob.path, blob.content)
        with suppress(FileNotFoundError):
            folder.unlink()
        draft.rename(folder)
        return []

    def switch(self, commit: str) -> bool:
        """Make a revision the current one, at once; whether it was not."""
        if self.current() == commit:
            return False
        link, draft = self._folder / CURRENT, self._folder / f".{CURRENT}"
        with suppress(FileNotFoundError):
            draft.unlink()
        draft.symlink_to(Path(REVISIONS, commit))
        if link.is_dir() and not link.is_symlink():
            self._set_aside(link, Path(CURRENT))
        draft.replace(link)
        return True

    def keep_only(self, commits: frozenset[str]) -> None:
        """Drop the folders of other revisions."""
        for entry in list(os.scandir(self._revisions)):
            if entry.name not in commits:
                shutil.rmtree(entry.path, ignore_errors=True)

    def _mend(self, folder: Path, blobs: Sequence[Blob]) -> list[str]:
        wanted = {blob.path: blob.content for blob in blobs}
        mended = []
        for name in _files(folder):
            if name not in wanted or not _is_same(folder / name, wanted[name]):
                self._set_aside(folder / name, Path(name))
                mended.append(name)
        missing = [name for name in wanted if not os.path.lexists(folder / name) or (folder / name).is_dir()]
        for name in missing:
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)  # only empty folders are left in it
            _write(folder / name, wanted[name])
        return sorted({*mended, *missing})

    def _set_aside(self, path: Path, name: Path) -> None:
        kept = self.replaced / name
        if os.path.lexists(kept):
            _remove(kept)
        kept.parent.mkdir(parents=True, exist_ok=True)
        path.rename(kept)


def _files(folder: Path) -> Iterator[str]:
    """All that is no folder, by path below it."""
    for path, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(path, name))]  # noqa: PTH114, PTH118 - as os.walk has them
        for name in (*files, *links):
            yield os.path.relpath(os.path.join(path, name), folder)  # noqa: PTH118


def _is_same(path: Path, content: bytes) -> bool:
    try:
        return not path.is_symlink() and path.is_file() and path.read_bytes() == content
    except OSError:
        return False


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
