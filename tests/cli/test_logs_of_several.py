"""Logs of several servers, and the lines that are chosen from them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from reconciler.cli.prefixes import COLOURS, colours_of
from tests.cli.conftest import Call
from tests.cli.filling import START, Filling, eventually, stamp
from tests.cli.test_watch import Terminal, plain


def write(filling: Filling, server: str, uid: str, *lines: str, at: float = START + 3600) -> Path:
    """A log that was last written at this Unix time."""
    path = filling.state / "logs" / server / f"{uid}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    os.utime(path, (at, at))
    return path


@pytest.fixture
def two(filling: Filling) -> Filling:
    """`chat` began 60 s after `embed-small`; both tell times."""
    filling.ready("embed-small")
    filling.document("chat")
    filling.instance("chat", at=60)
    write(
        filling, "embed-small", "uid1", "0.01.000.000 I first", "an ERROR of it", "2.00.000.000 I last", at=START + 120
    )
    write(filling, "chat", "uid2", "0.02.000.000 I second", "0.30.000.000 W third", at=START + 90)
    return filling


def test_several_are_merged_by_time_behind_their_names(two: Filling, call: Call) -> None:
    assert call("logs", "chat", "embed-small").out.splitlines() == [
        "embed-small | 0.01.000.000 I first",
        "embed-small | an ERROR of it",
        "chat        | 0.02.000.000 I second",
        "chat        | 0.30.000.000 W third",
        "embed-small | 2.00.000.000 I last",
    ]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("--all", "--tail", "1"), ["chat        | 0.30.000.000 W third", "embed-small | 2.00.000.000 I last"]),
        (("-l", "tier=demo", "--grep", r"\bW\b"), ["chat        | 0.30.000.000 W third"]),
        (("-l", "tier!=demo"), []),
        (("--all", "--no-prefix", "--grep", "error", "-i"), ["an ERROR of it"]),
        (("embed-small", "--grep", "error"), []),
        (("embed-small", "--grep", "I (first|last)$", "--tail", "1"), ["2.00.000.000 I last"]),
        (("chat", "chat"), ["0.02.000.000 I second", "0.30.000.000 W third"]),
    ],
)
def test_lines_are_chosen(two: Filling, call: Call, arguments: tuple[str, ...], shown: list[str]) -> None:
    called = call("logs", *arguments)
    assert (called.code, called.out.splitlines()) == (0, shown)


def test_json_tells_the_time_of_a_line(two: Filling, call: Call) -> None:
    lines = [json.loads(line) for line in call("logs", "embed-small", "-o", "json").out.splitlines()]
    assert [line["at"][14:] for line in lines] == ["13:21.250Z", "13:21.250Z", "15:20.250Z"]
    assert lines[1] == {**lines[0], "line": "an ERROR of it"}
    assert (lines[0]["server"], lines[0]["uid"]) == ("embed-small", "uid1")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> float:
    """Two minutes and ten seconds after the beginning."""
    monkeypatch.setattr(time, "time", lambda: START + 130)
    return START + 130


@pytest.mark.parametrize(
    ("since", "shown"), [("5s", []), ("30s", ["2.00.000.000 I last"]), ("2m9s", ["0.01", "an E", "2.00"])]
)
def test_since_goes_by_the_times_in_the_lines(
    two: Filling, call: Call, now: float, since: str, shown: list[str]
) -> None:
    lines = call("logs", "embed-small", "--since", since).out.splitlines()
    assert [line[: len(begin)] for line, begin in zip(lines, shown, strict=True)] == shown


def test_a_machine_that_slept_moves_no_line_into_the_past(two: Filling, call: Call, now: float) -> None:
    # By its own count the last line came 10 s after the start: the machine slept for a minute and a half.
    write(two, "embed-small", "uid1", "0.01.000.000 I first", "0.10.000.000 I last", at=START + 125)
    assert call("logs", "embed-small", "--since", "10s").out == "0.10.000.000 I last\n"


def test_what_looks_like_a_time_to_come_is_none(two: Filling, call: Call, now: float) -> None:
    lines = ["0.01.000.000 I first", "9999999.59.999.999 I odd", "of it", "2.00.000.000 I last"]
    write(two, "embed-small", "uid1", *lines, at=START + 125)
    found = [json.loads(line)["at"][14:19] for line in call("logs", "embed-small", "-o", "json").out.splitlines()]
    assert found == ["13:26", "13:26", "13:26", "15:25"]
    assert call("logs", "embed-small", "--since", "60s").out == "2.00.000.000 I last\n"


def test_a_search_that_takes_for_ever_can_be_ended(two: Filling, root: Path) -> None:
    write(two, "chat", "uid2", "a" * 60 + "!")
    command = [sys.executable, "-m", "reconciler", "logs", "chat", "--grep", "(a+)+$"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        # It searches as soon as it has used the processor for longer than it takes to begin.
        eventually(lambda: sum(psutil.Process(process.pid).cpu_times()[:2]) > 1.5, 30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, "", "")


@pytest.mark.parametrize(("written", "lines"), [(START + 125, 2), (START + 100, 0)])
def test_of_a_log_without_times_all_or_nothing_is_shown(
    two: Filling, call: Call, now: float, written: float, lines: int
) -> None:
    write(two, "embed-small", "uid1", "old", "new", at=written)
    called = call("logs", "embed-small", "--since", "10s")
    assert len(called.out.splitlines()) == lines
    assert "its lines tell no times" in called.err
    assert "2m10s ago" in called.err
    assert call("logs", "embed-small", "--since", "10s", "--quiet").err == ""


def test_those_without_a_log_are_told_beside_the_others(two: Filling, call: Call) -> None:
    two.document("idle")
    two.document("adopted")
    two.instance("adopted", adopted=True)
    called = call("logs", "--all", "--tail", "1")
    assert (called.code, len(called.out.splitlines())) == (0, 2)
    assert "'idle' has no instance" in called.err
    assert "'adopted' was taken over as pid" in called.err
    assert call("logs", "idle", "adopted").code == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name the servers, or give either --all or --selector"),
        (("chat", "--all"), "name the servers, or give either --all or --selector"),
        (("chat", "-l", "a=b"), "name the servers, or give either --all or --selector"),
        (("chat", "--grep", "(x"), r"found with: --grep '\(x'"),
        (("chat", "--since", "soon"), "expected a duration such as 500ms"),
        (("-l", "a=(", "-f"), "is none of key=value"),
    ],
)
def test_what_is_not_understood(two: Filling, call: Call, arguments: tuple[str, ...], words: str) -> None:
    called = call("logs", *arguments)
    assert called.code == 2
    assert words in called.err


# ---------------------------------------------------------------- followed


@pytest.fixture
def unfinished(two: Filling) -> Path:
    """The log of `old`, which is just writing a line."""
    two.document("old")
    two.instance("old", at=60)
    path = write(two, "old", "uid3", "two", "third", "another", "one more")
    append(path, "the who")
    return path


@pytest.fixture
def followed(two: Filling, root: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The output of `logs -f` with these arguments."""
    with (root / "out").open("wb") as out, (root / "err").open("wb") as err:
        command = [sys.executable, "-m", "reconciler", "logs", "-f", *request.param]
        running = subprocess.Popen(command, cwd=root, stdout=out, stderr=err)
    yield root / "out"
    running.send_signal(signal.SIGINT)
    assert running.wait(10) == 130
    assert "Traceback" not in (root / "err").read_text()


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@pytest.mark.parametrize("followed", [("-l", "tier=demo", "--tail", "1")], indirect=True)
def test_a_selection_follows_those_that_appear(two: Filling, followed: Path, root: Path) -> None:
    eventually(lambda: len(followed.read_text().splitlines()) == 2)
    log = two.state / "logs" / "chat" / "uid2.log"
    append(log, "unfin")
    append(two.state / "logs" / "embed-small" / "uid1.log", "whole\n")
    eventually(lambda: followed.read_text().endswith("embed-small | whole\n"))
    append(log, "ished\n")
    eventually(lambda: followed.read_text().endswith("chat        | unfinished\n"))
    two.document("new")
    two.instance("new", at=70)
    write(two, "new", "uid3", "its first", "its second")
    eventually(lambda: followed.read_text().endswith("new         | its first\nnew         | its second\n"))
    two.instance("chat", at=80, ended=stamp(81))
    append(log, "the end of it")
    write(two, "chat", "uid4", "another")
    eventually(lambda: followed.read_text().endswith("chat        | another\n"))
    assert "chat        | the end of it\n" in followed.read_text()
    assert "--- chat: instance uid4 ---" in (root / "err").read_text()


