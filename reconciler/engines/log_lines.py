"""The lines of a llama-server's log, cleaned, and where in them the trouble begins that ended it."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reconciler.core.clean import clean

LONGEST = 300
"""Characters of a line that are kept."""
_PREFIX = re.compile(r"^(\d[\d.]* )?(?P<level>[DIWE]) +")
"""As llama-server begins its lines: the time since its start, unless that is off, and a letter for the level."""
_UNPREFIXED = re.compile(
    r"^(build: \d|system_info: |main: |srv +\w+: |(llama|llm|gguf|ggml|common|clip|mtmd|load|print)_\w+: )"
)
"""How it begins them where it writes no prefix, as older builds do."""
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_OVERCOME = re.compile(
    r"\bmodel loaded\b|listening on http|retrying without pipeline parallelism|no valid control vector"
    r"|launch_slot_: .*processing task|stop processing: |\bdone request: "
)
"""Errors before such a line were survived."""
_BEGINS = re.compile(r"launch_slot_: id +\d+ \| task (-?\d+) \| processing task")
_ENDS = re.compile(r"release: id +\d+ \| task (-?\d+) \| stop processing")


@dataclass(frozen=True, slots=True)
class Line:
    """One line, without colours, control characters and the time before it."""

    text: str
    is_error: bool = False
    """It was logged as an error."""
    is_news: bool = False
    """It was logged as information, which names no cause."""
    is_own: bool = False
    """It begins as llama-server's lines do: no script or program around it wrote it."""
    is_debug: bool = False
    """It was logged for those who look for faults: such lines repeat what clients sent."""


def lines_of(log_tail: str) -> list[Line]:
    """All that are not empty."""
    return [line for written in log_tail.splitlines() if (line := _line(written)).text]


def _line(written: str) -> Line:
    if written.startswith('{"'):
        return _line_of_json(written)
    plain = clean(_CONTROL.sub(" ", _ESCAPE.sub("", written)))
    prefix = _PREFIX.match(plain)
    text = plain[prefix.end() :] if prefix else plain
    level = prefix["level"] if prefix else ""
    return Line(text[:LONGEST].rstrip(), level == "E", level in ("I", "D"), prefix is not None, level == "D")


def _line_of_json(written: str) -> Line:
    """As `--log-jsonl` writes it; what is none, or was cut, is told to nobody as a cause."""
    try:
        entry = json.loads(written)
        text, level = str(entry["msg"]), entry.get("level")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Line(clean(_CONTROL.sub(" ", written))[:LONGEST], is_news=True)
    told = clean(_CONTROL.sub(" ", text))[:LONGEST]
    return Line(told, level == "error", level in ("info", "debug"), is_own=True, is_debug=level == "debug")


def from_the_first_own(lines: Sequence[Line]) -> list[Line]:
    """Without what was said before llama-server said anything: whatever that was, it did not keep it from starting."""
    return list(lines[min(_own(lines), default=0) :])


def behind_the_last_own(lines: Sequence[Line]) -> list[Line]:
    """What llama-server's own words do not follow."""
    return list(lines[max(_own(lines), default=-1) + 1 :])


def _own(lines: Sequence[Line]) -> list[int]:
    """Where llama-server's own lines are."""
    begun = [index for index, line in enumerate(lines) if line.is_own]
    return begun or [index for index, line in enumerate(lines) if _UNPREFIXED.match(line.text)]


def since_overcome(lines: Sequence[Line]) -> list[Line]:
    """Those behind the last sign that what came before was survived."""
    overcome = max((index for index, line in enumerate(lines) if _OVERCOME.search(line.text)), default=-1)
    return list(lines[overcome + 1 :])


def has_open_request(lines: Iterable[Line]) -> bool:
    """Whether a request was begun and not ended."""
    begun: set[str] = set()
    for line in lines:
        if found := _BEGINS.search(line.text):
            begun.add(found[1])
        elif found := _ENDS.search(line.text):
            begun.discard(found[1])
    return bool(begun)
