"""Text from elsewhere, for people: what a terminal or a log's reader would take for a command is taken out.

Names, messages of commits, what llama-server writes: all of it may have been written by somebody who means harm.
"""

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Controls of C0 and C1 other than tab and newline, those that turn the direction of writing, and lone surrogates,
which stand for bytes that are no text and can be written nowhere."""
_ESCAPE = re.compile("(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|\x1b[ -/]*[0-~]")
"""Escape sequences as ECMA-48 writes them: CSI, OSC, and the short ones."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean(text: str) -> str:
    """One line that no terminal takes for a command."""
    return _CONTROL.sub(REPLACEMENT, text.strip().replace("\r\n", "\n").replace("\n", " ").replace("\t", " "))


def clean_lines(text: str) -> str:
    """Many lines that no terminal takes for a command: escape sequences vanish, other controls are replaced."""
    return _CONTROL.sub(REPLACEMENT, _ESCAPE.sub("", text).replace("\r\n", "\n"))


def clean_json(text: str) -> str:
    """JSON that says the same without such characters: within it they can only stand in texts, and are escaped."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def escaped(name: str) -> str:
    """A name on one line whatever it holds; what cannot be printed is escaped, so that names stay distinct."""
    return name if name.isprintable() else name.encode("unicode_escape").decode("ascii")
