"""The JSON Schemas of manifests, for editors: `python -m reconciler.manifests.schema` writes them anew."""

import json
from pathlib import Path
from typing import Any

from reconciler.core.durations import format_duration
from reconciler.manifests.described import described_schema
from reconciler.manifests.field_reader import fields_file
from reconciler.manifests.parse import KINDS

FOLDER = Path("docs/schema")
"""Where they are kept, from the top of the checkout."""
FILE = FOLDER / "llamaserver.json"
"""That of servers."""
FIELDS = Path("reconciler/manifests/fields.json")
"""And what `explain` tells of it."""
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(kind: str = "LlamaServer") -> dict[str, Any]:
    """What the model of a kind accepts, as JSON Schema (draft 2020-12)."""
    schema = described_schema(KINDS[kind])
    definitions = schema.pop("$defs")
    for node in (schema, *definitions.values()):
        _tidy(node)
    return {"$schema": _DIALECT, "$id": file_of(kind).name, **schema, "$defs": definitions}


def file_of(kind: str) -> Path:
    """Where the schema of a kind is kept."""
    return FOLDER / f"{kind.lower()}.json"


def _tidy(node: dict[str, Any]) -> None:
    """Drops the titles made from field names, writes default durations as people do, closes maps with patterns."""
    for field in node["properties"].values():
        field.pop("title", None)
        if "ms|s" in field.get("pattern", "") and isinstance(field.get("default"), float):
            field["default"] = format_duration(field["default"])
        if "patternProperties" in field:
            field["additionalProperties"] = False


def main() -> None:
    """Writes the schemas, and what `explain` tells of it, below the working folder."""
    for folder in (FOLDER, FIELDS.parent):
        folder.mkdir(parents=True, exist_ok=True)
    FIELDS.write_text(fields_file(), encoding="utf-8")
    for kind in KINDS:
        text = json.dumps(json_schema(kind), indent=2, ensure_ascii=False) + "\n"
        file_of(kind).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