@pytest.mark.parametrize("followed", [("chat", "--grep", "third|later")], indirect=True)
def test_lines_are_chosen_while_they_come(two: Filling, followed: Path) -> None:
    eventually(lambda: followed.read_text() == "0.30.000.000 W third\n")
    append(two.state / "logs" / "chat" / "uid2.log", "not this\nbut later this\n")
    eventually(lambda: followed.read_text() == "0.30.000.000 W third\nbut later this\n")


@pytest.mark.parametrize("followed", [("old", "--grep", "^third|whole", "--tail", "2")], indirect=True)
def test_what_is_there_at_first_is_chosen_too_but_for_an_unfinished_line(unfinished: Path, followed: Path) -> None:
    eventually(lambda: followed.read_text() == "third\n")
    append(unfinished, "le line\n")
    eventually(lambda: followed.read_text() == "third\nthe whole line\n")


@pytest.mark.parametrize("followed", [("chat",)], indirect=True)
def test_a_database_that_is_made_anew_is_followed_on(two: Filling, followed: Path, root: Path) -> None:
    eventually(lambda: "third" in followed.read_text())
    two.store.close()
    for path in two.state.glob("state.db*"):
        path.unlink()
    with Filling(root) as anew:
        anew.document("chat")
        anew._uids = 10
        anew.instance("chat", at=100)
        write(anew, "chat", "uid11", "after the loss")
        eventually(lambda: followed.read_text().endswith("after the loss\n"))


# ---------------------------------------------------------------- colours


def test_names_have_colours_of_their_own_on_a_terminal(two: Filling, root: Path) -> None:
    terminal = Terminal(root, "logs", "--all", "--tail", "1")
    assert terminal.end() == 0
    colours = colours_of(["chat", "embed-small"])
    assert f"\x1b[{colours['chat']}mchat        | \x1b[0m0.30.000.000 W third" in terminal.text
    assert f"\x1b[{colours['embed-small']}membed-small | \x1b[0m2.00" in terminal.text
    without = Terminal(root, "logs", "--all", "--tail", "1", NO_COLOR="1")
    assert without.end() == 0
    assert without.text == plain(terminal.text)


def test_a_colour_is_kept_and_not_shared_while_there_are_enough() -> None:
    names = [f"server-{number}" for number in range(len(COLOURS))]
    assert sorted(colours_of(names).values()) == sorted(COLOURS)
    assert len(colours_of([*names, "one-more"])) == len(COLOURS) + 1
    assert {colours_of([name])[name] for name in names} > {colours_of(["server-1"])["server-1"]}
    assert colours_of(["chat"]) == colours_of(["chat", "chat"])
