import os
import stat
from pathlib import Path

import pytest

from reconciler.runtimes.logs import HEAD_BYTES, MOST_APPENDED, TAIL_BYTES, TAIL_LINES, Logs


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path / "logs", keep=2, most_bytes=1000)


def write(logs: Logs, uid: str, text: str, *, age: float = 0.0) -> Path:
    fd = logs.open("chat", uid)
    os.write(fd, text.encode())
    os.close(fd)
    path = logs.path("chat", uid)
    changed = path.stat().st_mtime - age
    os.utime(path, (changed, changed))
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_tail_and_head(logs: Logs) -> None:
    write(logs, "a", "".join(f"line {number}\n" for number in range(300)))
    assert logs.tail("chat", "a") == "\n".join(f"line {number}" for number in range(300 - TAIL_LINES, 300))
    assert logs.tail("chat", "a", lines=2) == "line 298\nline 299"
    assert logs.head("chat", "a").startswith("line 0\nline 1\n")


def test_a_huge_log_is_read_at_its_ends_only(logs: Logs) -> None:
    write(logs, "a", "a" * HEAD_BYTES + "b" * TAIL_BYTES)
    assert logs.tail("chat", "a") == "b" * TAIL_BYTES
    assert logs.head("chat", "a") == "a" * HEAD_BYTES


def test_bytes_that_are_no_text_are_shown_as_such(logs: Logs) -> None:
    logs.path("chat", "a").parent.mkdir(parents=True)
    logs.path("chat", "a").write_bytes(b"half a \xe2\x82\n")
    assert logs.tail("chat", "a") == "half a \ufffd"


def test_a_log_that_is_not_there_says_nothing(logs: Logs) -> None:
    assert (logs.tail("chat", "none"), logs.head("chat", "none")) == ("", "")
    logs.trim(frozenset())


def test_only_its_owner_may_read_a_log(logs: Logs) -> None:
    path = write(logs, "a", "x" * 2000)
    assert mode(path) == 0o600
    logs.trim(frozenset())
    assert mode(path.with_suffix(".log.1")) == 0o600


def test_a_descriptor_is_not_inherited_by_chance(logs: Logs) -> None:
    fd = logs.open("chat", "a")
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_the_newest_logs_are_kept_and_those_that_are_written_to(logs: Logs) -> None:
    for age, uid in enumerate(("new", "recent", "old", "live", "oldest")):
        write(logs, uid, "text", age=100.0 * age)
    logs.path("chat", "oldest").with_suffix(".log.1").write_text("older half")
    logs.trim(frozenset({"live"}))
    assert {path.name for path in logs.path("chat", "x").parent.iterdir()} == {"new.log", "recent.log", "live.log"}


def test_each_server_keeps_its_own(logs: Logs) -> None:
    for server in ("chat", "embed"):
        for uid in ("a", "b"):
            os.close(logs.open(server, uid))
    logs.trim(frozenset())
    assert all(logs.path(server, uid).exists() for server in ("chat", "embed") for uid in ("a", "b"))


def test_a_log_that_is_too_long_is_cut_while_its_writer_goes_on(logs: Logs) -> None:
    writer = logs.open("chat", "a")
    os.write(writer, b"old " * 200 + b"new " * 200)
    logs.trim(frozenset({"a"}))
    path = logs.path("chat", "a")
    assert path.with_suffix(".log.1").read_text() == "new " * 125
    assert path.read_text() == ""
    os.write(writer, b"after\n")
    os.close(writer)
    assert path.read_bytes() == b"after\n"
    assert logs.tail("chat", "a") == "new " * 125 + "after"


def test_a_second_cut_replaces_the_first(logs: Logs) -> None:
    write(logs, "a", "1" * 1200)
    logs.trim(frozenset())
    path = write(logs, "a", "2" * 1200)
    logs.trim(frozenset())
    assert path.with_suffix(".log.1").read_text() == "2" * 500


def test_a_log_within_its_bound_is_left_alone(logs: Logs) -> None:
    path = write(logs, "a", "x" * 1000)
    logs.trim(frozenset())
    assert path.read_text() == "x" * 1000
    assert not path.with_suffix(".log.1").exists()


