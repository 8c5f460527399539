import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.runtimes.logs import Logs
from tests.cli.conftest import Call
from tests.cli.filling import Filling, eventually


def write(filling: Filling, uid: str, content: str, *, older: str = "") -> Path:
    path = filling.state / "logs" / "coder" / f"{uid}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    if older:
        path.with_suffix(".log.1").write_text(older)
    return path


def test_the_whole_log_of_the_last_instance(filling: Filling, call: Call) -> None:
    filling.failed("coder")
    write(filling, "uid3", "third\n")
    write(filling, "uid4", "\x1b[31mfourth\x1b[0m\nlast", older="older\n")
    assert call("logs", "coder").out == "older\n\x1b[31mfourth\x1b[0m\nlast"
    assert call("logs", "coder", "--previous").out == "third\n"


@pytest.mark.parametrize(("count", "shown"), [("0", ""), ("1", "d\n"), ("3", "b\nc\nd\n"), ("9", "a\nb\nc\nd\n")])
def test_the_tail_reaches_into_the_older_half(filling: Filling, call: Call, count: str, shown: str) -> None:
    filling.ready("coder")
    write(filling, "uid1", "c\nd\n", older="a\nb\n")
    assert call("logs", "coder", "--tail", count).out == shown


def test_a_log_that_was_cut_is_read_in_its_order(filling: Filling, call: Call) -> None:
    filling.ready("coder")
    logs = Logs(filling.state / "logs", keep=5, most_bytes=100)
    path = write(filling, "uid1", "".join(f"line {number}\n" for number in range(20)))
    logs.trim(frozenset())
    with path.open("a") as file:
        file.write("after\n")
    assert call("logs", "coder", "--tail", "3").out == "line 18\nline 19\nafter\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("codr",), 1, "no server 'codr', did you mean 'coder'?"),
        (("coder",), 1, "uid1.log is gone"),
        (("coder", "--previous"), 1, "'coder' has no earlier instance"),
        (("idle",), 1, "'idle' has no instance"),
        (("coder", "-f", "--previous"), 2, "give --follow or --previous"),
    ],
)
def test_what_cannot_be_shown_is_told(
    filling: Filling, call: Call, arguments: tuple[str, ...], code: int, words: str
) -> None:
    filling.ready("coder")
    filling.document("idle")
    called = call("logs", *arguments)
    assert called.code == code
    assert words in called.err
    assert "\nhint: " in called.err


def test_following_goes_over_cuts_and_restarts(filling: Filling, root: Path) -> None:
    begun = filling.ready("coder")
    path = write(filling, "uid1", "skipped\nfirst\n", older="much older\n")
    with (root / "out").open("wb") as out, (root / "err").open("wb") as err:
        command = [sys.executable, "-m", "reconciler", "logs", "coder", "-f", "--tail", "1"]
        running = subprocess.Popen(command, cwd=root, stdout=out, stderr=err)

    def shown(text: str) -> None:
        eventually(lambda: (root / "out").read_text() == text)

    shown("first\n")
    with path.open("a") as file:
        file.write("second\nunfin")
    shown("first\nsecond\nunfin")
    os.truncate(path, 0)
    with path.open("a") as file:
        file.write("cut\n")
    shown("first\nsecond\nunfincut\n")
    filling.end(begun)
    filling.instance("coder", at=50)
    write(filling, "uid2", "new\nwhole\n")
    shown("first\nsecond\nunfincut\nnew\nwhole\n")
    assert (root / "err").read_text() == "--- coder: instance uid2 ---\n"
    running.send_signal(signal.SIGINT)
    assert running.wait(10) == 130
    assert "Traceback" not in (root / "err").read_text()


def test_a_terminal_gets_no_commands(filling: Filling, root: Path) -> None:
    filling.ready("coder")
    write(filling, "uid1", "\x1b[31mred\x1b[0m\tüber\x1b]0;title\x07\nbell\x07\nend")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "reconciler", "logs", "coder"]
    subprocess.run(command, cwd=root, stdin=theirs, stdout=theirs, stderr=theirs, check=True, timeout=30)
    assert os.read(ours, 10_000).decode() == "red\tüber\r\nbell�\r\nend\r\n"
    os.close(ours)
    os.close(theirs)
