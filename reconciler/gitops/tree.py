"""What a revision's folders list: which of it are manifests, and why the rest that is named like one is none."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reconciler.core.clean import escaped
from reconciler.core.model import Problem

LONGEST_NAME = 255
"""Bytes of a file's or folder's name, as file systems have it."""
LONGEST_PATH = 1024
"""Bytes of a path in the repository."""
MOST_PROBLEMS = 100
"""Files that are named for what is wrong with them; the others are counted."""
_LFS = b"version https://git-lfs.github.com/spec/"
_POINTER = (
    "a Git LFS pointer, not the file itself: keep manifests out of LFS "
    "(git lfs untrack '*.yaml'; git add --renormalize .), and commit"
)
_TWICE = "another file or folder of the revision has this name: remove one of them"


@dataclass(frozen=True, slots=True)
class Blob:
    """A file of a revision."""

    path: str
    """Relative to the folder that was asked for. Bytes that are no UTF-8 stand as surrogates (`surrogateescape`)."""
    content: bytes


@dataclass(frozen=True, slots=True)
class Tree:
    """The manifests of a revision."""

    blobs: tuple[Blob, ...] = ()
    """In the order of their paths."""
    problems: tuple[Problem, ...] = ()
    """What cannot be a manifest; `file` is the path in the repository, in printable characters."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing."""

    mode: str
    """Six octal digits: 100644 and the like are files, 040000 folders, 120000 links, 160000 submodules."""
    object: str
    path: str


def listed(said: bytes) -> Iterator[Entry]:
    """What `git ls-tree -z` says."""
    for line in re.finditer(rb"[^\0]+", said):
        facts, _, path = line[0].partition(b"\t")
        mode, _, name = facts.decode("ascii").split(" ")
        yield Entry(mode, name, path.decode("utf-8", "surrogateescape"))


def manifests(entries: Iterable[Entry], folder: str) -> tuple[list[Entry], list[Problem]]:
    """The manifests by path, and why others that are named like one are none. `folder` is what the paths begin in."""
    found: dict[str, Entry] = {}
    problems: list[Problem] = []
    untold = 0
    for entry in entries:
        if not entry.path.endswith((".yaml", ".yml")) or entry.mode in ("040000", "160000"):
            continue
        parts = entry.path.split("/")
        if fault := _fault(entry, parts) or (_TWICE if entry.path in found else ""):
            if len(problems) == MOST_PROBLEMS:
                untold += 1
                continue
            problems.append(Problem(shown(folder, entry.path), fault))
        elif not any(_is_hidden(part) for part in parts):
            found[entry.path] = entry
    for path in [path for path in found if any(folder in found for folder in _folders(path))]:
        problems.append(Problem(shown(folder, path), _TWICE))
        del found[path]
    return [found[path] for path in sorted(found)], [*problems, *([more(untold, folder)] if untold else ())]


def more(count: int, folder: str) -> Problem:
    """That of so many files nothing else is told."""
    return Problem(shown(folder), f"{count} more files are not what they should be")


def files(entries: Sequence[Entry], contents: dict[str, bytes], folder: str) -> tuple[list[Blob], list[Problem]]:
    """The manifests with their contents, by object, and why some are none."""
    pointers = {one.path for one in entries if contents[one.object].startswith(_LFS)}
    blobs = [Blob(one.path, contents[one.object]) for one in entries if one.path not in pointers]
    return blobs, [Problem(shown(folder, path), _POINTER) for path in sorted(pointers)]


def shown(folder: str, path: str = "") -> str:
    """A path in the repository on one line, whatever it holds."""
    name = "/".join(filter(None, (folder, path))) or "."
    return escaped(name if len(name) <= 2 * LONGEST_PATH else f"{name[: 2 * LONGEST_PATH]}...")


def _fault(entry: Entry, parts: Sequence[str]) -> str:
    if any(part in ("", ".", "..") for part in parts):
        return "not a path that a manifest may have: rename it"
    if any(_is_hidden(part) for part in parts):
        return ""
    if entry.mode == "120000":
        return "symbolic links are not followed: put the file itself there, or remove the link"
    return length_fault(entry.path)


def length_fault(path: str) -> str:
    """What is wrong with how long a path is, below the folder that is followed; empty when nothing is."""
    raw = path.encode("utf-8", "surrogateescape")
    if len(raw) > LONGEST_PATH or any(len(part) > LONGEST_NAME for part in raw.split(b"/")):
        return f"the name is too long ({LONGEST_NAME} bytes, {LONGEST_PATH} with its folders): rename it"
    return ""


def _folders(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _is_hidden(name: str) -> bool:
    """As in a manifests folder."""
    return bool(name) and (name[0] in ".#" or name[-1] == "~")
