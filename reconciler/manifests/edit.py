"""Changing manifest files: one document is exchanged, every other byte stays."""

import contextlib
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from reconciler.core.kinds import OtherDocument
from reconciler.core.model import Document
from reconciler.manifests.folder import find
from reconciler.manifests.identity import identify
from reconciler.manifests.parse import LARGEST
from reconciler.manifests.rights import give_rights_of
from reconciler.manifests.text import Chunk, is_blank, lines, split

_TEMPORARY = re.compile(r"\.(\d+)\.\d+\.tmp")
"""What follows the file's name in that of its new version, until that is in place: the writer's process, and a time."""
_ABANDONED = 60.0
"""Seconds after which nobody writes there any more: a write takes a few milliseconds."""


def document_texts(text: str) -> list[tuple[int, str]]:
    """The documents of a file with the lines (from 1) on which their content begins."""
    return [(chunk.content_line, chunk.text) for chunk in split(text) if chunk.content_line]


def splice(text: str, line: int, replacement: str) -> str:
    """The file's text with the document that has content at or behind `line` (from 1) exchanged for another one.

    Comments above the document stay unless the replacement brings its own. Raises ValueError when there is no such
    document, and when the replacement is not exactly one.
    """
    chunks = [chunk for chunk in split(text) if chunk.content_line]
    chunk = next((chunk for chunk in chunks if line <= _last_line(chunk)), None)
    if chunk is None:
        raise ValueError(f"no document at line {line}")
    new = _only(replacement)
    above = _comments(chunk.text)
    if above and not _comments(new):
        new = above + new.lstrip("\r\n")
    if chunk.on_marker:
        new = f"---\n{new}"
    if chunk.closed and not new.endswith(("\n", "\r")):
        new += "\n"
    return text[: chunk.start] + new + text[chunk.end :]


def put(root: Path, text: str, parsed: Document | OtherDocument, known: Sequence[Document] = ()) -> Path:
    """Writes a document into the folder: in place of the one of its kind and name, else as a new file.

    `known` tells where to look first. Returns the file, which is complete at every moment: the new version is written
    beside it and renamed. Raises OSError, and ValueError when the text is not exactly one document.
    """
    root.mkdir(parents=True, exist_ok=True)
    path, content = edited(root, text, parsed, known)
    if path is None:
        return create(root, parsed.name, content)
    target = path.resolve()
    if target.read_bytes() != content.encode():
        replace_file(target, content.encode())
    return path


def edited(
    root: Path, text: str, parsed: Document | OtherDocument, known: Sequence[Document] = ()
) -> tuple[Path | None, str]:
    """The file that `put` would change, with its new text; None and the text when it would make a new one."""
    for path in _candidates(root, parsed, known):
        content = read(path)
        for line, document in document_texts(content) if parsed.name in content else ():
            if identify(document) == (parsed.kind, parsed.name):
                return path, splice(content, line, text)
    new = _only(text)
    return None, new if new.endswith("\n") else f"{new}\n"


def _last_line(chunk: Chunk) -> int:
    return chunk.line + len(lines(chunk.text)) - 1


def _only(text: str) -> str:
    """The text of the one document in it, with the comments above its `---`."""
    chunks = split(text)
    documents = [chunk for chunk in chunks if chunk.content_line]
    if len(documents) != 1:
        raise ValueError(f"expected one document, got {len(documents)}")
    document = documents[0]
    above = "".join(line for chunk in chunks[: chunks.index(document)] for line in lines(chunk.text) if line[0] != "%")
    return above + (document.text[3:].lstrip(" \t") if document.on_marker else document.text)


def _comments(text: str) -> str:
    """The comments and blank lines above the content; empty when there is no comment."""
    above = []
    for line in lines(text):
        if not is_blank(line):
            break
        above.append(line)
    return "".join(above) if any("#" in line for line in above) else ""


def _candidates(root: Path, parsed: Document | OtherDocument, known: Sequence[Document]) -> Iterator[Path]:
    files = {document.file for document in known if (document.kind, document.name) == (parsed.kind, parsed.name)}
    found = find(root)
    first = [path for path in found if any(path.as_posix().endswith(_tail(file)) for file in files)]
    yield from first
    yield from (path for path in found if path not in first)


def _tail(file: str) -> str:
    """A known file may be named from another folder than ours: its last part is hint enough."""
    return f"/{file.rpartition('/')[2]}"


def read(path: Path) -> str:
    """The text of a file; empty when it cannot hold a document that could be exchanged."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            return ""
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def create(root: Path, name: str, content: str) -> Path:
    """A new file, complete at once, that takes no other's place: NAME.yaml, or the next free one. Raises OSError."""
    names = (f"{name}{f'-{number}' if number > 1 else ''}.yaml" for number in range(1, 1000))
    path = _create_first([root / one for one in names], content)
    if path is None:
        raise FileExistsError(f"{root}: {name}.yaml and 998 more of that name exist: remove some")
    return path


def create_file(path: Path, content: str) -> bool:
    """A new file, complete at once; whether there was none of that name. Raises OSError."""
    return _create_first([path], content) is not None


def _create_first(paths: Sequence[Path], content: str) -> Path | None:
    """The first of these that is free, all in one folder; None: none is."""
    temporary = _write_beside(paths[0], content.encode(), is_new=True)
    try:
        for path in paths:
            # A link fails where a rename would overwrite.
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(temporary)
                _sync(path.parent)
                return path
    finally:
        temporary.unlink()
    return None


def replace_file(target: Path, content: bytes, check: Callable[[], None] = lambda: None) -> None:
    """Puts a new version in a file's place, whole and durable, with the rights of the old one.

    `check` is called at the last moment, and may raise. Raises OSError, also where those rights cannot be kept.
    """
    temporary = _write_beside(target, content, is_new=False)
    try:
        check()
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(target.parent)


def _write_beside(target: Path, content: bytes, *, is_new: bool) -> Path:
    """A durable dotfile in the target's folder, with the rights of the file that it will replace."""
    _clear(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    # Who may not read the file does not come to hold its new version open.
    mode = 0o666 if is_new else 0o600
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as opened:  # noqa: PTH123 - it wraps a descriptor
            if not is_new:
                give_rights_of(target, descriptor)
            opened.write(content)
            opened.flush()
            os.fsync(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _clear(target: Path) -> None:
    """Remove what writers of this file left that were killed."""
    with contextlib.suppress(OSError):
        for path in target.parent.iterdir():
            found = path.name.startswith(f".{target.name}.") and _TEMPORARY.fullmatch(path.name, len(target.name) + 1)
            # Younger ones may be of a process that we cannot see, in another namespace.
            if found and time.time() - path.stat().st_mtime > _ABANDONED and not Path(f"/proc/{found[1]}").exists():
                path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
