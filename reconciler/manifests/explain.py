"""What is wrong with a manifest's values, in words: pydantic's errors, folded to one short message for each field."""

import difflib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from reconciler.core.kinds import OWN_TO_EACH
from reconciler.manifests.expected import PATTERNS, schemas, words
from reconciler.manifests.nodes import Path, short

_ENGINES = {
    "vllm": "vllm is not supported: llama-server is the only engine yet",
    "ollama": "ollama has its own service, which starts and restarts its models: llama-server is the only engine yet",
}
_OF_METADATA = ("name", "labels", "annotations")
_SECRET_WORDS = ("key", "token", "secret", "password")


@dataclass(frozen=True, slots=True)
class Fault:
    """One error: where in the document's data, and what."""

    path: Path
    message: str
    at_key: bool = False
    """The key is meant, not the value."""


@dataclass(frozen=True, slots=True)
class _Raw:
    """One of pydantic's errors, its location parted into the data's path and the unions it went through."""

    path: Path
    unions: tuple[tuple[Path, str], ...]
    """Of each union passed: its path, and the member that was tried."""
    error: ErrorDetails
    is_key: bool = False


def explain(model: type[BaseModel], refusal: ValidationError, data: Any) -> list[Fault]:
    """One fault for each field that is wrong."""
    raws = [_part(error, data) for error in refusal.errors(include_url=False, include_context=True)]
    faults = {(fault.path, fault.at_key): fault for fault in _fold(model, raws, data, 0)}
    meant = {(*fault.path[:-1], _closest(model, fault.path)) for fault in faults.values() if fault.at_key}
    return [fault for fault in faults.values() if fault.at_key or fault.path not in meant or _has(data, fault.path)]


def _part(error: ErrorDetails, data: Any) -> _Raw:
    path: list[str | int] = []
    unions: list[tuple[Path, str]] = []
    location = error["loc"]
    for index, part in enumerate(location):
        if part == "[key]":
            return _Raw(tuple(path), tuple(unions), error, is_key=True)
        if _holds(data, part):
            path.append(part)
            data = data[part]
        elif index == len(location) - 1 and error["type"] == "missing":
            path.append(part)
        else:
            unions.append((tuple(path), str(part)))
    return _Raw(tuple(path), tuple(unions), error)


def _holds(data: Any, part: str | int) -> bool:
    if isinstance(data, dict):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)


def _has(data: Any, path: Path) -> bool:
    for part in path:
        if not _holds(data, part):
            return False
        data = data[part]
    return True


def _fold(model: type[BaseModel], raws: Iterable[_Raw], data: Any, level: int) -> Iterable[Fault]:
    """Faults of errors that agree on their first `level` unions."""
    unions: dict[Path, dict[str, list[_Raw]]] = defaultdict(lambda: defaultdict(list))
    for raw in raws:
        if len(raw.unions) <= level:
            yield _fault(model, raw)
        else:
            path, member = raw.unions[level]
            unions[path][member].append(raw)
    for path, members in unions.items():
        if chosen := _meant(path, members):
            yield from _fold(model, chosen, data, level + 1)
        else:
            yield Fault(path, _expected(model, path, _value(data, path)))


def _meant(path: Path, members: Mapping[str, list[_Raw]]) -> list[_Raw] | None:
    """Errors of the one member of a union that was meant: whose shape fits, and with the fewest errors."""
    fitting = sorted((raws for raws in members.values() if all(len(raw.path) > len(path) for raw in raws)), key=len)
    if not fitting or (len(fitting) > 1 and len(fitting[0]) == len(fitting[1])):
        return None
    return fitting[0]


def _value(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def _fault(model: type[BaseModel], raw: _Raw) -> Fault:
    error, path = raw.error, raw.path
    if raw.is_key:
        return Fault(path, _about_key(error), at_key=True)
    if error["type"] == "extra_forbidden":
        return Fault(path, f"unknown field{_hint(model, path)}", at_key=True)
    if error["type"] == "missing":
        return Fault(path, f"missing: expected {words(model, path, None)}")
    if path == ("spec", "engine") and str(error["input"]).lower() in _ENGINES:
        return Fault(path, _ENGINES[str(error["input"]).lower()])
    if error["type"] == "value_error":
        return Fault(path, f"{error['ctx']['error']}, got {_got(path, error['input'])}")
    return Fault(path, _expected(model, path, error["input"]))


def _about_key(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    if "max_length" in context:
        return f"the key is longer than {context['max_length']} characters"
    return f"expected {PATTERNS.get(context.get('pattern', ''), 'another key')} as key"


def _hint(model: type[BaseModel], path: Path) -> str:
    if closest := _closest(model, path):
        return f", did you mean '{closest}'?"
    if path[:-1] in ((), ("metadata",)) and (closest := _closest(model, ("spec", path[-1]))):
        return f", did you mean 'spec.{closest}'?"
    if path[:-1] == ("spec", "template") and path[-1] in OWN_TO_EACH:
        return ": each server has its own, so it is written in the server's document"
    if path[:-1] == ("spec",) and path[-1] in _OF_METADATA:
        return f", did you mean 'metadata.{path[-1]}'?"
    if path[:-1] == ("spec",):
        return " (llama-server's own flags go under spec.flags)"
    return ""


def _closest(model: type[BaseModel], path: Path) -> str:
    names = [name for node in schemas(model, path[:-1]) for name in node.get("properties", {})]
    return closest(str(path[-1]), names)


def closest(word: str, names: Sequence[str]) -> str:
    """The name most like a word, with no regard to case, `_` and `-`; empty when none is."""
    plain = {name.lower(): name for name in names}
    wanted = word[:100].lower().replace("_", "").replace("-", "")
    found = difflib.get_close_matches(wanted, plain, 1, 0.6)
    return plain[found[0]] if found else ""


def _expected(model: type[BaseModel], path: Path, value: Any) -> str:
    return f"expected {words(model, path, value)}, got {_got(path, value)}"


def _got(path: Path, value: Any) -> str:
    if isinstance(value, int | float | str) and _is_secret(path):
        return {str: "another text", bool: "true or false"}.get(type(value), "a number")
    return got(value)


def got(value: object) -> str:
    """A value in words."""
    if value is None:
        return "nothing"
    if isinstance(value, list | dict):
        kind = "list" if isinstance(value, list) else "mapping"
        return f"a {kind}" if value else f"an empty {kind}"
    return short(value) if isinstance(value, str) else short(str(value).lower(), quote="")


def _is_secret(path: Path) -> bool:
    path = ("spec", *path[2:]) if path[:2] == ("spec", "template") else path
    if path[:2] == ("spec", "env"):
        return True
    return path[:2] == ("spec", "flags") and any(word in str(path[2:]).lower() for word in _SECRET_WORDS)
