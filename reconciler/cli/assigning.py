"""`ctx=8192`, `metadata.labels.team=search`: fields and values as people type them on a command line."""

import shlex
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from ruamel.yaml.error import YAMLError

from reconciler.cli.failure import BAD_INPUT, Failure
from reconciler.cli.targets import KINDS as _WORDS
from reconciler.cli.targets import Target
from reconciler.manifests import field_paths
from reconciler.manifests.changing import Change, EditError
from reconciler.manifests.expected import schemas
from reconciler.manifests.explain import closest
from reconciler.manifests.field_paths import meant
from reconciler.manifests.nodes import NodeError, Path, compose, plain
from reconciler.manifests.parse import KINDS

_BRACKETS = ("{", "[", '"', "'")
"""What text that is meant as YAML, and not as it stands, begins with."""


def assignments_of(texts: Sequence[str], target: Target) -> list[Change]:
    """Fields and values of a document that is to be changed. Raises Failure, with what to type instead."""
    for text, following in zip_longest(texts, texts[1:], fillvalue=""):
        if "=" in text:
            continue
        if following and "=" not in following:
            hint = f"give it as: reconciler set {target.shortest} {shlex.quote(f'{text}={following}')}"
        else:
            field = shlex.quote(text)
            hint = f"give it as: reconciler set {target.shortest} {field}=VALUE"
            hint += f", or take it out with: reconciler unset {target.shortest} {field}"
        raise Failure(f"'{text}' has no value", hint, exit_code=BAD_INPUT)
    return [assignment_of(text, target.kind, target.shortest) for text in texts]


def assignment_of(text: str, kind: str, name: str = "") -> Change:
    """The place and the value of `path=value`; `name`: of what is there already. Raises Failure."""
    field, equals, value = text.partition("=")
    if not equals:
        raise Failure(f"'{text}' has no value", f"give it as {text}=VALUE", exit_code=BAD_INPUT)
    path = meant(path_of(field))
    return path, value_of(value, path, kind, name)


def refuse_unknown(paths: Iterable[Path], kind: str) -> None:
    """Raise Failure for a field that no document of the kind has."""
    for path in paths:
        known = next(end for end in range(len(path), -1, -1) if schemas(KINDS[kind], path[:end]))
        if known == len(path):
            continue
        names = [name for node in schemas(KINDS[kind], path[:known]) for name in node.get("properties", {})]
        near = closest(str(path[known]), names)
        meant = (*path[:known], near) if near else ("metadata", *path[1:])
        is_field = bool(schemas(KINDS[kind], meant))
        message = f"no field '{_dotted(path)}'{f', did you mean {_dotted(meant)!r}?' if is_field else ''}"
        raise Failure(message, f"see which there are with: reconciler explain {_WORDS[kind]}.spec", exit_code=BAD_INPUT)


def path_of(text: str) -> Path:
    """The place of a field: below `spec` unless it says `metadata`. Raises Failure."""
    try:
        return field_paths.path_of(text)
    except EditError as error:
        raise Failure(error.message, error.remedy, exit_code=BAD_INPUT) from None


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))


def value_of(text: str, path: Path, kind: str, name: str = "") -> Any:
    """The value as YAML reads it; text where only text may stand, however it looks. Raises Failure.

    `name`: of the document that has the field, for what is said; empty for one that is new.
    """
    types = _types(kind, path)
    if types == {"string"}:
        return _quoted(text)
    if not text:
        field = _dotted(path)
        hint = f"take it out with: reconciler unset {name} {field}" if name else "leave it out"
        hint += f", or give '' in quotes of its own: {field}=\"''\""
        raise Failure(f"'{field}=' has no value", hint, exit_code=BAD_INPUT)
    value = _read(text)
    if isinstance(value, (dict, list)) or "string" not in types or types.intersection(_TYPES[type(value)]):
        return value
    # A number where a name may stand, such as an alias of the model.
    return text


_TYPES: dict[type, tuple[str, ...]] = {
    bool: ("boolean",),
    int: ("integer", "number"),
    float: ("number",),
    str: ("string",),
    type(None): ("null",),
}


def _types(kind: str, path: Path) -> set[str]:
    """What JSON types may stand there."""
    return {str(node.get("type", "")) for node in schemas(KINDS[kind], path)} if kind in KINDS else set()


def _quoted(text: str) -> str:
    """Text as it stands, unless it is in quotes of its own."""
    value = _read(text) if text.startswith(('"', "'")) else text
    return value if isinstance(value, str) else text


def _read(text: str) -> Any:
    """One value. Only what begins like a mapping, a list or quotes may hold YAML's signs."""
    is_meant = text.lstrip().startswith(_BRACKETS)
    try:
        root = compose(text)
        value = None if root is None else plain(root)
    except (YAMLError, NodeError, ValueError) as error:
        if is_meant:
            message = f"{text} cannot be read: {_first_line(error)}"
            raise Failure(message, "put the whole in quotes for the shell", exit_code=BAD_INPUT) from None
        return text
    if is_meant or (isinstance(value, (bool, int, float, type(None))) and "#" not in text):
        return value
    return text


def _first_line(error: Exception) -> str:
    found = getattr(error, "problem", None) or getattr(error, "message", None) or str(error)
    return str(found).partition("\n")[0]
