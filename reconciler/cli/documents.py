"""Manifests as a verb is given them: `-f` files, folders and stdin, beside what is in the manifests folder."""

import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.cli.failure import BAD_INPUT, Failure
from reconciler.core.accept import Beside, Seen, accept
from reconciler.core.candidates import key_of_problem
from reconciler.core.clean import escaped
from reconciler.core.kinds import OtherDocument
from reconciler.core.model import Document, Problem
from reconciler.core.preview import Declared
from reconciler.core.profiles import clashes_elsewhere
from reconciler.core.pruning import Memory
from reconciler.core.selection import Selection
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

    def text_of(self, document: Document | OtherDocument) -> str:
        """The text of one of its documents."""
        texts = dict(document_texts(self.content.decode()))
        return texts[document.line]

    def place(self, document: Document | OtherDocument, path: Sequence[str | int]) -> tuple[int, int]:
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
    others: tuple[OtherDocument, ...] = ()
    """Documents of other kinds than servers."""
    warnings: tuple[Problem, ...] = ()
    """What is no error now, and would be with another profile."""
    selection: Selection = field(default_factory=Selection)
    """Which servers the active profile wants."""

    @property
    def declared(self) -> Declared:
        """The servers by name, and which of them are to run."""
        return Declared({document.name: document for document in self.documents}, self.selection)


def check_together(given: Sequence[Source], folder: Sequence[Source] = (), elsewhere: Iterable[str] = ()) -> Checked:
    """Parse all; those `given` take the place of the folder's documents of the same names. Duplicates are errors.

    Servers come with what they take over from defaults. `elsewhere` are servers that profiles may name too.
    """
    named = [source.parse() for source in given]
    seen = Seen(
        tuple(document for parsed in named for document in parsed.documents),
        tuple(problem for parsed in named for problem in parsed.problems),
        others=tuple(document for parsed in named for document in parsed.others),
    )
    replaced = {one.name for one in seen.documents} | {one.key for one in seen.others}
    replaced |= {key for problem in seen.problems if (key := key_of_problem(problem))}
    present = [source.parse() for source in folder]
    seen = Seen(
        (*seen.documents, *(one for each in present for one in each.documents if one.name not in replaced)),
        (*seen.problems, *(one for each in present for one in each.problems if key_of_problem(one) not in replaced)),
        others=(*seen.others, *(one for each in present for one in each.others if one.key not in replaced)),
    )
    beside = Beside(check=check_spec, known=frozenset(elsewhere), nothing_runs=True)
    acceptance = accept({}, seen, Memory(), 0.0, beside=beside)
    told = (*acceptance.problems.values(), *acceptance.other_problems.values())
    every = {*(problem for each in told for problem in each), *acceptance.general}
    documents = tuple(_made(one, acceptance.documents.get(one.name)) for one in seen.documents)
    warnings = clashes_elsewhere(acceptance.others.values(), acceptance.documents.values())
    return Checked(documents, _in_order(every), seen.others, _in_order(warnings), acceptance.selection)


def _made(document: Document, accepted: Document | None) -> Document:
    """With what it takes over, where it is valid."""
    return replace(accepted, generation=0) if accepted and accepted.place == document.place else document


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda one: (one.file, one.line, one.column, one.message)))
