"""The fields of manifests, read off the models' JSON Schema, for `explain`."""

import json
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML

from reconciler.core.durations import format_duration
from reconciler.manifests.described import described_schema
from reconciler.manifests.expected import words
from reconciler.manifests.fields import Field
from reconciler.manifests.parse import KINDS

_MOST_LEVELS = 8


def fields_of(model: type[BaseModel]) -> Field:
    """The whole manifest as a field without a name."""
    return _Reader(model).field((), described_schema(model), is_required=True)


def fields_file() -> str:
    """What the file of fields holds: of each field what is not as usual."""
    told = {kind: _told(fields_of(model)) for kind, model in KINDS.items()}
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def _told(field: Field) -> dict[str, Any]:
    about = {"is_required": field.is_required, "default": field.default, "examples": list(field.examples)}
    about |= {"shown": field.shown, "is_free": field.is_free, "below": {one.name: _told(one) for one in field.below}}
    unusual = {key: value for key, value in about.items() if value not in (None, [], "", {}) and value is not False}
    if field.default is False:
        unusual["default"] = False
    return {"value": field.value, "meaning": field.meaning, **unusual}


class _Reader:
    """Reads the schema of one kind."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._model = model
        self._root = described_schema(model)

    def field(self, path: tuple[str, ...], node: Mapping[str, Any], *, is_required: bool) -> Field:
        members = [self._resolved(choice) for choice in node.get("anyOf", (node,))]
        members = [member for member in members if member.get("type") != "null"]
        section = next((member for member in members if "properties" in member), {})
        below = self._below(path, section) if len(path) < _MOST_LEVELS else ()
        meaning = str(node.get("description") or section.get("description", ""))
        default = None if below and len(members) == 1 else _default(node)
        examples = () if below and len(members) == 1 else _examples(node, members, default)
        is_free = any("patternProperties" in one or _is_open(one) for one in members)
        text = self._words(path, is_free=is_free)
        shown = _nested(path, examples[0]) if examples else ""
        return Field(path, text, " ".join(meaning.split()), is_required, default, examples, shown, below, is_free)

    def _words(self, path: tuple[str, ...], *, is_free: bool) -> str:
        text = words(self._model, path, None).partition(" such as ")[0]
        if is_free:
            return f"{text}; each value: {words(self._model, (*path, 'A'), None)}"
        return f"{text}; each: {words(self._model, (*path, 0), None)}" if text == "a list" else text

    def _below(self, path: tuple[str, ...], section: Mapping[str, Any]) -> tuple[Field, ...]:
        required = section.get("required", ())
        return tuple(
            self.field((*path, name), node, is_required=name in required)
            for name, node in section.get("properties", {}).items()
        )

    def _resolved(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in node:
            return node
        found: Mapping[str, Any] = self._root["$defs"][node["$ref"].rpartition("/")[2]]
        return found


def _is_open(node: Mapping[str, Any]) -> bool:
    return isinstance(node.get("additionalProperties"), Mapping)


def _default(node: Mapping[str, Any]) -> Any:
    value = node.get("default")
    if isinstance(value, float) and node.get("type") == "string":
        return format_duration(value)
    return None if value in ("", [], {}) else value


def _examples(node: Mapping[str, Any], members: Sequence[Mapping[str, Any]], default: Any) -> tuple[Any, ...]:
    """Those of the schema; of a choice all, the default last."""
    if written := node.get("examples"):
        return tuple(sorted(written, key=lambda one: one == default))
    choices = [choice for member in members for choice in _choices(member)]
    return tuple(sorted(choices, key=lambda one: one == default))


def _choices(node: Mapping[str, Any]) -> Sequence[Any]:
    if node.get("type") == "boolean":
        return (True, False)
    return node.get("enum") or ([node["const"]] if "const" in node else node.get("examples", ()))


def _nested(path: Sequence[str], example: Any) -> str:
    """An example as it stands in a manifest."""
    for name in reversed(path):
        example = {name: example}
    text = StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.dump(example, text)
    return text.getvalue().rstrip("\n")
