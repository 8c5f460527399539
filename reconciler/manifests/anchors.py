"""Anchors out of the way of a change: what others refer to stays what it is for them."""

from typing import Any

from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from reconciler.manifests import emit
from reconciler.manifests.nodes import Path, compose, plain
from reconciler.manifests.outline import Spot, outline
from reconciler.manifests.page import Page


def released(text: str, at: Path, *, removed: bool) -> str:
    """The text with the same data, in which nothing outside refers to what a change at `at` concerns.

    Where a node is used again that is changed, or goes, its first use becomes its definition. Each step leaves one use
    less.
    """
    while pair := _referred(outline(text), at, removed=removed):
        text = _moved(text, *pair)
    return text


def _referred(root: Spot, at: Path, *, removed: bool) -> tuple[Spot, Spot] | None:
    """A node that the change concerns, and its first use outside."""
    uses = [spot for spot in root.walk() if spot.kind == "alias"]
    way, gone = _concerned(root, at, removed=removed)
    inside = {id(spot) for spot in gone}
    for spot in (*way, *gone):
        for use in uses:
            if use.target is spot and id(use) not in inside:
                return spot, use
    return None


def _concerned(root: Spot, at: Path, *, removed: bool) -> tuple[list[Spot], list[Spot]]:
    """The nodes that hold the place, and those that are written there and will no longer be."""
    way, spot = [root], root
    for depth, part in enumerate(at, 1):
        entry = spot.own(part)
        if entry is None:
            break
        spot = entry.value
        if depth == len(at):
            return way, list(entry.walk() if removed else spot.walk())
        way.append(spot)
    return way, []


def _moved(text: str, spot: Spot, use: Spot) -> str:
    page = Page(text)
    sign = f"&{spot.anchor}"
    if spot.kind == "scalar" and not spot.is_literal and spot.text:
        page.put(use.start, use.end, text[spot.start : spot.end])
    else:
        page.put(use.start, use.end, f"{sign} {emit.inline(_data(text, spot))}")
    start = text.index(sign, spot.start)
    end = start + len(sign)
    while end < spot.end and text[end] in " \t":
        end += 1
    if end == page.line_end(end):
        # Nothing follows in its line: no blank either.
        start = len(text[:start].rstrip(" \t"))
    page.put(start, end, "")
    return page.result()


def _data(text: str, spot: Spot) -> Any:
    """What the node stands for."""
    waiting: list[Node] = [root] if (root := compose(text)) else []
    while waiting:
        node = waiting.pop()
        if node.anchor == spot.anchor and spot.start <= node.start_mark.index <= spot.end:
            return plain(node)
        if isinstance(node, SequenceNode):
            waiting += node.value
        elif isinstance(node, MappingNode):
            waiting += [one for pair in node.value for one in pair]
    return None