def test_what_does_not_belong_there_stops_no_trimming(logs: Logs, tmp_path: Path) -> None:
    for age, uid in enumerate(("a", "b", "c")):
        write(logs, uid, "text", age=100.0 * age)
    (tmp_path / "logs" / "a stray file").write_text("")
    (tmp_path / "logs" / "apart").mkdir()
    for number in range(4):
        (tmp_path / "logs" / "apart" / f"{number}.log").mkdir()
    logs.trim(frozenset())
    assert not logs.path("chat", "c").exists()


def test_a_folder_of_logs_that_is_none_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    Logs(tmp_path / "logs", keep=1, most_bytes=1).trim(frozenset())


def test_logs_of_names_that_are_gone_are_bounded_together(tmp_path: Path) -> None:
    logs = Logs(tmp_path, keep=1, most_bytes=1000)
    for number in range(15):
        for name in (f"gone-{number}", f"there-{number}"):
            path = logs.path(name, "u")
            path.parent.mkdir()
            path.write_bytes(b"x" * 2000)
            os.utime(path, (number, number))
    (tmp_path / "gone-1" / "notes").touch()
    there = frozenset(f"there-{number}" for number in range(15))
    logs.trim(frozenset(), there)
    logs.trim(frozenset(), there)
    left = {path.parent.name for path in tmp_path.glob("*/u.log*")}
    assert left == {*there, *(f"gone-{number}" for number in range(5, 15))}
    assert {path.name for path in tmp_path.iterdir()} == {*left, "gone-1"}, "what is not ours stays"


def test_what_a_name_that_is_gone_still_writes_stays(tmp_path: Path) -> None:
    logs = Logs(tmp_path, keep=1, most_bytes=1000)
    for number in range(12):
        logs.path(f"gone-{number}", f"u{number}").parent.mkdir()
        logs.path(f"gone-{number}", f"u{number}").touch()
        os.utime(logs.path(f"gone-{number}", f"u{number}"), (number, number))
    logs.trim(frozenset({"u0"}))
    assert [number for number in range(12) if not (tmp_path / f"gone-{number}").exists()] == [1]


# ---------------------------------------------------------------- what is appended


def test_what_is_appended_is_read_once(logs: Logs) -> None:
    write(logs, "a", "one\ntwo\n")
    text, offset = logs.appended("chat", "a", 0)
    assert text == "one\ntwo\n"
    assert logs.appended("chat", "a", offset) == ("", offset)
    write(logs, "a", "three\nfo")
    text, offset = logs.appended("chat", "a", offset)
    assert text == "three\n"
    write(logs, "a", "ur\n")
    assert logs.appended("chat", "a", offset)[0] == "four\n"


def test_from_its_end_on(logs: Logs) -> None:
    write(logs, "a", "one\n")
    text, offset = logs.appended("chat", "a", None)
    write(logs, "a", "two\n")
    assert (text, logs.appended("chat", "a", offset)[0]) == ("", "two\n")


def test_one_that_was_cut_is_read_from_its_beginning(logs: Logs) -> None:
    log = write(logs, "a", "a line of thirty characters!!\n" * 100)
    _, offset = logs.appended("chat", "a", 0)
    logs.trim(frozenset({"a"}))
    assert log.read_text() == ""
    assert logs.appended("chat", "a", offset) == ("", 0)
    write(logs, "a", "new\n")
    assert logs.appended("chat", "a", offset)[0] == "new\n"


def test_of_much_only_the_newest_whole_lines_are_read(logs: Logs) -> None:
    log = write(logs, "a", "".join(f"line {number:08}\n" for number in range(50_000)))
    text, offset = logs.appended("chat", "a", 10)
    lines = text.splitlines()
    assert MOST_APPENDED - 20 < len(text) <= MOST_APPENDED
    assert (len(lines[0]), lines[-1], offset) == (13, "line 00049999", log.stat().st_size)


@pytest.mark.parametrize("more", [0, 100])
def test_a_line_that_does_not_end_is_skipped(logs: Logs, more: int) -> None:
    log = write(logs, "a", "x" * (MOST_APPENDED + more))
    text, offset = logs.appended("chat", "a", 0)
    assert (text, offset) == ("", log.stat().st_size)
    write(logs, "a", "x\nnext\n")
    assert logs.appended("chat", "a", offset)[0] == "x\nnext\n"


def test_a_log_that_is_not_there_has_nothing_appended(logs: Logs) -> None:
    assert logs.appended("chat", "none", None) == ("", 0)
    assert logs.appended("chat", "none", 7) == ("", 7)
