"""Changes to single values of documents: every byte stays that does not have to be another one.

Nothing that a change makes is trusted: it is read again, and has to say what was asked for and nothing else.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from reconciler.manifests.anchors import released
from reconciler.manifests.differing import REMOVED, Change, EditError, changed, dotted, same, steps
from reconciler.manifests.edit import read, replace_file
from reconciler.manifests.folder import find
from reconciler.manifests.identity import identify
from reconciler.manifests.nodes import Path, compose, plain
from reconciler.manifests.page import SpliceError
from reconciler.manifests.parse import parse
from reconciler.manifests.removal import without
from reconciler.manifests.splicing import spliced
from reconciler.manifests.text import Chunk, place, split

__all__ = [
    "REMOVED",
    "Change",
    "ChangedMeanwhileError",
    "EditError",
    "find_document",
    "remove_document",
    "respec",
    "set_value",
    "unset_value",
    "write",
]
_BY_HAND = "change it by hand, in an editor"


class ChangedMeanwhileError(EditError):
    """Somebody else has changed the file since it was read."""


def set_value(text: str, at: Path, value: Any) -> str:
    """One document's text with another value at a path; mappings on the way are made. Raises EditError."""
    return _changed(text, [(at, value)])


def unset_value(text: str, at: Path) -> str:
    """One document's text without a key or an item; the same text when it has none. Raises EditError."""
    return _changed(text, [(at, REMOVED)])


def respec(file_text: str, kind: str, name: str, changes: Iterable[Change]) -> str:
    """A whole file's text with changes made in one of its documents. Raises EditError."""
    chunk = _only(file_text, kind, name)
    try:
        new = _changed(chunk.text, changes)
    except EditError as error:
        line = chunk.line + error.line - 1 if error.line else chunk.content_line
        raise EditError(error.message, error.remedy, line, error.column) from None
    text = file_text[: chunk.start] + new + file_text[chunk.end :]
    if len(split(text)) != len(split(file_text)):
        raise EditError("the change would make two documents of it", _BY_HAND, chunk.content_line)
    return text


def remove_document(file_text: str, kind: str, name: str) -> str | None:
    """A file's text without one of its documents; None when nothing is left that is worth a file. Raises EditError."""
    return without(file_text, _only(file_text, kind, name))


def find_document(root: FilePath, kind: str, name: str) -> tuple[FilePath, int]:
    """The file that declares a document, and the line (from 1) where it begins.

    Raises EditError when there is none, or more than one, and when the folder cannot be read.
    """
    try:
        files = find(root)
    except OSError as error:
        raise EditError(str(error), "name the folder of the manifests with --manifests") from None
    found = [(path, chunk.content_line) for path in files for chunk in _declaring(read(path), kind, name)]
    if not found:
        raise EditError(f"no file below {root} declares {kind} '{name}'", "see what there is: reconciler get servers")
    if len(found) > 1:
        places = " and ".join(f"{path}:{line}" for path, line in found)
        raise EditError(f"{kind} '{name}' is declared more than once: {places}", "remove all but one of them by hand")
    return found[0]


def write(path: FilePath, before: bytes, after: str | None) -> None:
    """Puts a new version in a file's place, whole and durable, with its mode and owner; None removes the file.

    Raises ChangedMeanwhileError when it no longer holds `before`, and OSError.
    """
    # A link stays one: what it leads to is exchanged.
    target = path.resolve()

    def check() -> None:
        try:
            present = target.read_bytes()
        except FileNotFoundError:
            message = f"{path} was removed meanwhile"
            raise ChangedMeanwhileError(message, "see what there is now, and try again") from None
        if present != before:
            message = f"{path} was changed meanwhile, and is left as it is"
            raise ChangedMeanwhileError(message, "look at what it says now, and try again")

    check()
    if after is None:
        path.unlink()
    elif after.encode() != before:
        replace_file(target, after.encode(), check)


def _declaring(text: str, kind: str, name: str) -> list[Chunk]:
    likely = [chunk for chunk in split(text) if name in chunk.text and chunk.content_line]
    return [chunk for chunk in likely if identify(chunk.text) == (kind, name)]


def _only(text: str, kind: str, name: str) -> Chunk:
    found = _declaring(text, kind, name)
    if not found:
        raise EditError(f"{kind} '{name}' is not declared here", "see where it is: reconciler get servers -o wide")
    if len(found) > 1:
        message = f"{kind} '{name}' is declared more than once in this file"
        raise EditError(message, "remove all but one of them by hand", found[1].content_line, 1)
    return found[0]


def _changed(text: str, changes: Iterable[Change]) -> str:
    before, changes = _data(text), list(changes)
    wanted = changed(before, changes)
    # Of items that say the same, the one goes that was named.
    is_removal = len(changes) == 1 and changes[0][1] is REMOVED
    try:
        new, said = _taken(text, before, changes if is_removal else steps(before, wanted))
    except EditError:
        # What cannot be made of what is there can still take its place.
        if not any(isinstance(value, Mapping | list | tuple) for _, value in changes):
            raise
        new, said = _taken(text, before, changes)
    if not same(said, wanted):
        raise _unsure(())
    return new


def _taken(text: str, data: Any, changes: Iterable[Change]) -> tuple[str, Any]:
    """The text after changes, and what it says then. Raises EditError."""
    for at, value in changes:
        after = changed(data, [(at, value)])
        if not same(data, after):
            text = _step(text, at, after, removed=value is REMOVED)
        data = after
    return text, data


def _step(text: str, at: Path, after: Any, *, removed: bool) -> str:
    """The text that says `after`, in which the value at one place is exchanged as a whole. Raises EditError."""
    free = released(text, at, removed=removed)
    try:
        for literal in (True, False):
            new = spliced(free, at, after, removed=removed, literal=literal)
            if _says(new, after):
                return new
    except SpliceError as error:
        line, column = place(free, error.offset)
        message = f"{dotted(at)} cannot be {'removed' if removed else 'set'}: {error.message}"
        raise EditError(message, _BY_HAND, line, column) from None
    raise _unsure(at)


def _unsure(at: Sequence[str | int]) -> EditError:
    what = f"the place of {dotted(tuple(at))}" if at else "this"
    return EditError(f"{what} is written in a way that cannot be edited without harm", _BY_HAND)


def _data(text: str) -> Any:
    """What a document says. Raises EditError."""
    try:
        root = compose(text)
        return plain(root) if root else None
    except Exception as error:  # noqa: BLE001 - ruamel raises far more than it declares
        problems = parse(text, "", lambda _: ()).problems
        if problems:
            message, line, column = problems[0].message, problems[0].line, problems[0].column
        else:
            message, line, column = f"not valid YAML ({type(error).__name__})", 0, 0
        raise EditError(message, "correct that first", line, column) from None


def _says(text: str, data: Any) -> bool:
    try:
        return same(_data(text), data)
    except EditError:
        return False
