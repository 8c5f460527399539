"""The folder of a bare repository of our own: made, checked, measured and tidied without git."""

import shutil
from pathlib import Path

_HEAD = b"ref: refs/heads/none\n"
_SETTINGS = {
    40: b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
    64: b"[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n",
}
"""By the digits of a commit's name."""


def create(folder: Path, digits: int) -> None:
    """An empty repository, without what `git init` copies from a template. All calls raise OSError."""
    (folder / "objects").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "config").write_bytes(_SETTINGS[digits])
    (folder / "HEAD").write_bytes(_HEAD)


def is_ours(folder: Path) -> bool:
    """Whether a folder is as it was made: nothing is believed that somebody else wrote into its settings."""
    try:
        settings = (folder / "config").read_bytes()
        whole = settings in _SETTINGS.values() and (folder / "HEAD").read_bytes() == _HEAD
        return whole and not (folder / "objects/info/alternates").exists()
    except OSError:
        return False


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
    """Bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*"))


def packs(folder: Path) -> int:
    """How many fetches have left their file there."""
    return len(list(folder.glob("objects/pack/*.pack")))
