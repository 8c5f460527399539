"""Reads revisions of a clone on this machine: somebody's working copy, or what a pull request is checked in."""

import os
import re
import shlex
from pathlib import Path

from reconciler.core.source import Revision
from reconciler.gitops.complaint import shortened
from reconciler.gitops.git import Git, GitError
from reconciler.gitops.objects import Objects
from reconciler.gitops.tree import Tree

_TIMEOUT = 60.0
_MOST_BYTES = 64 * 1024 * 1024
_BRANCH = re.compile(r"(?!HEAD|[0-9a-f]{7,64}$)\w[\w./+-]{0,79}", re.ASCII)


def root_of(path: Path) -> Path:
    """The folder of the clone that a path lies in, or the bare repository. Raises GitError outside of any."""
    return _found(path)[0]


def local_tree(repository: Path, rev: str, folder: str) -> tuple[Revision, Tree]:
    """What a revision of a clone holds below a folder, which is named from the clone's root (`root_of`).

    `rev` is anything that git takes for a commit, such as `HEAD~1` or `origin/main`. Raises GitError. Nothing that the
    clone's settings name is run, whoever owns it.
    """
    objects = _objects(repository)
    commit = objects.resolve(rev)
    if not commit:
        fetch = shlex.join(["git", "-C", str(repository), "fetch", *_fetched(objects, rev)])
        raise GitError(
            "RevisionMissing",
            f"{repository} has no revision {shortened(rev, 80)!r}: name a branch, tag or commit that it has, "
            f"or fetch it first ({fetch})",
        )
    return objects.revision(commit), objects.tree(commit, folder)


def fork_of(repository: Path, rev: str) -> str:
    """The last commit that what is checked out shares with a revision.

    Empty when that is the revision itself, when they share none as far as the clone knows, and when there is no such
    revision. Raises GitError.
    """
    objects = _objects(repository)
    here, there = objects.resolve("HEAD"), objects.resolve(rev)
    if not here or not there or not objects.answers("merge-base", here, there):
        return ""
    found = objects.ask("merge-base", here, there).decode("ascii", "replace").strip()
    return "" if found == there else found


def _objects(repository: Path) -> Objects:
    _, git_folder = _found(repository)
    return Objects(
        Git(os.environ, _TIMEOUT, 2 * _MOST_BYTES),
        git_folder,
        _MOST_BYTES,
        name=str(repository),
        remedy=f"check it: git -C {shlex.quote(str(repository))} fsck",
    )


def _fetched(objects: Objects, rev: str) -> list[str]:
    """What to name to `git fetch`, so that a revision has its name here afterwards."""
    if not _BRANCH.fullmatch(rev):
        # Something like `HEAD~3`, or the digits of a commit: a clone that is shallow lacks what came before.
        return ["--unshallow"] if (objects.folder / "shallow").exists() else ["--all", "--tags"]
    remote, _, branch = rev.partition("/")
    if branch and objects.answers("config", "--get", f"remote.{remote}.url"):
        return [remote, f"{branch}:refs/remotes/{rev}"]
    return ["origin", f"{rev}:{rev}"]


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
