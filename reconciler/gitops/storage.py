"""The folder of a bare repository of our own: made, checked, measured and tidied without git."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_HEAD = b"ref: refs/heads/none\n"
_SETTINGS = {
    40: b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
    64: b"[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n",
}
"""By the digits of a commit's name."""
_LEAST = 4096
"""Bytes that even a small file takes on a disk."""


def create(folder: Path, digits: int) -> None:
    """An empty repository, without what `git init` copies from a template. All calls raise OSError."""
    (folder / "objects").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "config").write_bytes(_SETTINGS[digits])
    (folder / "HEAD").write_bytes(_HEAD)


def is_ours(folder: Path) -> bool:
    """Whether a folder is as it was made: nothing is believed that somebody else wrote into its settings."""
    try:
        led_astray = any((folder / name).is_symlink() for name in ("objects", "objects/pack", "refs"))
        whole = _plain(folder / "config") in _SETTINGS.values() and _plain(folder / "HEAD") == _HEAD
        return whole and not led_astray and not (folder / "objects/info/alternates").exists()
    except OSError:
        return False


def _plain(path: Path) -> bytes | None:
    """What a file holds; None for what is no file, which would be waited for."""
    return path.read_bytes() if stat.S_ISREG(path.lstat().st_mode) else None


def put_in_place(draft: Path, folder: Path) -> None:
    """Have a new repository stand where another one stood, or none."""
    before = folder.with_name(f"{folder.name}.old")
    remove(before)
    if folder.exists() or folder.is_symlink():
        folder.rename(before)
    draft.rename(folder)
    remove(before)


def remove(folder: Path) -> None:
    """Have nothing there."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def tidy(folder: Path) -> None:
    """Remove what a fetch left behind that was killed. Only we write there, one command at a time."""
    for left in (*folder.rglob("*.lock"), *folder.glob("objects/pack/tmp_*")):
        left.unlink(missing_ok=True)


def size(folder: Path) -> int:
    """Bytes of all files below a folder, as a disk has them; somebody may be writing there."""
    total = 0
    for path in _files(folder):
        with suppress(FileNotFoundError):  # somebody writes there
            total += max(path.lstat().st_size, _LEAST)
    return total


def names(folder: Path) -> frozenset[Path]:
    """All files below a folder."""
    return frozenset(_files(folder))


def keep_only(folder: Path, kept: frozenset[Path]) -> None:
    """Remove all other objects: what a fetch brought that came to no good end."""
    for path in _files(folder / "objects"):
        if path not in kept:
            path.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[Path]:
    for path, _, inner in os.walk(folder):
        yield from (Path(path, name) for name in inner)


def packs(folder: Path) -> int:
    """How many fetches have left their file there."""
    return len(list(folder.glob("objects/pack/*.pack")))
