"""Documents of `LlamaServerDefaults` as rows of a table."""

from collections.abc import Mapping
from typing import Any

from reconciler.cli.servers import NOTHING
from reconciler.cli.tables import Table
from reconciler.cli.terminal import width

HEADERS = ("NAME", "SELECTOR", "SERVERS", "SETS", "MESSAGE")
WIDE = ("NAME", "SELECTOR", "SERVERS", "SETS", "GENERATION", "SOURCE", "SELECTED", "MESSAGE")
_GIVES_WAY = (("MESSAGE", 20), ("SETS", 12), ("SELECTOR", 12), ("MESSAGE", 0), ("SETS", 4), ("NAME", 8))
NO_DEFAULTS = "no LlamaServerDefaults are declared; see what they may say with: reconciler explain defaults"
EVERY = "all servers"

Item = Mapping[str, Any]


def defaults_table(*, wide: bool = False) -> Table:
    """An empty table of defaults; a wide one is never cut."""
    return Table(WIDE, width=None) if wide else Table(HEADERS, width=width(), gives_way=_GIVES_WAY)


def defaults_row(item: Item, *, wide: bool = False) -> list[str]:
    """The cells of one."""
    metadata, status = item["metadata"], item["status"]
    source = metadata["source"]
    more = (
        str(metadata["generation"]),
        f"{source['file']}:{source['line']}",
        ",".join(status["selected"]) or NOTHING,
    )
    return [
        metadata["name"],
        _selector(item["spec"]),
        str(status["total"]),
        ",".join(item["spec"].get("template", ())) or NOTHING,
        *(more if wide else ()),
        "; ".join([*status["problems"][:1], *([status["held"]] if status["held"] else [])]),
    ]


def _selector(spec: Item) -> str:
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in labels.items()) or EVERY
