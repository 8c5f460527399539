"""The controller's log: one line or object for each decision, whatever stands in what it tells of."""

import json
import logging
from types import TracebackType

import pytest

from reconciler.controller.foreground import _JsonFormatter, _TextFormatter

HOSTILE = {
    "escape codes": "\x1b[2J\x1b]0;title\x07gone",
    "escape codes in one byte": "\x9b2J",
    "a forged line": "fine\n12:00:00 INFO    coder  Started: forged",
    "a line rewritten": "bad\rgood",
    "backspaces": "bad\x08\x08\x08good",
    "another direction": "\u202egnp.exe",
    "a line that only some see": "one\u2028two\x85three",
    "bytes that are no text": "a\udcffb",
    "del": "a\x7fb",
}


def record(message: str, *, failed: bool = False) -> logging.LogRecord:
    info = _failure(message) if failed else None
    made = logging.LogRecord("reconciler", logging.ERROR, __file__, 1, "%s: %s", ("coder", message), info)
    made.server, made.reason = message, "Crashed"
    return made


def _failure(message: str) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    try:
        _fail(message)
    except ValueError as error:
        return ValueError, error, error.__traceback__
    raise AssertionError


def _fail(message: str) -> None:
    raise ValueError(message)


def is_safe(text: str) -> bool:
    return all(one.isprintable() or one == " " for one in text)


@pytest.mark.parametrize("case", HOSTILE)
def test_text_is_one_line_that_commands_nothing(case: str) -> None:
    line = _TextFormatter().format(record(HOSTILE[case]))
    assert is_safe(line)
    assert "coder: " in line
    line.encode()


@pytest.mark.parametrize("case", HOSTILE)
def test_a_trace_commands_nothing(case: str) -> None:
    first, *trace = _TextFormatter().format(record(HOSTILE[case], failed=True)).split("\n")
    assert is_safe(first)
    assert trace[0] == "Traceback (most recent call last):"
    assert all(is_safe(line) for line in trace)


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("failed", [False, True])
def test_json_is_one_line_that_says_it_all(case: str, failed: bool) -> None:
    line = _JsonFormatter().format(record(HOSTILE[case], failed=failed))
    assert is_safe(line)
    told = json.loads(line)
    assert told["message"] == f"coder: {HOSTILE[case]}"
    assert told["server"] == HOSTILE[case]
    assert ("trace" in told) == failed
    assert not failed or HOSTILE[case] in told["trace"]
