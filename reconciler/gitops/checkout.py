"""The manifests of a revision as files: each revision in a folder of its own, one of them current.

They are for people to read. What is in force comes from the object store, and what somebody changes here is put right.
"""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from reconciler.gitops.cache import Blob

REVISIONS = "revisions"
CURRENT = "current"
REPLACED = "replaced"
"""Folder that keeps what was found in place of a revision's files."""
KEPT = 10
"""Times that something was found there, of which all is kept."""
_OURS = re.compile(r"\.?(?:[0-9a-f]{40}|[0-9a-f]{64})")
"""A revision's folder, or the draft of one."""


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
        """Create the folders. A link in the place of one would lead what is written and removed elsewhere: it goes."""
        self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._folder, self.replaced, self._revisions):
            if folder.is_symlink():
                folder.unlink()
            elif folder.exists() and not folder.is_dir():
                self._give_way(folder)
            folder.mkdir(mode=0o700, exist_ok=True)

    def _give_way(self, file: Path) -> None:
        """A file in a folder's place is kept where there is a place to keep it, and else beside it."""
        if file == self._revisions:
            _Shelf(self.replaced).take(file, REVISIONS)
        else:
            file.replace(file.with_name(f"{file.name}.was"))

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
        _remove(draft)
        draft.mkdir(parents=True)
        for blob in blobs:
            _write(draft / blob.path, blob.content)
        _remove(folder)
        draft.rename(folder)
        return sorted(blob.path for blob in blobs)

    def switch(self, commit: str) -> bool:
        """Make a revision the current one, at once; whether it was not."""
        if self.current() == commit:
            return False
        link, draft = self._folder / CURRENT, self._folder / f".{CURRENT}"
        _remove(draft)
        draft.symlink_to(Path(REVISIONS, commit))
        if link.is_dir() and not link.is_symlink():
            _Shelf(self.replaced).take(link, CURRENT)
        draft.replace(link)
        return True

    def keep_only(self, commit: str) -> None:
        """Drop the folders of other revisions; what is none was put there by somebody, and is set aside."""
        shelf = _Shelf(self.replaced)
        for entry in list(os.scandir(self._revisions)):
            if _OURS.fullmatch(entry.name) is None:
                shelf.take(Path(entry.path), entry.name)
            elif entry.name != commit:
                _remove(Path(entry.path))

    def _mend(self, folder: Path, blobs: Sequence[Blob]) -> list[str]:
        wanted, shelf = {blob.path: blob.content for blob in blobs}, _Shelf(self.replaced)
        for name in list(_files(folder)):
            if name not in wanted or not _is_same(folder / name, wanted[name]):
                shelf.take(folder / name, name)
        missing = [name for name in wanted if not os.path.lexists(folder / name) or (folder / name).is_dir()]
        for name in missing:
            _remove(folder / name)  # an empty folder in the file's place
            _write(folder / name, wanted[name])
        return sorted({*shelf.taken, *missing})


class _Shelf:
    """A fresh numbered folder for what is set aside, made when the first thing comes; the newest ten are kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._place: Path | None = None
        self.taken: list[str] = []

    def take(self, path: Path, name: str) -> None:
        """Move something there under its name."""
        kept = (self._place or self._make()) / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        path.rename(kept)
        self.taken.append(name)

    def _make(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        numbers = sorted(int(entry.name) for entry in os.scandir(self._folder) if entry.name.isdecimal())
        for old in numbers[: max(0, len(numbers) - KEPT + 1)]:
            _remove(self._folder / str(old))
        self._place = self._folder / str(numbers[-1] + 1 if numbers else 1)
        self._place.mkdir()
        return self._place


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
    """Whatever stands there, if anything does."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
