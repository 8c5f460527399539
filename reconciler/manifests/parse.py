"""YAML text to documents and problems. Nothing that stands in a file makes it raise."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import Node

from reconciler.core.defaults import alone
from reconciler.core.kinds import DEFAULTS, LlamaServerDefaults, OtherDocument, Profile, other_document
from reconciler.core.model import Document, Problem
from reconciler.core.spec import API_VERSION, LlamaServer, ServerSpec
from reconciler.manifests.expected import either
from reconciler.manifests.explain import Fault, closest, explain, got
from reconciler.manifests.identity import guess, identify, identity, labels_of
from reconciler.manifests.nodes import NodeError, compose, locate, plain, short
from reconciler.manifests.text import Chunk, is_blank, lines, place, split

KINDS: dict[str, type[BaseModel]] = {
    "LlamaServer": LlamaServer,
    "Profile": Profile,
    "LlamaServerDefaults": LlamaServerDefaults,
}
"""What each known kind is validated by."""
LARGEST = 1024 * 1024
"""Most bytes of a manifest file."""
MOST_DOCUMENTS = 1000
"""Most documents in a file."""
MOST_PROBLEMS = 50
"""Most problems told of one document."""
TOO_LARGE = "larger than 1 MiB: no manifest is; split it, or move it out of the manifests folder"
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Check = Callable[[ServerSpec], Sequence[tuple[tuple[str | int, ...], str]]]
"""What the engine refuses in a spec: places in it as written, such as `("flags", "api-key")`, with the reason."""
_Result = Document | OtherDocument | Problem


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a file says."""

    documents: tuple[Document, ...] = ()
    problems: tuple[Problem, ...] = ()
    others: tuple[OtherDocument, ...] = ()
    """Documents of the other kinds."""


def parse(text: str | bytes, file: str, check: Check, go_on: Callable[[], None] = lambda: None) -> Parsed:
    """The valid documents of a file, and the errors of all others. `file` is its name as people type it.

    `go_on` is called before each document, and what it raises is let through: it may end the reading.
    """
    read = _decode(text, file)
    if isinstance(read, Problem):
        return Parsed(problems=(read,))
    documents: list[Document] = []
    problems: list[Problem] = []
    others: list[OtherDocument] = []
    for result in _read_all(read, file, check, go_on):
        if isinstance(result, Document):
            documents.append(result)
        elif isinstance(result, Problem):
            problems.append(result)
        else:
            others.append(result)
    return Parsed(tuple(documents), tuple(problems), tuple(others))


def _decode(text: str | bytes, file: str) -> str | Problem:
    if len(text) > LARGEST:
        return Problem(file, TOO_LARGE)
    if not isinstance(text, str):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            line, column = place(error.object[: error.start].decode("utf-8"), error.start)
            return Problem(file, "not UTF-8: save the file in that encoding", line, column)
    if bad := _UNPRINTABLE.search(text):
        line, column = place(text, bad.start())
        return Problem(file, f"the control character {bad[0].encode('unicode_escape').decode()}", line, column)
    return text


def _read_all(text: str, file: str, check: Check, go_on: Callable[[], None]) -> Iterator[_Result]:
    refused: Problem | None = None
    count = 0
    for chunk in split(text):
        go_on()
        directive = _directive(chunk, file)
        if not chunk.content_line:
            if refused:
                yield refused
            refused = directive
            continue
        count += 1
        if count > MOST_DOCUMENTS:
            yield Problem(file, f"more than {MOST_DOCUMENTS} documents in one file: split it", chunk.content_line, 1)
            return
        yield from _Reader(file, chunk, check).read(refused or directive)
        refused = None
    if refused:
        yield refused


def _directive(chunk: Chunk, file: str) -> Problem | None:
    """The error of the directives before a document's `---`, if there is one."""
    for number, line in enumerate(lines(chunk.text), chunk.line):
        if line.startswith("%"):
            if not re.fullmatch(r"%YAML[ \t]+1\.2[ \t]*(#.*)?", line.rstrip("\r\n")):
                return Problem(file, f"{short(line.strip())}: remove it, only '%YAML 1.2' is understood", number, 1)
            if chunk.content_line:
                return Problem(file, "a line '---' is missing behind '%YAML 1.2'", number, 1)
        elif not is_blank(line):
            break
    return None


