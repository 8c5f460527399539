"""Reads revisions of a clone on this machine: somebody's working copy, or what a pull request is checked in."""

import os
import shlex
from pathlib import Path

from reconciler.core.source import Revision
from reconciler.gitops.complaint import clean
from reconciler.gitops.git import Git, GitError
from reconciler.gitops.objects import Objects
from reconciler.gitops.tree import Tree

_TIMEOUT = 60.0
_MOST_BYTES = 64 * 1024 * 1024


def root_of(path: Path) -> Path:
    """The folder of the clone that a path lies in, or the bare repository. Raises GitError outside of any."""
    return _found(path)[0]


def local_tree(repository: Path, rev: str, folder: str) -> tuple[Revision, Tree]:
    """What a revision of a clone holds below a folder, which is named from the clone's root (`root_of`).

    `rev` is anything that git takes for a commit, such as `HEAD~1` or `origin/main`. Raises GitError. Nothing that the
    clone's settings name is run, whoever owns it.
    """
    _, git_folder = _found(repository)
    objects = Objects(
        Git(os.environ, _TIMEOUT, 2 * _MOST_BYTES),
        git_folder,
        _MOST_BYTES,
        name=str(repository),
        remedy=f"check it: git -C {shlex.quote(str(repository))} fsck",
    )
    commit = objects.resolve(rev)
    if not commit:
        where = shlex.quote(str(repository))
        raise GitError(
            "RevisionMissing",
            f"{repository} has no revision {clean(rev, 80)!r}: name a branch, tag or commit that it has, "
            f"or fetch it first (git -C {where} fetch origin {shlex.quote(clean(rev, 80))})",
        )
    return objects.revision(commit), objects.tree(commit, folder)


def _found(path: Path) -> tuple[Path, Path]:
    """The root of the clone, and the folder with its objects and names."""
    start = path.resolve()
    for here in (start, *start.parents):
        inner = here / ".git"
        if inner.is_dir():
            return here, inner
        if inner.is_file():
            return here, here / _pointed_to(inner)
        if (here / "HEAD").is_file() and (here / "objects").is_dir():
            return here, here
    raise GitError("RepositoryMissing", f"{path} lies in no Git repository: name a folder of a clone")


def _pointed_to(file: Path) -> str:
    """Where a worktree or submodule has its repository (gitrepository-layout(5))."""
    try:
        word, _, where = file.read_text("utf-8", "surrogateescape").partition(": ")
    except OSError as error:
        raise GitError("RepositoryMissing", f"{file} cannot be read ({error.strerror}): mend that") from None
    return where.rstrip("\n") if word == "gitdir" else ""
