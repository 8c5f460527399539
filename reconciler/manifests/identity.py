"""Who a document is about, however broken the rest of it is: so that its error reaches that one."""

import re
from typing import Any

from ruamel.yaml.nodes import Node

from reconciler.manifests.nodes import compose, written
from reconciler.manifests.text import is_blank, lines


def identify(text: str) -> tuple[str, str]:
    """Kind and name of one document's text, however broken the rest; empty where they cannot be read."""
    try:
        root = compose(text)
        return identity(root) if root else ("", "")
    except Exception:  # noqa: BLE001 - ruamel raises far more than it declares
        return guess(text)


def identity(root: Node) -> tuple[str, str]:
    """Kind and name as far as they are written; empty where not."""
    return _presentable(written(root, "kind")), _presentable(written(root, "metadata", "name"))


def labels_of(data: Any) -> dict[str, str] | None:
    """The labels as far as they are what labels may be; None where it cannot be told whether there are any."""
    found = data
    for key in ("metadata", "labels"):
        if not isinstance(found, dict):
            return None
        found = found.get(key, {})
    return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else None


def _presentable(word: str) -> str:
    return word if len(word) <= 253 and word.isprintable() else ""


def guess(text: str) -> tuple[str, str]:
    """Kind and name of a text that is no YAML, so that its error reaches the server it is about."""
    kind = name = ""
    in_metadata = False
    for line in lines(text):
        field, _, value = line.strip().partition(":")
        value = value.partition("#")[0].strip(" \t\"'")
        if in_metadata and line[0] in " \t" and field == "name":
            name = name or value
        elif not is_blank(line) and line[0] not in " \t":
            in_metadata = field == "metadata"
            if in_metadata and (flow := re.search(r"\bname:[ \t]*[\"']?([^\s\"',}]+)", value)):
                name = name or flow[1]
            kind = value if field == "kind" else kind
    return _presentable(kind), _presentable(name)
