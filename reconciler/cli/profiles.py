"""Profiles as rows of a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.cli.servers import NOTHING
from reconciler.cli.tables import Table
from reconciler.cli.terminal import width

HEADERS = ("NAME", "ACTIVE", "READY", "SWITCH", "SERVERS", "MESSAGE")
WIDE = ("NAME", "ACTIVE", "READY", "SWITCH", "SERVERS", "GENERATION", "SOURCE", "MESSAGE")
NO_PROFILES = "no profiles are declared, so all servers are to run; see how with: reconciler explain profile"
ALL_RUN = "none is active: all servers are to run"
_GIVES_WAY = (("MESSAGE", 20), ("SERVERS", 12), ("MESSAGE", 8), ("SWITCH", 0), ("SERVERS", 0), ("NAME", 8))

Item = Mapping[str, Any]


def profile_table(*, wide: bool = False) -> Table:
    """An empty table of profiles; a wide one is never cut."""
    return Table(WIDE, width=None) if wide else Table(HEADERS, width=width(), gives_way=_GIVES_WAY)


def profile_row(item: Item, *, wide: bool = False) -> list[str]:
    """The cells of one."""
    metadata, status = item["metadata"], item["status"]
    source = metadata["source"]
    more = (str(metadata["generation"]), f"{source['file']}:{source['line']}")
    return [
        metadata["name"],
        _active(item),
        f"{status['ready']}/{status['total']}",
        status["switch"],
        ",".join(status["selected"]) or NOTHING,
        *(more if wide else ()),
        "; ".join([*([status["held"]] if status["held"] else []), *status["problems"][:1]]),
    ]


def profile_summary(items: Sequence[Item]) -> str:
    """What is to run where that is not seen in a row."""
    return "" if any(_active(item) != NOTHING for item in items) else ALL_RUN


def _active(item: Item) -> str:
    if item["status"]["active"]:
        return "yes"
    return "not yet" if item["spec"].get("active") else NOTHING