class _Reader:
    """Reads one document."""

    def __init__(self, file: str, chunk: Chunk, check: Check) -> None:
        self._file = file
        self._chunk = chunk
        self._check = check
        self._kind, self._name = "", ""
        self._labels: dict[str, str] | None = None

    def read(self, refused: Problem | None) -> list[_Result]:
        """The document or its problems; `refused` is what was wrong before it began."""
        try:
            if refused:
                self._kind, self._name = identify(self._chunk.text)
                return [self._problem(refused.message, refused.line, refused.column)]
            return self._documents()
        except NodeError as error:
            self._guess()
            return [self._problem(error.message, self._chunk.line + error.line, error.column + 1)]
        except MarkedYAMLError as error:
            self._guess()
            mark = error.problem_mark or error.context_mark
            where = (self._chunk.line + mark.line, mark.column + 1) if mark else (self._chunk.content_line, 1)
            return [self._problem(_complaint(error, self._chunk.line), *where)]
        except Exception as error:  # noqa: BLE001 - ruamel raises far more than it declares
            self._guess()
            return [self._problem(f"not valid YAML ({type(error).__name__})", self._chunk.content_line, 1)]

    def _guess(self) -> None:
        if not self._kind and not self._name:
            self._kind, self._name = guess(self._chunk.text)

    def _documents(self) -> list[_Result]:
        root = compose(self._chunk.text)
        if root is None:
            return []
        self._kind, self._name = identity(root)
        data = plain(root)
        self._labels = labels_of(data)
        if faults := _header(data):
            return self._problems(root, faults)
        try:
            return self._accept(root, data)
        except ValidationError as refusal:
            return self._problems(root, explain(KINDS[self._kind], refusal, data))

    def _accept(self, root: Node, data: Any) -> list[_Result]:
        """The document, or what the engine refuses in it. Raises ValidationError.

        Validated strictly and as JSON, so that what is accepted is what the JSON Schema allows.
        """
        kind: Any = KINDS[self._kind]
        model = kind.model_validate_json(json.dumps(data), strict=True, by_alias=True, by_name=False)
        if self._kind == DEFAULTS:
            at: tuple[str, ...] = ("spec", "template")
            refusals = self._check(alone(model.spec.template))
        else:
            at = ("spec",)
            refusals = self._check(model.spec) if isinstance(model, LlamaServer) else []
        if refusals:
            return self._problems(root, [Fault((*at, *path), message) for path, message in refusals])
        return [self._document(root, model, data)]

    def _document(self, root: Node, model: Any, data: Any) -> Document | OtherDocument:
        metadata, line = model.metadata, self._chunk.content_line
        if not isinstance(model, LlamaServer):
            labels, annotations = metadata.labels, metadata.annotations
            about = {
                "name": metadata.name,
                "file": self._file,
                "line": line,
                "places": self._places(root, data["spec"]),
            }
            return other_document(self._kind, model.spec, labels=labels, annotations=annotations, **about)
        return Document(
            self._kind,
            metadata.name,
            self._file,
            model.spec,
            labels=metadata.labels,
            annotations=metadata.annotations,
            line=line,
            port_line=self._place(root, ("spec", "port")) if "port" in data["spec"] else (0, 0),
        )

    def _places(self, root: Node, spec: dict[str, Any]) -> dict[str, tuple[int, int]]:
        """Of the fields that are judged together with other documents."""
        paths = [("spec", key) for key in spec]
        below = [("spec", key, name) for key, value in spec.items() if isinstance(value, dict) for name in value]
        return {".".join(path): self._place(root, path) for path in (*paths, *below)}

    def _problems(self, root: Node, faults: Sequence[Fault]) -> list[_Result]:
        found = [
            self._problem(fault.message, *self._place(root, fault.path, at_key=fault.at_key), _dotted(fault.path))
            for fault in faults
        ]
        found.sort(key=lambda problem: (problem.line, problem.column))
        if len(found) > MOST_PROBLEMS:
            rest = f"{len(found) - MOST_PROBLEMS} more errors in this document"
            found[MOST_PROBLEMS:] = [self._problem(rest, self._chunk.content_line, 1)]
        return list(found)

    def _place(self, root: Node, path: tuple[str | int, ...], *, at_key: bool = False) -> tuple[int, int]:
        line, column = locate(root, path, at_key=at_key)
        return self._chunk.line + line, column + 1

    def _problem(self, message: str, line: int, column: int, field: str = "") -> Problem:
        return Problem(self._file, message, line, column, field, self._name, self._kind, labels=self._labels)


def _header(data: Any) -> list[Fault]:
    """Errors of `apiVersion` and `kind`, without which nothing else can be judged."""
    if not isinstance(data, dict):
        what = got(data) if isinstance(data, list) or data is None else "a single value"
        return [Fault((), f"expected a mapping with apiVersion, kind, metadata and spec, got {what}")]
    known = {"apiVersion": (API_VERSION,), "kind": tuple(KINDS)}
    return [fault for key, names in known.items() if (fault := _header_fault(data, key, names))]


def _header_fault(data: dict[str, Any], key: str, names: Sequence[str]) -> Fault | None:
    expected = either([f"'{name}'" for name in names])
    if key not in data:
        other = closest(key, [name for name in data if name not in ("apiVersion", "kind", "metadata", "spec")])
        seen = f" (there is '{other}')" if other else ""
        return Fault((key,), f"missing: expected {expected}{seen}")
    value = data[key]
    if value in names:
        return None
    if not isinstance(value, str):
        return Fault((key,), f"expected {expected}, got {got(value)}")
    hint = closest(value, names)
    meant = f"did you mean '{hint}'?" if hint else f"known: {expected}"
    return Fault((key,), f"unknown {key} {short(value)}, {meant}")


def _dotted(path: Sequence[str | int]) -> str:
    return ".".join(short(str(part), quote="") for part in path)


def _complaint(error: MarkedYAMLError, first_line: int) -> str:
    """Words of ruamel, without the document's own: they may be a secret."""
    problem = str(error.problem or error.context or "cannot be read")
    problem = re.sub(
        r"'[^']*'", lambda found: found[0] if found[0][1] in "<\\" or len(found[0]) < 5 else "'…'", problem
    )
    hint = ": indent with spaces, not tabs" if r"'\t'" in problem else ""
    if error.context and error.context_mark and error.problem:
        hint += f" ({error.context} that begins on line {first_line + error.context_mark.line})"
    return f"not valid YAML: {problem}{hint}"
