"""What a manifest's models expect at a place, in words, read off their JSON Schema."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel

from reconciler.core.spec import NAME_PATTERN
from reconciler.manifests.nodes import Path

_LINE_PATTERN = r"^[^\x00-\x1f\x7f]*$"
_VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
PATTERNS = {
    NAME_PATTERN: "a name of at most 63 lower-case letters, digits and '-'",
    _VARIABLE_PATTERN: "a variable's name (letters, digits and '_')",
    _LINE_PATTERN: "a line of text",
    r"^[\w.-]+/[\w.-]+(:[\w.-]+)?$": "user/repo or user/repo:quant",
    r"^(\d+(\.\d+)?(ms|s|m|h))+$": "a duration such as 500ms, 10s, 5m or 1h",
}


@cache
def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON Schema, with the names as in YAML; made once, and not to be changed."""
    return model.model_json_schema(by_alias=True)


def schemas(model: type[BaseModel], path: Path) -> list[dict[str, Any]]:
    """The schemas that may stand at a path, without references and unions."""
    root = schema_of(model)
    found = _members(root, root)
    for part in path:
        found = [member for node in found for below in _below(node, part) for member in _members(root, below)]
    return found


def _members(root: Mapping[str, Any], node: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in node:
        return _members(root, root["$defs"][node["$ref"].rpartition("/")[2]])
    if "anyOf" in node:
        return [member for choice in node["anyOf"] for member in _members(root, choice)]
    return [dict(node)]


def _below(node: Mapping[str, Any], part: str | int) -> list[Any]:
    if isinstance(part, int):
        return [node["items"]] if "items" in node else []
    if part in node.get("properties", {}):
        return [node["properties"][part]]
    others = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    return [other for other in others if isinstance(other, dict)]


def words(model: type[BaseModel], path: Path, value: Any) -> str:
    """What may stand at a path, for somebody who wrote `value` there."""
    found = (choice for node in schemas(model, path) for choice in _choices(node))
    choices = list(dict.fromkeys(found)) or ["another value"]
    if isinstance(value, float):
        choices = [word.replace("a number", "a whole number") for word in choices]
    return either(choices)


def either(words: Sequence[str]) -> str:
    """Choices as one says them."""
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _choices(node: Mapping[str, Any]) -> list[str]:
    literals = node.get("enum") or ([node["const"]] if "const" in node else [])
    describe = _TYPES.get(node.get("type", ""))
    return [f"'{literal}'" for literal in literals] or ([describe(node)] if describe else [])


def _number(node: Mapping[str, Any]) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is None or high is None:
        return "a number"
    return f"a number from {low} to {high}" if high < 2**31 - 1 else f"a number of at least {low}"


def _text(node: Mapping[str, Any]) -> str:
    word = PATTERNS.get(node.get("pattern", ""), "text")
    return word.replace("a line", "a non-empty line") if node.get("minLength") else word


def _object(node: Mapping[str, Any]) -> str:
    properties = list(node.get("properties", {}))
    return f"{{{properties[0]}: …}}" if len(properties) == 1 else "a mapping"


_TYPES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "integer": _number,
    "number": _number,
    "string": _text,
    "object": _object,
    "boolean": lambda _: "true or false",
    "array": lambda _: "a list",
}
