"""The flags of manifests held against the llama-server of this machine, for `validate`."""

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.cli.documents import Source
from reconciler.core.clean import clean
from reconciler.core.kinds import DefaultsDocument, OtherDocument
from reconciler.core.model import Document, Problem
from reconciler.core.spec import Fallback, ServerSpec
from reconciler.discovery import find_llama_server
from reconciler.engines import engine_of
from reconciler.engines.flags import Refusal

if TYPE_CHECKING:
    from reconciler.controller.flag_gate import Judged
    from reconciler.settings import Settings

MOST_NAMED = 3
NO_BINARY = "no llama-server was found here; name one with LLAMA_SERVER=PATH"


@dataclass(frozen=True)
class Checked:
    """What the llama-servers of this machine say of the flags."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    """What their help lacks, where they are scripts and may take it all the same."""
    blocked: Mapping[str, str] = field(default_factory=dict)
    """Why a server would not start, by its name."""
    note: str = ""
    """What was not checked, and why."""


def check_flags(
    documents: Sequence[Document],
    others: Iterable[OtherDocument],
    sources: Sequence[Source],
    settings: "Settings | None",
) -> Checked:
    """Hold the flags of servers, with what they take over from defaults, against `--help` of their binaries."""
    flagged = [document for document in documents if _has_flags(document.spec)]
    if not flagged:
        return Checked()
    found = _found(settings)
    binaries = {document.name: _binary(document.spec, found, settings) for document in flagged}
    if not found and not any(binaries.values()):
        return Checked(note=f"flags were not checked: {NO_BINARY}")
    return _Check(others, sources, settings).check(flagged, binaries)


def _has_flags(spec: ServerSpec) -> bool:
    steps = spec.fallback.steps if isinstance(spec.fallback, Fallback) else ()
    return bool(spec.flags) or any(step.flags for step in steps)


def _found(settings: "Settings | None") -> str:
    if settings is not None and settings.llama_server:
        return _absolute(settings.llama_server)
    found = find_llama_server(os.environ)
    return found[0] if found else ""


def _binary(spec: ServerSpec, found: str, settings: "Settings | None") -> str:
    """The program, if it may be run: none that only a manifest under review names."""
    if spec.binary is None:
        return found
    wanted = _absolute(spec.binary)
    listed = settings.binaries if settings is not None else ()
    return wanted if wanted in (found, *(_absolute(one) for one in listed)) else ""


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH111 - a Path raises for `~nobody`


class _Check:
    """One look at many documents."""

    def __init__(self, others: Iterable[OtherDocument], sources: Sequence[Source], settings: "Settings | None") -> None:
        from reconciler.controller.flag_gate import FlagGate, helps_in  # noqa: PLC0415 - only flags need it

        self._defaults = {one.name: one for one in others if isinstance(one, DefaultsDocument)}
        self._files = {source.file: source for source in sources}
        self._gate = FlagGate(helps_in(settings.state if settings else os.devnull, keeps=False))

    def check(self, documents: Sequence[Document], binaries: Mapping[str, str]) -> Checked:
        problems, warnings = dict[Problem, None](), dict[Problem, None]()
        blocked, silent, foreign = dict[str, str](), list[str](), list[str]()
        for document in documents:
            binary = binaries[document.name]
            if not binary:
                foreign.append(document.name)
                continue
            judged = self._judged(document.spec, binary)
            if judged is None:
                silent.append(document.name)
                continue
            found = self._problems(document, judged.refused)
            problems.update(dict.fromkeys(found))
            unsure = f"; or {shlex.quote(binary)} takes it itself, as a script may"
            doubted = self._problems(document, judged.doubted)
            warnings.update((replace(one, message=clean(f"{one.message}{unsure}")), None) for one in doubted)
            if found:
                blocked[document.name] = f"{found[0].field}: {found[0].message}"
        return Checked(_ordered(problems), _ordered(warnings), blocked, "; ".join(_notes(silent, foreign)))

    def _judged(self, spec: ServerSpec, binary: str) -> "Judged | None":
        # What the manifest sets is left out: it could have the program load another one's code.
        inherited = {name: value for name, value in os.environ.items() if engine_of(spec).inherits(name)}
        return self._gate.judged(spec, binary, inherited)

    def _problems(self, document: Document, refusals: Iterable[Refusal]) -> list[Problem]:
        return [self._problem(document, place, message) for place, message in refusals]

    def _problem(self, document: Document, place: Sequence[str | int], message: str) -> Problem:
        """Where the value is written: in the server's own document, or in defaults that it takes over."""
        path = ("spec", *place)
        told = Problem(document.file, message, reason="InvalidFlag", field=_dotted(path), kind=document.kind)
        defaults = self._defaults.get(_source(document, path))
        if defaults is None:
            line, column = self._files[document.file].place(document, path)
            return replace(told, line=line, column=column, server=document.name)
        path = ("spec", "template", *path[1:])
        line, column = self._files[defaults.file].place(defaults, path)
        told = replace(told, file=defaults.file, server=defaults.name, kind=defaults.kind, field=_dotted(path))
        return replace(told, line=line, column=column)


def _ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda one: (one.file, one.line, one.column, one.message)))


def _source(document: Document, path: Sequence[str | int]) -> str:
    """The defaults that a value comes from, whole or as a part of what is merged."""
    from_defaults = (document.came_from.get(_dotted(path[:length])) for length in range(len(path), 1, -1))
    return next((name for name in from_defaults if name), "")


def _dotted(path: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in path)


def _notes(silent: Sequence[str], foreign: Sequence[str]) -> Iterator[str]:
    if silent:
        yield f"flags of {_few(silent)} were not checked: what the llama-server prints for --help could not be had"
    if foreign:
        yield f"flags of {_few(foreign)} were not checked: `binary` is not listed under `binaries` in the settings"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
