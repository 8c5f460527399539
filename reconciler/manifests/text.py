"""A manifest file as text: where its documents begin and end."""

import re
from dataclasses import dataclass

BOM = "\ufeff"
_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")
_MARKER = re.compile(r"(---|\.\.\.)(?=[ \t\r\n]|\Z)")


@dataclass(frozen=True, slots=True)
class Chunk:
    """What lies between two document markers. It may hold no content at all."""

    start: int
    """Offset of its first character in the file's text."""
    line: int
    """Line of that character, from 1."""
    text: str
    on_marker: bool = False
    """Its content begins on the line of its own `---`, which is then part of the text."""
    closed: bool = False
    """A `---` or `...` follows."""

    @property
    def end(self) -> int:
        """Offset behind its last character."""
        return self.start + len(self.text)

    @property
    def content_line(self) -> int:
        """Line of its first content, from 1; 0 when it holds only blanks, comments and directives."""
        for number, line in enumerate(lines(self.text), self.line):
            if not is_blank(line) and not line.startswith("%"):
                return number
        return 0


def lines(text: str) -> list[str]:
    """The lines with their ends; only those characters break a line that do so in YAML 1.2."""
    return _LINE.findall(text)


def is_blank(line: str) -> bool:
    """Whether a line holds nothing, or only a comment."""
    stripped = line.strip(" \t\r\n")
    return not stripped or stripped.startswith("#")


def split(text: str) -> list[Chunk]:
    """The chunks of a file. A `---` in the first column ends a document wherever it stands, even in a quoted text."""
    offset = len(BOM) if text.startswith(BOM) else 0
    chunks: list[Chunk] = []
    start, first, on_marker = offset, 1, False
    for number, line in enumerate(lines(text[offset:]), 1):
        if marker := _MARKER.match(line):
            chunks.append(Chunk(start, first, text[start:offset], on_marker, closed=True))
            on_marker = marker[1] == "---" and not is_blank(line[3:])
            start, first = (offset, number) if on_marker else (offset + len(line), number + 1)
        offset += len(line)
    return [*chunks, Chunk(start, first, text[start:], on_marker)]


def place(text: str, offset: int) -> tuple[int, int]:
    """Line and column of an offset, both from 1."""
    before = lines(text[:offset])
    if not before or before[-1][-1] in "\r\n":
        return len(before) + 1, 1
    return len(before), len(before[-1]) + 1
