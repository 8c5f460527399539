"""JSON Schemas with what the models' attribute docstrings say.

Pydantic can do that itself, at the price of parsing all sources at every start, whether anybody asks or not.
"""

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from reconciler.core.kinds import Template
from reconciler.core.spec import ServerSpec


def described_schema(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON Schema with the names as in YAML; each field with its meaning."""
    return model.model_json_schema(by_alias=True, schema_generator=_Described)


class _Described(GenerateJsonSchema):
    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Put the meanings into pydantic's own."""
        made, model = super().model_schema(schema), schema["cls"]
        for name, field in model.model_fields.items():
            place = made.get("properties", {}).get(field.alias or name)
            meaning = _meaning(model, name)
            if place is not None and meaning:
                place.setdefault("description", meaning)
        return made


def _meaning(model: type[BaseModel], field: str) -> str:
    copied = (ServerSpec,) if model is Template else ()
    found = (_meanings(one.__module__).get((one.__name__, field), "") for one in (*model.__mro__, *copied))
    return next((meaning for meaning in found if meaning), "")


@cache
def _meanings(module: str) -> dict[tuple[str, str], str]:
    """By class and attribute."""
    if not module.startswith("reconciler."):
        return {}
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {
        (node.name, name): text
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for name, text in _documented(node)
    }


def _documented(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for attribute, behind in pairwise(node.body):
        if isinstance(attribute, ast.AnnAssign) and isinstance(attribute.target, ast.Name):
            match behind:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield attribute.target.id, inspect.cleandoc(text)
