"""Where each part of a document's text stands: the tree of its nodes with the offsets of all that belongs to them.

ruamel's own nodes do not tell where a `?`, a `:` or a `-` stands, nor where a mapping ends or an alias was written. Its
tokens do.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML, tokens

from reconciler.manifests.text import lines


@dataclass(slots=True, eq=False)
class Spot:
    """One node as it is written."""

    start: int
    """Offset of its first character; an anchor and a tag before it belong to it."""
    end: int
    """Offset behind its last character; the line's end is not part of it."""
    kind: str = "scalar"
    """`scalar`, `mapping`, `sequence` or `alias`."""
    anchor: str = ""
    text: str = ""
    """What a scalar says, and the name that an alias refers to."""
    style: str = ""
    """Of a scalar: `'`, `"`, `|` or `>`; empty for a plain one. Of a mapping and a sequence: `flow`, or empty."""
    target: "Spot | None" = None
    """What an alias stands for."""
    entries: "list[Entry]" = field(default_factory=list)
    """Of a mapping and a sequence."""

    @property
    def is_literal(self) -> bool:
        """Whether it is a text on lines of its own."""
        return self.style in ("|", ">")

    @property
    def is_block(self) -> bool:
        """Whether it lies on lines of its own, below what introduces it."""
        return self.is_literal or (bool(self.entries) and not self.style)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is written there, which means null."""
        return self.start == self.end

    def own(self, part: str | int) -> "Entry | None":
        """The entry of a key or an index, leaving aside what is merged (`<<`)."""
        if self.kind == "sequence":
            index = int(part) if str(part).isdecimal() else -1
            return self.entries[index] if 0 <= index < len(self.entries) else None
        return next((entry for entry in self.entries if entry.name == str(part)), None)

    def merged(self, part: str | int) -> "Entry | None":
        """The `<<` that brings a key too."""
        for entry in self.entries:
            if entry.key and entry.name is None:
                many = entry.value.entries if entry.value.kind == "sequence" else [entry]
                sources = [one.value.target or one.value for one in many]
                if any(source.own(part) or source.merged(part) for source in sources):
                    return entry
        return None

    def walk(self) -> "Iterator[Spot]":
        """It and all that is written in it, in the order of the text."""
        yield self
        for entry in self.entries:
            yield from entry.walk()


@dataclass(slots=True, eq=False)
class Entry:
    """A pair of a mapping, or an item of a sequence."""

    start: int
    """Offset of its `?` or `-`, else of its key or value."""
    value: Spot
    sign: int = -1
    """Offset behind its `:` or `-`; -1 when it has none."""
    key: Spot | None = None
    comma: int = -1
    """Offset behind the comma that follows it; -1 when none does."""

    @property
    def end(self) -> int:
        """Offset behind its last character."""
        return max(self.sign, self.value.end, self.key.end if self.key else 0)

    @property
    def name(self) -> str | None:
        """The text of its key; None for an item, and for a `<<`, which stands for other keys."""
        key = self.key and (self.key.target or self.key)
        if key is None or key.kind != "scalar" or (key.text == "<<" and not key.style):
            return None
        return key.text

    def walk(self) -> Iterator[Spot]:
        """All that is written in it."""
        if self.key:
            yield from self.key.walk()
        yield from self.value.walk()


def outline(text: str) -> Spot:
    """The root of a document that `nodes.compose` can read."""
    return _Reader(text).read()


class _Reader:
    """Reads the tokens of a document as ruamel's parser does, and keeps their places."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[Any] = list(YAML(typ="safe", pure=True).scan(text))
        self._at = 0
        self._anchors: dict[str, Spot] = {}
        self._behind = 0

    def read(self) -> Spot:
        """The root."""
        while self._is(tokens.StreamStartToken, tokens.DocumentStartToken):
            self._take()
        return self._node()

    def _is(self, *kinds: type) -> bool:
        return isinstance(self._tokens[self._at], kinds)

    def _take(self) -> Any:
        token = self._tokens[self._at]
        self._at += 1
        # The end of a block has no place of its own: ruamel puts it where the next thing begins.
        if not isinstance(token, tokens.BlockEndToken):
            self._behind = self._end(token)
        return token

    def _end(self, token: Any) -> int:
        start, end = int(token.start_mark.index), int(token.end_mark.index)
        if isinstance(token, tokens.ScalarToken) and token.style in ("|", ">"):
            return start + _length_of_literal(self._text[start:end])
        return end

    def _empty(self) -> Spot:
        return Spot(self._behind, self._behind)

    def _node(self, *, indentless: bool = True) -> Spot:
        spot, first = self._empty(), self._tokens[self._at].start_mark.index
        begun = self._at
        while self._is(tokens.AnchorToken, tokens.TagToken):
            token = self._take()
            if isinstance(token, tokens.AnchorToken):
                spot.anchor = token.value
                self._anchors[spot.anchor] = spot
        self._content(spot, indentless=indentless)
        if self._at > begun:
            spot.start, spot.end = first, self._behind
        return spot

    def _content(self, spot: Spot, *, indentless: bool) -> None:
        """Reads what is behind anchor and tag, which may be nothing."""
        if self._is(tokens.ScalarToken):
            token = self._take()
            spot.text, spot.style = token.value, "" if token.plain else token.style
        elif self._is(tokens.AliasToken):
            spot.kind, spot.text = "alias", self._take().value
            spot.target = self._anchors.get(spot.text)
        elif self._is(tokens.FlowMappingStartToken, tokens.FlowSequenceStartToken):
            self._flow(spot)
        elif self._is(tokens.BlockMappingStartToken, tokens.BlockSequenceStartToken):
            self._take()
            self._block(spot)
            self._take()
        elif indentless and self._is(tokens.BlockEntryToken):
            # A list at its key's own column has no token for its begin, nor for its end.
            self._block(spot)

    def _block(self, spot: Spot) -> None:
        of_pairs = self._is(tokens.KeyToken, tokens.ValueToken)
        spot.kind = "mapping" if of_pairs else "sequence"
        while self._is(*((tokens.KeyToken, tokens.ValueToken) if of_pairs else (tokens.BlockEntryToken,))):
            spot.entries.append(self._pair() if of_pairs else self._item())

    def _item(self) -> Entry:
        dash = self._take()
        sign = self._behind
        return Entry(dash.start_mark.index, self._node(indentless=False), sign)

    def _pair(self) -> Entry:
        start, key, sign = self._tokens[self._at].start_mark.index, self._empty(), -1
        if self._is(tokens.KeyToken):
            self._take()
            key = self._node()
        value = self._empty()
        if self._is(tokens.ValueToken):
            self._take()
            sign = self._behind
            value = self._node()
        return Entry(start, value, sign, key)

    def _flow(self, spot: Spot) -> None:
        spot.kind = "mapping" if self._is(tokens.FlowMappingStartToken) else "sequence"
        spot.style = "flow"
        self._take()
        while not self._is(tokens.FlowMappingEndToken, tokens.FlowSequenceEndToken):
            if self._is(tokens.FlowEntryToken):
                self._take()
                spot.entries[-1].comma = self._behind
            else:
                spot.entries.append(self._flow_entry(spot.kind))
        self._take()

    def _flow_entry(self, kind: str) -> Entry:
        if self._is(tokens.KeyToken, tokens.ValueToken):
            pair = self._pair()
            if kind == "mapping":
                return pair
            return Entry(pair.start, Spot(pair.start, pair.end, "mapping", style="flow", entries=[pair]))
        node = self._node()
        return Entry(node.start, self._empty(), key=node) if kind == "mapping" else Entry(node.start, node)


def _length_of_literal(written: str) -> int:
    """Of a text below `|` or `>`, without the break behind it, and without blank lines that do not belong to it."""
    head, *content = lines(written)
    depth = next((len(line) - len(line.lstrip(" ")) for line in content if line.strip()), 0)
    if "+" not in head.partition("#")[0]:
        while content and not content[-1].strip() and len(content[-1].rstrip("\r\n")) <= depth:
            content.pop()
    text = head + "".join(content)
    return len(text.removesuffix("\n").removesuffix("\r"))
