"""One YAML document as a graph of nodes: bounded in size, without surprises, and each with its place."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from reconciler.core.clean import escaped

DEEPEST = 32
"""Most levels of nesting in a document."""
MOST = 10_000
"""Most values in a document, each alias counted as often as it is used."""
_CORE = "tag:yaml.org,2002:"
_SURROGATE = re.compile("[\ud800-\udfff]")
_LARGEST = 2**63

Path = tuple[str | int, ...]


class NodeError(Exception):
    """Something in the document is refused.

    `line` and `column` count from 0 at the document's beginning.
    """

    def __init__(self, node: Any, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.line: int = node.start_mark.line
        self.column: int = node.start_mark.column


class _Bounded(Composer):
    """Composes with bounds, so that a few bytes of aliases cannot become millions of values.

    A node's expanded size is known from its children's as soon as it is complete, and an alias to a node that is
    not yet complete is one to its own ancestor.
    """

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader=loader)
        self.warn_double_anchors = False
        self._begun = self._level = 0
        self._measures: dict[int, tuple[int, int]] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node, refused beyond the bounds."""
        event = self.parser.peek_event()
        self._begun += 1
        if self._begun > MOST or self._level >= DEEPEST:
            raise NodeError(event, _too_large(many=self._begun > MOST))
        self._level += 1
        node = super().compose_node(parent, index)
        self._level -= 1
        if not isinstance(event, AliasEvent):
            self._measures[id(node)] = self._measure(node)
        elif id(node) not in self._measures:
            raise NodeError(event, "the alias stands inside of what it refers to")
        return node

    def _measure(self, node: Node) -> tuple[int, int]:
        below = [self._measures[id(child)] for child in _children(node)]
        size = 1 + sum(size for size, _ in below)
        depth = 1 + max((depth for _, depth in below), default=0)
        if size > MOST or depth > DEEPEST:
            raise NodeError(node, _too_large(many=size > MOST))
        return size, depth


def _too_large(*, many: bool) -> str:
    if many:
        return f"more than {MOST} values in one document, counting each use of an alias"
    return f"nested deeper than {DEEPEST} levels"


def _children(node: Node) -> Iterator[Node]:
    if isinstance(node, SequenceNode):
        yield from node.value
    elif isinstance(node, MappingNode):
        for pair in node.value:
            yield from pair


def compose(text: str) -> Node | None:
    """The root node of a document; None for an empty one.

    Raises NodeError beyond the bounds, ruamel's MarkedYAMLError for what is no YAML, and, for some broken input,
    whatever else ruamel stumbles over.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _Bounded
    try:
        root: Node | None = yaml.compose(text)
    finally:
        # Its parts refer to one another: taken apart they are gone now, and not when garbage is collected.
        vars(yaml).clear()
    return root


def entries(node: MappingNode) -> dict[str, tuple[ScalarNode, Node]]:
    """The key and value nodes of a mapping, with merged ones (`<<`) behind its own.

    Raises NodeError for a key that is no text or is there twice, and for a `<<` without a mapping.
    """
    own: dict[str, tuple[ScalarNode, Node]] = {}
    merged: dict[str, tuple[ScalarNode, Node]] = {}
    for key, value in node.value:
        if _is_merge(key):
            for name, entry in _merged(value):
                merged.setdefault(name, entry)
            continue
        name = _key(key)
        if name in own:
            raise NodeError(key, f"the key {short(name)} is here twice")
        own[name] = (key, value)
    return merged | own if merged else own


def _is_merge(key: Node) -> bool:
    return isinstance(key, ScalarNode) and key.style is None and key.value == "<<"


def _merged(value: Node) -> Iterator[tuple[str, tuple[ScalarNode, Node]]]:
    for node in value.value if isinstance(value, SequenceNode) else [value]:
        if not isinstance(node, MappingNode):
            raise NodeError(node, "'<<' takes a mapping, or a list of mappings")
        yield from entries(node).items()


def _key(node: Node) -> str:
    name = _scalar(node) if isinstance(node, ScalarNode) else None
    if not isinstance(name, str):
        raise NodeError(node, "a key must be text: put it in quotes")
    return name


def plain(node: Node) -> Any:
    """The value of a node: dict, list, str, int, float, bool or None.

    Raises NodeError for what a manifest cannot hold.
    """
    if isinstance(node, ScalarNode):
        return _scalar(node)
    _check_tag(node, "map" if isinstance(node, MappingNode) else "seq")
    if isinstance(node, MappingNode):
        return {name: plain(value) for name, (_, value) in entries(node).items()}
    return [plain(child) for child in node.value]


def _check_tag(node: Node, *allowed: str) -> str:
    tag = str(node.tag)
    name = tag.removeprefix(_CORE)
    if name == tag or name not in allowed:
        raise NodeError(node, "unknown tag: remove it, or put the text in quotes if it begins with '!'")
    return name


def _scalar(node: ScalarNode) -> Any:
    kind = _check_tag(node, "str", "int", "float", "bool", "null", "timestamp", "merge", "value")
    if kind == "timestamp":
        raise NodeError(node, "this reads as a date: put it in quotes")
    if kind == "null":
        return None
    if kind == "bool":
        return _boolean(node)
    if kind in ("int", "float"):
        return _number(node, kind)
    if _SURROGATE.search(node.value):
        raise NodeError(node, "half of a surrogate pair is no character")
    return str(node.value)


def _boolean(node: ScalarNode) -> bool:
    if node.value.lower() not in ("true", "false"):
        raise NodeError(node, "expected true or false")
    return bool(node.value.lower() == "true")


def _number(node: ScalarNode, kind: str) -> int | float:
    written = node.value.replace("_", "")
    try:
        value = _integer(written) if kind == "int" else float(written)
    except (ValueError, OverflowError):
        raise NodeError(node, "this reads as a number, and is none: put it in quotes") from None
    if not math.isfinite(value) or abs(value) >= _LARGEST:
        raise NodeError(node, "the number is too large: write a smaller one, or text in quotes")
    return value


def _integer(written: str) -> int:
    """YAML 1.2: 0x, 0o and 0b; any other leading zero means nothing."""
    unsigned = written.lstrip("+-")
    base = {"0x": 16, "0o": 8, "0b": 2}.get(unsigned[:2].lower(), 10)
    return int(written, base)


def written(root: Node, *path: str) -> str:
    """The text at a path, however broken the rest; empty when there is none."""
    node = root
    for part in path:
        pairs = node.value if isinstance(node, MappingNode) else []
        found = [value for key, value in pairs if isinstance(key, ScalarNode) and key.value == part]
        if not found:
            return ""
        node = found[0]
    return str(node.value) if isinstance(node, ScalarNode) and str(node.tag) == f"{_CORE}str" else ""


def locate(root: Node, path: Sequence[str | int], *, at_key: bool = False) -> tuple[int, int]:
    """Line and column (from 0) of the value at a path, or of its key; of the nearest parent when it is not there."""
    node = root
    mark = root.start_mark
    for part in path:
        if isinstance(node, MappingNode) and (entry := entries(node).get(str(part))):
            key, node = entry
            # A value that was left out would be placed at whatever follows.
            mark = (key if at_key or node.start_mark.index == node.end_mark.index else node).start_mark
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            mark = node.start_mark
        else:
            return node.start_mark.line, node.start_mark.column
    return mark.line, mark.column


def short(text: str, quote: str = "'") -> str:
    """A text for a message: on one line, printable, at most 40 characters."""
    cut = text if len(text) <= 40 else text[:39] + "…"
    return f"{quote}{escaped(cut)}{quote}"
