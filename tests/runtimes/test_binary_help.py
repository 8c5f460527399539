"""Programs that are asked for their help: real ones, slow ones, and such that answer with anything but that."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from reconciler.runtimes import binary_help, remembered_helps
from reconciler.runtimes.binary_help import BinaryHelps, Heard, ask

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def program(path: Path, body: str) -> str:
    """A program that writes a line for each time it is run, and then does as told."""
    draft = path.with_suffix(".draft")
    draft.write_text(f"#!/bin/sh\necho $$ >> {path}.runs\n{body}\n")
    draft.chmod(0o755)
    draft.replace(path)
    return str(path)


def runs(path: str) -> list[int]:
    """The pids of all runs of a program."""
    told = Path(f"{path}.runs")
    return [int(line) for line in told.read_text().split()] if told.exists() else []


def read(text: str) -> str | None:
    return text.strip() or None


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def helps(tmp_path: Path) -> Iterator[BinaryHelps[str]]:
    made = BinaryHelps(read, tmp_path / "helps")
    yield made
    made.close()


def heard(helps: BinaryHelps[str], binary: str, fresher_than: float = float("-inf")) -> Heard[str]:
    helps.look(binary, ENVIRONMENT, fresher_than)
    helps.settle(10)
    return helps.look(binary, ENVIRONMENT)


# ---------------------------------------------------------------- asking


@pytest.mark.real
def test_the_real_one_tells_its_flags(llama_server: str) -> None:
    assert "--ctx-size" in (ask(llama_server, ENVIRONMENT) or "")


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("echo out; echo err >&2; exit 3", "out\nerr\n"),
        ("test $# = 1 && echo $1", "--help\n"),
        ("echo $SECRET; test -t 0 || echo no terminal; pwd", "\nno terminal\n/\n"),
        ("exit 0", ""),
        ("printf '\\377'", "\ufffd"),
    ],
)
def test_all_that_is_printed_is_the_answer(tmp_path: Path, body: str, answer: str) -> None:
    os.environ["SECRET"] = "hush"
    try:
        assert ask(program(tmp_path / "p", body), ENVIRONMENT) == answer
    finally:
        del os.environ["SECRET"]


@pytest.mark.parametrize("content", [None, "", "\x7fELF no program", "#!/no/such/shell\n"])
def test_what_cannot_be_run_tells_nothing(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "p"
    if content is not None:
        path.write_text(content)
        path.chmod(0o755)
    assert ask(str(path), ENVIRONMENT) is None


@pytest.mark.parametrize(
    "body", ["sleep 1000", "sleep 1000 &\nexec sleep 1000", "trap '' TERM; while :; do sleep 1; done", "yes"]
)
def test_one_that_does_not_come_to_an_end_is_killed_with_its_children(tmp_path: Path, body: str) -> None:
    began = time.monotonic()
    path = program(tmp_path / "p", body)
    assert ask(path, ENVIRONMENT, timeout=0.3) is None
    assert time.monotonic() - began < 5
    (pid,) = runs(path)
    wait_until(lambda: not _session(pid))


def test_a_child_that_is_left_behind_is_killed(tmp_path: Path) -> None:
    path = program(tmp_path / "p", "sleep 1000 >/dev/null 2>&1 &\necho help")
    assert ask(path, ENVIRONMENT) == "help\n"
    (pid,) = runs(path)
    wait_until(lambda: not _session(pid))


def _session(leader: int) -> list[int]:
    found = []
    for process in psutil.process_iter(["pid", "status"]):
        try:
            if os.getsid(process.info["pid"]) == leader and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.info["pid"])
        except OSError:
            continue
    return found


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    path = program(tmp_path / "p", "echo help")
    ask(path, ENVIRONMENT)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(3):
        ask(path, ENVIRONMENT)
        ask(str(tmp_path / "none"), ENVIRONMENT)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


# ---------------------------------------------------------------- remembering


def test_nobody_waits_in_the_call_and_the_answer_is_told(tmp_path: Path) -> None:
    gate, told = tmp_path / "gate", threading.Event()
    path = program(tmp_path / "p", f"while [ ! -e {gate} ]; do sleep 0.01; done; echo help")
    helps = BinaryHelps(read, None, told.set)
    began = time.monotonic()
    first = helps.look(path, ENVIRONMENT)
    assert time.monotonic() - began < 1
    assert first.table is None
    assert first.waits_until is not None
    assert began < first.waits_until <= time.monotonic() + binary_help.PATIENCE
    assert helps.look(path, ENVIRONMENT) == first
    assert helps.is_waiting
    gate.touch()
    assert told.wait(10)
    now = helps.look(path, ENVIRONMENT)
    assert (now.table, now.waits_until, len(runs(path))) == ("help", None, 1)


def test_one_that_changes_is_asked_anew(tmp_path: Path, helps: BinaryHelps[str]) -> None:
    path = program(tmp_path / "p", "echo one")
    assert (heard(helps, path).table, heard(helps, path).table) == ("one", "one")
    program(tmp_path / "p", "echo other")
    assert heard(helps, path).table == "other"
    assert len(runs(path)) == 2


def test_what_is_not_fresh_enough_is_asked_anew_without_a_wait(tmp_path: Path, helps: BinaryHelps[str]) -> None:
    path = program(tmp_path / "p", f"cat {tmp_path}/said")
    (tmp_path / "said").write_text("one")
    at = heard(helps, path).at
    (tmp_path / "said").write_text("other")  # as when the program is a script around another
    assert heard(helps, path, at - 1).table == "one"
    again = helps.look(path, ENVIRONMENT, time.monotonic())
    assert (again.table, again.waits_until) == ("one", None)
    assert heard(helps, path).table == "other"


def test_the_next_controller_does_not_ask_again(tmp_path: Path, helps: BinaryHelps[str]) -> None:
    path = program(tmp_path / "p", "echo help")
    heard(helps, path)
    wait_until(lambda: list((tmp_path / "helps").glob("*.json")))
    later = BinaryHelps(read, tmp_path / "helps")
    found = later.look(path, ENVIRONMENT)
    assert (found.table, found.at, found.waits_until, later.asked) == ("help", float("-inf"), None, 0)
    assert len(runs(path)) == 1
    sure = later.look(path, ENVIRONMENT, time.monotonic())
    assert (sure.table, sure.waits_until is not None) == ("help", True)
    later.close()


DAMAGE = {
    "empty": "",
    "cut": "{",
    "list": "[]",
    "stamp": '{"stamp": "1", "help": "x"}',
    "zero": "\0",
    "number": '{"stamp": STAMP, "help": 5}',
    "lists": '{"stamp": STAMP, "help": ["help"]}',
    "deep": "[" * 200_000,
    "large": '{"stamp": STAMP, "help": "help"}' + " " * remembered_helps.LARGEST,
}


@pytest.mark.parametrize("damage", [*DAMAGE, "pipe", "folder", "loop"])
def test_a_damaged_memory_is_none(tmp_path: Path, helps: BinaryHelps[str], damage: str) -> None:
    path = program(tmp_path / "p", "echo help")
    heard(helps, path)
    wait_until(lambda: list((tmp_path / "helps").glob("*.json")))
    (file,) = (tmp_path / "helps").glob("*.json")
    stamp = json.loads(file.read_text())["stamp"]
    file.unlink()
    if damage == "pipe":
        os.mkfifo(file)
    elif damage == "folder":
        file.mkdir()
    elif damage == "loop":
        file.symlink_to(file)
    else:
        file.write_text(DAMAGE[damage].replace("STAMP", json.dumps(stamp)))
    later = BinaryHelps(read, tmp_path / "helps")
    found = later.look(path, ENVIRONMENT)
    assert (found.table, found.waits_until is not None) == (None, True)
    later.settle(10)
    assert later.look(path, ENVIRONMENT).table == "help"
    later.close()


def test_it_writes_nothing_unless_it_keeps(tmp_path: Path) -> None:
    path = program(tmp_path / "p", "echo help")
    helps = BinaryHelps(read, tmp_path / "helps", keeps=False)
    assert heard(helps, path).table == "help"
    helps.close()
    assert not (tmp_path / "helps").exists()


def test_only_so_many_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered_helps, "MOST_KEPT", 2)
    done = threading.Event()
    helps = BinaryHelps(read, tmp_path / "helps", done.set)
    for number in range(4):
        heard(helps, program(tmp_path / f"p{number}", "echo help"))
    wait_until(lambda: len(list((tmp_path / "helps").glob("*.json"))) == 2)


def test_a_folder_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "helps").write_text("a file")
    helps = BinaryHelps(read, tmp_path / "helps")
    assert heard(helps, program(tmp_path / "p", "echo help")).table == "help"


def test_one_without_an_answer_is_not_asked_at_each_look(tmp_path: Path, helps: BinaryHelps[str]) -> None:
    path = program(tmp_path / "p", "exit 1")
    assert [heard(helps, path).table for _ in range(3)] == [None] * 3
    assert helps.look(path, ENVIRONMENT).waits_until is None
    assert len(runs(path)) == 1


def test_one_without_an_answer_is_asked_again_later(
    tmp_path: Path, helps: BinaryHelps[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binary_help, "AGAIN", 0.0)
    path = program(tmp_path / "p", f"test -e {tmp_path}/well && echo help")
    assert heard(helps, path).table is None
    (tmp_path / "well").touch()
    assert helps.look(path, ENVIRONMENT).waits_until is None
    wait_until(lambda: heard(helps, path).table == "help")


def test_one_that_is_not_there_is_not_asked(tmp_path: Path, helps: BinaryHelps[str]) -> None:
    assert helps.look(str(tmp_path / "none"), ENVIRONMENT) == Heard()
    assert helps.asked == 0


def test_closing_leaves_no_program_behind(tmp_path: Path) -> None:
    path = program(tmp_path / "p", "exec sleep 1000")
    helps = BinaryHelps(read)
    helps.look(path, ENVIRONMENT)
    wait_until(lambda: runs(path))
    began = time.monotonic()
    helps.close()
    assert time.monotonic() - began < 1.5
    assert not _session(runs(path)[0])


def test_other_libraries_make_it_another_program(tmp_path: Path, helps: BinaryHelps[str]) -> None:
    path = program(tmp_path / "p", 'echo "with $LD_LIBRARY_PATH"')
    assert heard(helps, path).table == "with"
    helps.look(path, {**ENVIRONMENT, "LD_LIBRARY_PATH": "/opt/l"})
    helps.settle(10)
    assert helps.look(path, {**ENVIRONMENT, "LD_LIBRARY_PATH": "/opt/l"}).table == "with /opt/l"
    assert heard(helps, path).table == "with"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="without /proc nobody is known by a mark")
def test_what_a_script_begins_in_a_session_of_its_own_is_ended_too(tmp_path: Path) -> None:
    binary = program(tmp_path / "daemon", f"setsid sh -c 'echo $$ > {tmp_path}/child; exec sleep 7651' &\necho --port")
    wait_long = 'while [ ! -s "{}" ]; do sleep 0.01; done'.format(tmp_path / "child")
    Path(binary).write_text(Path(binary).read_text().replace("echo --port", f"{wait_long}\necho --port"))
    assert ask(binary, ENVIRONMENT) == "--port\n"
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_of_a_script_every_variable_makes_another_program(tmp_path: Path, helps: BinaryHelps[str]) -> None:
    path = program(tmp_path / "p", 'echo "with $BUILD"')
    assert heard(helps, path).table == "with"
    helps.look(path, {**ENVIRONMENT, "BUILD": "new"})
    helps.settle(10)
    assert helps.look(path, {**ENVIRONMENT, "BUILD": "new"}).table == "with new"


def test_one_of_machine_code_is_asked_once_whatever_else_is_set(helps: BinaryHelps[str]) -> None:
    for number in range(3):
        helps.look(sys.executable, {**ENVIRONMENT, "BUILD": str(number)})
        helps.settle(10)
    assert helps.asked == 1


def test_not_all_are_asked_at_the_same_time(
    tmp_path: Path, helps: BinaryHelps[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helps, "_room", threading.Semaphore(2))
    gate = tmp_path / "gate"
    path = program(tmp_path / "p", f"while [ ! -e {gate} ]; do sleep 0.01; done; echo help")
    for number in range(6):
        helps.look(path, {**ENVIRONMENT, "BUILD": str(number)})
    wait_until(lambda: len(runs(path)) == 2)
    time.sleep(0.2)
    assert len(runs(path)) == 2
    gate.touch()
    helps.settle(10)
    assert len(runs(path)) == 6


BEGINNINGS = {
    b"#!/bin/sh\n": True,
    b"echo so": True,
    b"\x7fELF\x02\x01": False,
    b"\xcf\xfa\xed\xfe": False,
    b"\xca\xfe\xba\xbe": False,
}


@pytest.mark.parametrize("content", BEGINNINGS)
def test_what_is_no_machine_code_is_a_script(tmp_path: Path, helps: BinaryHelps[str], content: bytes) -> None:
    path = tmp_path / "p"
    path.write_bytes(content)
    assert helps.is_script(str(path)) is BEGINNINGS[content]
    path.write_bytes(b"\x7fELF, another one")
    assert not helps.is_script(str(path))
    path.unlink()
    assert not helps.is_script(str(path))
    os.mkfifo(path)
    assert not helps.is_script(str(path))
