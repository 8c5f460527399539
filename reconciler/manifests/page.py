"""A text that is changed in a few places: where its lines are, and the places with what goes there."""

import re
from collections.abc import Sequence
from operator import itemgetter

from reconciler.manifests.outline import Entry
from reconciler.manifests.text import lines

_BEFORE_COMMENT = re.compile(" {2,}(?=#)")
_BREAK = re.compile("[\r\n]")
_PROPERTIES = re.compile(r"[&!]\S*(?:[ \t]+[&!]\S*)*")
_LITERAL_HEAD = re.compile("[|>][-+0-9]*")


class SpliceError(Exception):
    """A change that this text does not allow; `offset` is the place."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class Page:
    """A text, and the changes of it that are wanted so far. Offsets are always those of the unchanged text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._changes: list[tuple[int, int, str]] = []

    def put(self, start: int, end: int, new: str) -> None:
        """Wants another text in place of what lies between two offsets."""
        self._changes.append((start, end, new))

    def put_lines(self, offset: int, new: Sequence[str], until: int | None = None) -> None:
        """Wants lines below the one that holds an offset, in place of those down to the one that holds `until`."""
        end = self.line_end(offset)
        behind = end if until is None else self.line_end(until)
        self._changes.append((end, behind, "".join(self.line_break(end) + line for line in new)))

    def result(self) -> str:
        """The text with all that was wanted; what is wanted at the same place comes in the order of the wishes."""
        text = self.text
        changes = sorted(self._changes, key=itemgetter(0))
        while changes:
            start, end, new = changes.pop()
            behind = end
            blanks = _BEFORE_COMMENT.match(text, end)
            if blanks and not _BREAK.search(text[start:end] + new):
                # The comment keeps its column.
                behind = blanks.end()
                new = new.ljust(max(behind - start, len(new) + 1))
            text = text[:start] + new + text[behind:]
        return text

    def line_start(self, offset: int) -> int:
        """Where the line that holds an offset begins."""
        return max(self.text.rfind("\n", 0, offset), self.text.rfind("\r", 0, offset)) + 1

    def line_end(self, offset: int) -> int:
        """Where the break of the line that holds an offset begins."""
        while offset < len(self.text) and self.text[offset] not in "\r\n":
            offset += 1
        return offset

    def behind_line(self, offset: int) -> int:
        """Where the next line begins."""
        end = self.line_end(offset)
        return end + 2 if self.text[end : end + 2] == "\r\n" else min(end + 1, len(self.text))

    def column(self, offset: int) -> int:
        """How far from the beginning of its line an offset is, from 0."""
        return offset - self.line_start(offset)

    def leads(self, offset: int) -> bool:
        """Whether nothing but spaces stands before an offset in its line."""
        return not self.text[self.line_start(offset) : offset].strip(" ")

    def share_line(self, one: int, other: int) -> bool:
        """Whether two offsets are in the same line."""
        return self.line_start(one) == self.line_start(other)

    def behind_comments(self, offset: int, column: int) -> int:
        """The end of the line, or of the last of the comments right below it that begin at `column` or behind it."""
        end = self.line_end(offset)
        for line in lines(self.text[self.behind_line(end) :]):
            if not line.lstrip(" ").startswith("#") or len(line) - len(line.lstrip(" ")) < column:
                break
            end = self.line_end(self.behind_line(end))
        return end

    def line_break(self, offset: int) -> str:
        """What ends the line at whose end an offset is; when nothing does, what ends the first one."""
        for line in (self.text[offset : offset + 2], *lines(self.text)[:1]):
            for ending in ("\r\n", "\n", "\r"):
                if line.startswith(ending) or line.endswith(ending):
                    return ending
        return "\n"

    def head_of(self, entry: Entry) -> tuple[int, int]:
        """Where the part of a value is that stands right behind its sign; an empty place where none does."""
        value = entry.value
        if value.is_literal and (head := _LITERAL_HEAD.search(self.text, value.start)):
            return value.start, head.end()
        if not value.is_block:
            return (entry.sign, entry.sign) if value.is_empty else (value.start, value.end)
        if self.share_line(entry.sign, value.entries[0].start):
            return value.start, value.end
        properties = _PROPERTIES.match(self.text, value.start)
        if properties and self.share_line(entry.sign, value.start):
            return value.start, properties.end()
        return entry.sign, entry.sign
