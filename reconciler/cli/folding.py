"""Long texts on a terminal: broken between words, indented, and with commands whole where they fit a line."""

import re

from reconciler.cli.terminal import cells

_COMMAND = re.compile(
    r"`[^`]+`"
    r"|(?:(?<=: )|^)(?:reconciler|kill|sudo|fuser|ls|df|findmnt|ulimit|systemctl|journalctl|curl|chmod|ps|ss|apt"
    r"|mkdir|mv|install|pip|unset)\b"
    r"(?:(?!, | or |; |\)(?:\W|$)|\. ).)*"
)
_COLOUR = re.compile(r"\x1b\[\d+m")
_GLUE = "\0"
"""A blank at which no line may end; clean texts have none."""
LEAST = 24
"""Columns in which a text can be read; where there are fewer it begins on a line of its own."""


def fold(text: str, room: int) -> list[str]:
    """Lines of at most so many columns; what is longer and has no blank is left whole, to be pasted."""
    lines, line = [], ""
    for piece in _pieces(text, room):
        longer = f"{line} {piece}" if line else piece
        if line and cells(longer) > room:
            lines.append(line)
            line = piece
        else:
            line = longer
    return [*lines, line]


def _pieces(text: str, room: int) -> list[str]:
    """Words; a command that fits a line is one."""

    def whole(found: re.Match[str]) -> str:
        command = found.group()
        return command.replace(" ", _GLUE) if cells(command) <= room else command

    return [piece.replace(_GLUE, " ") for piece in _COMMAND.sub(whole, text).split(" ") if piece]


def longest_command(text: str) -> int:
    """Columns of the longest command in a text."""
    return max((cells(found.group()) for found in _COMMAND.finditer(text)), default=0)


def fold_behind(head: str, text: str, width: int | None) -> list[str]:
    """The text behind its heading, further lines below its beginning; in one line where there is no `width`."""
    indent = cells(_COLOUR.sub("", head))
    if width is None or indent + cells(text) <= width:
        return [(head + text).rstrip()]
    room = width - indent
    if room >= LEAST and max(map(cells, _pieces(text, room))) <= room:
        first, *more = fold(text, room)
        return [head + first, *(" " * indent + line for line in more)]
    return [head.rstrip(), *(f"    {line}" for line in fold(text, width - 4))]
