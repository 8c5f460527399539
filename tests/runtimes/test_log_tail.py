"""Lines of a log that is read on while it is written, and cut."""

import os
from pathlib import Path

import pytest

from reconciler.runtimes.log_tail import MOST_MORE, LogTail
from reconciler.runtimes.tailing import Log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "u.log").write_bytes(b"".join(b"old %d\n" % number for number in range(10)))
    return tmp_path / "u.log"


@pytest.fixture
def tail(path: Path) -> LogTail:
    found = LogTail(Log("chat", "u", path, 0.0))
    assert len(found.last(100)) == 10
    return found


def add(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def cut(path: Path, kept: int) -> None:
    """As the runtime does with one that grew too large."""
    path.with_suffix(".log.1").write_bytes(path.read_bytes()[-kept:])
    os.truncate(path, 0)


@pytest.mark.parametrize("kept", [10_000, 1050])
def test_what_was_written_before_a_cut_is_told(path: Path, tail: LogTail, kept: int) -> None:
    wanted = [b"between %d" % number for number in range(80)]
    add(path, b"".join(line + b"\n" for line in wanted) + b"begun")
    cut(path, kept)
    add(path, b" and ended\n")
    assert tail.more() == ([*wanted, b"begun and ended"], 0)
    add(path, b"later\n")
    assert tail.more() == ([b"later"], 0)


def test_what_a_cut_has_taken_is_skipped(path: Path, tail: LogTail) -> None:
    add(path, b"between\n" * 100)
    cut(path, 80)
    add(path, b"after\n")
    assert tail.more() == ([b"after"], 80)


def test_after_what_was_skipped_a_whole_line_comes(path: Path, tail: LogTail) -> None:
    lines = [b"%06d %s" % (number, b"x" * 90) for number in range(5000)]
    content = b"".join(line + b"\n" for line in lines)
    add(path, content)
    told, skipped = tail.more()
    assert told == lines[-len(told) :]
    assert skipped + sum(len(line) + 1 for line in told) == len(content)
    assert len(content) - skipped > MOST_MORE - 200
