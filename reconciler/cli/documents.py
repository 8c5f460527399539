"""Manifests as a verb is given them: `-f` files, folders and stdin, beside what is in the manifests folder."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.cli.failure import BAD_INPUT, Failure
from reconciler.core.accept import Seen, accept
from reconciler.core.clean import escaped
from reconciler.core.model import Document, Problem
from reconciler.core.pruning import Memory
from reconciler.core.spec import ServerSpec
from reconciler.engines import engine_of
from reconciler.manifests.edit import document_texts
from reconciler.manifests.folder import find
from reconciler.manifests.nodes import compose, locate
from reconciler.manifests.parse import Parsed, parse
from reconciler.manifests.text import split

STDIN = "<stdin>"


@dataclass(frozen=True)
class Source:
    """A file, or stdin."""

    file: str
    """As people type it."""
    content: bytes
    is_link: bool = False
    """Whether a symbolic link leads to it, below the folder that was named."""
    path: str = ""
    """Below that folder."""

    def parse(self) -> Parsed:
        """What it declares."""
        return parse(self.content, self.file, check_spec)

    def text_of(self, document: Document) -> str:
        """The text of one of its documents."""
        texts = dict(document_texts(self.content.decode()))
        return texts[document.line]

    def place(self, document: Document, path: Sequence[str]) -> tuple[int, int]:
        """Line and column of a field of one of its documents; of the document itself without a path."""
        for chunk in split(self.content.decode()) if path else ():
            if chunk.content_line == document.line and (root := compose(chunk.text)):
                line, column = locate(root, path, at_key=True)
                return chunk.line + line, column + 1
        return document.line, 1


def check_spec(spec: ServerSpec) -> Sequence[tuple[tuple[str | int, ...], str]]:
    """The engine's refusals of a spec."""
    return engine_of(spec).check(spec)


def read_sources(paths: Sequence[str]) -> list[Source]:
    """The files meant by `-f`: a file, a folder with all below it, or `-` for stdin. Raises Failure."""
    sources: list[Source] = []
    for path in paths:
        if path == "-":
            sources.append(Source(STDIN, sys.stdin.buffer.read()))
        else:
            sources += read_files(Path(path).expanduser(), path)
    return sources


def read_files(root: Path, named: str) -> list[Source]:
    """A file, or all manifests below a folder; `named` is how people called it. Raises Failure."""
    if not root.exists():
        raise Failure(f"{named}: no such file or folder", "name a manifest, or a folder of them", exit_code=BAD_INPUT)
    try:
        files = find(root)
        return [
            Source(_shown(root, path, named), path.read_bytes(), _is_linked(root, path), _below(root, path))
            for path in files
        ]
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise Failure(message, f"look at it with: ls -la {shlex.quote(named)}", exit_code=BAD_INPUT) from None


def _shown(root: Path, path: Path, named: str) -> str:
    if path == root:
        return named
    return escaped(f"{named.rstrip('/')}/{path.relative_to(root).as_posix()}")


def _below(root: Path, path: Path) -> str:
    return path.name if path == root else path.relative_to(root).as_posix()


def _is_linked(root: Path, path: Path) -> bool:
    folders = [folder for folder in path.parents if folder != root and folder.is_relative_to(root)]
    return any(one.is_symlink() for one in (path, *folders))


def shown_folder(folder: str) -> str:
    """A folder relative to the working folder where it lies below it."""
    path, here = Path(folder), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else folder


@dataclass(frozen=True)
class Checked:
    """Documents that were checked together, and their errors."""

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]


def check_together(given: Sequence[Source], folder: Sequence[Source] = ()) -> Checked:
    """Parse all; those `given` take the place of the folder's documents of the same names. Duplicates are errors."""
    named = [source.parse() for source in given]
    documents = [document for parsed in named for document in parsed.documents]
    problems = [problem for parsed in named for problem in parsed.problems]
    replaced = {document.name for document in documents} | {problem.server for problem in problems if problem.server}
    for parsed in (source.parse() for source in folder):
        documents += [document for document in parsed.documents if document.name not in replaced]
        problems += [problem for problem in parsed.problems if problem.server not in replaced]
    acceptance = accept({}, Seen(tuple(documents), tuple(problems)), Memory(), 0.0)
    found = [problem for each in acceptance.problems.values() for problem in each]
    every = sorted({*found, *acceptance.general}, key=lambda one: (one.file, one.line, one.column, one.message))
    return Checked(tuple(documents), tuple(every))
