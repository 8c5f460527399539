"""The files of the manifests folder by the names that the interface has for them: what may be read, and written."""

import hashlib
import os
import shlex
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reconciler.core.clean import escaped
from reconciler.core.kinds import OtherDocument
from reconciler.core.model import Document, Problem
from reconciler.core.refusals import EditRefusedError
from reconciler.core.source import GIT, LOCAL, PREFIX
from reconciler.installation import name_of
from reconciler.manifests.changing import ChangedMeanwhileError
from reconciler.manifests.folder import find, shown
from reconciler.manifests.parse import LARGEST, TOO_LARGE
from reconciler.manifests.placing import Text, is_published, put_back, put_in_place
from reconciler.manifests.scan import SUFFIXES

CHANGED = "ManifestChanged"
"""Why the slower one of two writers is refused."""
DEEPEST = 8
"""Most folders in a name."""
LONGEST = 255
"""Bytes that a file system takes for one part of a name."""
_EXAMPLE = "name it below the manifests folder, such as coder.yaml or team/coder.yaml"


class ManifestFiles:
    """The manifests folder, for edits. Its functions block, and raise EditRefusedError."""

    def __init__(self, root: Path, shown_as: str) -> None:
        """`shown_as`: the folder as people type it."""
        self._root = root
        self._shown_as = shown_as

    def shown(self, name: str) -> str:
        """A file as problems name it."""
        return shown(self._shown_as, name)

    def name_of(self, path: Path) -> str:
        """The name of a file of the folder."""
        return path.relative_to(self._root).as_posix()

    def own_name(self, name: str) -> str:
        """The name that the folder itself has for a file: links may lead to its folder too."""
        path = self._place(name)
        folder, root = path.parent.resolve(), self._root.resolve()
        if not folder.is_relative_to(root):  # it was another one a moment ago
            raise self._led_out(name)
        own = (folder.relative_to(root) / path.name).as_posix()
        return name if any(_fault(part) for part in own.split("/")) else own

    def find(self) -> list[str]:
        """The names of all manifest files."""
        try:
            return [self.name_of(path) for path in find(self._root)] if self._root.is_dir() else []
        except OSError as error:
            do = f"look at it with: ls -la {shlex.quote(self._shown_as)}"
            raise EditRefusedError("ManifestUnreadable", str(error), do) from None

    def read(self, name: str) -> bytes | None:
        """What a file holds; None: there is none."""
        path = self._place(name)
        try:
            content = _content(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._failed(name, error, "read") from None
        if content is None:
            do = f"remove it, or give it another ending: ls -l {shlex.quote(self.shown(name))}"
            raise EditRefusedError("BadPath", f"{self.shown(name)} is not a regular file", do)
        if len(content) > LARGEST:
            raise EditRefusedError("TooLarge", f"{self.shown(name)}: {TOO_LARGE}", "edit it on the machine itself")
        return content

    def peek(self, name: str) -> str:
        """The text of a file that was found, to see what it declares; wherever links lead, as the folder reads it."""
        try:
            return (_content(self._root / name) or b"").decode(errors="replace")
        except OSError:
            return ""

    def refuse_published(self, name: str) -> None:
        """Raise where what is written would not stay: another program puts the file there."""
        path = self._place(name)
        if is_published(path) or is_published(path.parent):
            happened = f"{self.shown(name)} leads to {path.resolve()}, which whoever put it there writes over"
            do = "change it where it comes from: the volume's source, or the repository"
            raise EditRefusedError("ManifestPublished", happened, do)

    def write(self, name: str, text: Text) -> None:
        """Make, exchange or remove a file, unless it has changed since `text.before` was read."""
        path = self._place(name)
        try:
            put_in_place(path, text, exactly=True)
        except ChangedMeanwhileError:
            raise changed_meanwhile(self.shown(name)) from None
        except OSError as error:
            raise self._failed(name, error, "written") from None

    def put_back(self, name: str, text: Text) -> bool:
        """Take a change back; whether that went well."""
        return put_back(self._root / name, text)

    def _place(self, name: str) -> Path:
        """Where a file is, or would be: below the folder, however many links lead there."""
        _refuse_bad(name)
        path, root = self._root / name, self._root.resolve()
        try:
            real = path.resolve()
        except (OSError, RuntimeError):
            raise EditRefusedError("BadPath", f"{self.shown(name)} leads in circles", _EXAMPLE) from None
        if not real.is_relative_to(root):
            raise self._led_out(name)
        return path

    def _led_out(self, name: str) -> EditRefusedError:
        happened = f"{self.shown(name)} leads out of the manifests folder"
        do = f"look at what it leads to on the machine itself: ls -l {shlex.quote(str(self._root / name))}"
        return EditRefusedError("LinkedOut", happened, do)

    def _failed(self, name: str, error: OSError, what: str) -> EditRefusedError:
        happened = f"{self.shown(name)} cannot be {what}: {error.strerror or error}"
        folder = shlex.quote(str((self._root / name).parent))
        remedy = f"look at it with: ls -la {folder}"
        if isinstance(error, PermissionError):
            remedy = f"edit it as who may write there (the controller runs as {name_of(os.geteuid())}); {remedy}"
        return EditRefusedError("ManifestUnwritable", happened, remedy)


def _content(path: Path) -> bytes | None:
    """As much as a manifest may hold, and one byte more; None: it is no regular file. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with open(descriptor, "rb") as opened:  # noqa: PTH123 - it wraps a descriptor
        return opened.read(LARGEST + 1)


def digest_of(content: bytes) -> str:
    """What stands for a file's content."""
    return hashlib.sha256(content).hexdigest()[:32]


def about(
    name: str, file: str, documents: Iterable[Document | OtherDocument], problems: Iterable[Problem]
) -> dict[str, Any]:
    """A file as the interface lists it; `file` is its name as documents and problems have it."""
    mine = [{"kind": one.kind, "name": one.name, "line": one.line} for one in documents if one.file == file]
    wrong = [problem for problem in problems if problem.file == file]
    known = {(one["kind"], one["name"]) for one in mine}
    broken = {(one.kind, one.server): one for one in wrong if one.server and (one.kind, one.server) not in known}
    mine += [{"kind": kind, "name": name, "line": one.line} for (kind, name), one in broken.items()]
    return {
        "path": escaped(name),
        "file": file,
        "origin": GIT if name.startswith(PREFIX) else LOCAL,
        "documents": mine,
        "problems": [problem.data for problem in wrong],
    }


def changed_meanwhile(file: str) -> EditRefusedError:
    """Two wrote, and the other was faster."""
    return EditRefusedError(CHANGED, f"{file} has changed meanwhile; nothing was written", _AGAIN)


_AGAIN = "look at what it says now, and make the change again"


def _refuse_bad(name: str) -> None:
    if name.startswith(PREFIX):
        do = "change it in the repository, commit it, and then: reconciler sync"
        raise EditRefusedError("FromGit", f"{escaped(name)[:LONGEST]} stands for a file of Git", do)
    parts = name.split("/")
    if bad := next((why for part in parts if (why := _fault(part))), ""):
        raise EditRefusedError("BadPath", f"'{escaped(name)[:LONGEST]}' names no manifest: {bad}", _EXAMPLE)
    if not parts[-1].endswith(SUFFIXES) or len(parts) > DEEPEST:
        why = "it does not end in .yaml or .yml" if len(parts) <= DEEPEST else f"more than {DEEPEST} folders"
        raise EditRefusedError("BadPath", f"'{escaped(name)[:LONGEST]}' names no manifest: {why}", _EXAMPLE)


def _fault(part: str) -> str:
    if part in ("", ".", ".."):
        return "it has an empty part, or one of dots"
    if part[0] in ".#" or part[-1] == "~":
        return f"'{escaped(part)[:LONGEST]}' is hidden, or an editor's copy, which is not read"
    if not part.isprintable() or "\\" in part:
        return "it has characters that cannot be shown"
    return "a part of it is too long" if len(part.encode(errors="replace")) > LONGEST - 40 else ""
