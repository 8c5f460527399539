"""The JSON Schema of manifests, for editors: `python -m reconciler.manifests.schema` writes it anew."""

import json
from pathlib import Path
from typing import Any

from reconciler.core.durations import format_duration
from reconciler.core.spec import LlamaServer

FILE = Path("docs/schema/llamaserver.json")
"""Where it is kept, from the top of the checkout."""
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """What the models accept, as JSON Schema (draft 2020-12)."""
    schema = LlamaServer.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs")
    for node in (schema, *definitions.values()):
        _tidy(node)
    return {"$schema": _DIALECT, "$id": FILE.name, **schema, "$defs": definitions}


def _tidy(node: dict[str, Any]) -> None:
    """Drops the titles made from field names, writes default durations as people do, closes maps with patterns."""
    for field in node["properties"].values():
        field.pop("title", None)
        if "ms|s" in field.get("pattern", "") and isinstance(field.get("default"), float):
            field["default"] = format_duration(field["default"])
        if "patternProperties" in field:
            field["additionalProperties"] = False


def main() -> None:
    """Writes the schema below the working folder."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
