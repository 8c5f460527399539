"""Values as YAML text, so that every reader, of YAML 1.1 too, takes them for what they are."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST = 60
"""Most characters of a mapping that is written on one line."""
_PLAIN = re.compile(r"[A-Za-z0-9_./~](?:[A-Za-z0-9_./~+@%=()-]|:(?=[^ ])| (?=[A-Za-z0-9_./~+@%=()-]))*")
_OTHERWISE_READ = re.compile(
    r"""~|null|true|false|yes|no|on|off|y|n|=
    |[-+]?[0-9_]*\.?[0-9_]*(e[-+]?[0-9]+)?      # numbers
    |[-+]?0[xob][0-9a-f_]+
    |[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?   # to YAML 1.1, 1:30 is 90
    |[-+]?\.(inf|nan)
    |[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*           # dates
    """,
    re.IGNORECASE | re.VERBOSE,
)
_READABLE = "\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff"
_ESCAPED = re.compile(f"[^{_READABLE}]")
_LITERAL = re.compile(f"(?!\\s)(?=.*\n)[\n\t{_READABLE}]*")


class Grown(dict[str, Any]):
    """A mapping that was made on the way to a value in it: it is written on lines of its own."""


def inline(value: Any, quote: str = "") -> str:
    """A value on one line, inside of brackets too; `quote`: what text is put in if it can be.

    Raises TypeError for what YAML of manifests does not hold.
    """
    if isinstance(value, str):
        return _text(value, quote)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(key)}: {inline(below)}" for key, below in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(inline(below) for below in value) + "]"
    raise TypeError(f"{type(value).__name__} cannot be written")


def behind_key(value: Any, column: int, step: int, quote: str = "", *, literal: bool = True) -> tuple[str, list[str]]:
    """A value behind a key at `column`: what goes on the key's own line, and the lines below it.

    `literal`: text of several lines is written on several lines.
    """
    if isinstance(value, Mapping) and value and _is_large(value):
        pairs = (pair(key, below, column + step, step, literal=literal) for key, below in value.items())
        return "", [line for one in pairs for line in one]
    if literal and isinstance(value, str) and _LITERAL.fullmatch(value):
        return _literal(value, column + step)
    return inline(value, quote), []


def pair(key: str, value: Any, column: int, step: int, *, literal: bool = True) -> list[str]:
    """The lines of a key and its value."""
    head, below = behind_key(value, column, step, literal=literal)
    return [f"{' ' * column}{_text(key)}:{' ' * bool(head)}{head}", *below]


def _is_large(value: Mapping[str, Any]) -> bool:
    if isinstance(value, Grown) or any(isinstance(below, Mapping) for below in value.values()):
        return True
    return len(inline(value)) > LONGEST


def _text(text: str, quote: str = "") -> str:
    readable = not _ESCAPED.search(text)
    if quote == "'" and readable:
        return "'" + text.replace("'", "''") + "'"
    if not quote and _PLAIN.fullmatch(text) and not _OTHERWISE_READ.fullmatch(text):
        return text
    if not quote and readable and ('"' in text or "\\" in text) and "'" not in text:
        return f"'{text}'"
    return _ESCAPED.sub(_escape, json.dumps(text, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _float(value: float) -> str:
    written = repr(value)
    mantissa, e, exponent = written.partition("e")
    # YAML 1.1 takes 1e-05 for text.
    return f"{mantissa}.0{e}{exponent}" if e and "." not in mantissa else written


def _literal(text: str, column: int) -> tuple[str, list[str]]:
    body = text.rstrip("\n")
    kept = len(text) - len(body)
    head = "|-" if not kept else "|" if kept == 1 else "|+"
    lines = [*body.split("\n"), *[""] * (kept - 1)]
    return head, [" " * column + line if line else "" for line in lines]
