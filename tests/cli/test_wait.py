"""`wait`: how it ends, and what it says."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.cli.wait import goal
from reconciler.core.model import Phase
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import Filling, eventually, status
from tests.cli.test_watch import Terminal, plain


def soon(*steps: Callable[[], object]) -> None:
    """Do these steps, one after the other, while a command waits."""

    def play() -> None:
        for step in steps:
            time.sleep(0.2)
            step()

    threading.Thread(target=play, daemon=True).start()


def remove(filling: Filling, name: str) -> None:
    with filling.store.transaction():
        filling.store.remove_document(name)
        filling.store.forget(name)


@pytest.mark.parametrize(
    ("goal", "told"),
    [
        ("condition=Ready", "coder  Ready in "),
        ("condition=ready=TRUE", "coder  Ready in "),
        ("condition=Adopted=False", "coder  Adopted=False in "),
        ("condition=slow=False", "coder  Slow=False in "),
        ("condition=ContextCapped=False", "coder  ContextCapped=False in "),
        ("phase=ready", "coder  Ready in "),
        ("create", "coder  there in "),
    ],
)
def test_what_is_so_needs_no_wait(
    filling: Filling, controller: FakeController, call: Call, goal: str, told: str
) -> None:
    filling.ready("coder")
    called = call("wait", "server/coder", "--for", goal, "--timeout", "0s")
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith(told)


def test_the_last_of_several_is_waited_for(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.ready("coder")
    filling.document("chat")
    filling.record("chat", status(Phase.STARTING))
    soon(lambda: filling.record("chat", status(Phase.FAILED, "gave up")), lambda: filling.ready("chat"))
    called = call("wait", "-l", "tier=demo", "--timeout", "20s")
    assert called.code == 0
    assert [line.split()[:2] for line in called.out.splitlines()] == [["coder", "Ready"], ["chat", "Ready"]]


def test_one_that_fails_can_be_waited_for(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.ready("coder")
    soon(lambda: filling.record("coder", status(Phase.FAILED, "gave up")))
    assert call("wait", "coder", "--for=phase=Failed").code == 0


def test_an_end_can_be_waited_for(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.ready("coder")
    soon(lambda: remove(filling, "coder"))
    called = call("wait", "coder", "never-there", "--for=delete")
    assert called.code == 0
    assert [line.split()[:2] for line in called.out.splitlines()] == [["never-there", "gone"], ["coder", "gone"]]


def test_one_that_is_to_come_can_be_waited_for(filling: Filling, controller: FakeController, call: Call) -> None:
    soon(lambda: filling.document("coder"))
    assert call("wait", "coder", "--for=create").code == 0


def test_the_time_is_over(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.failed("coder")
    filling.ready("chat")
    for number in range(3):
        filling.document(f"more{number}")
        filling.record(f"more{number}", status(Phase.PENDING))
    began = time.monotonic()
    called = call("wait", "--all", "--timeout", "300ms")
    assert (called.code, called.out.split()[:2]) == (1, ["chat", "Ready"])
    assert called.err.startswith("✗ coder  Failed: Killed\n")
    assert called.err.endswith(
        "\nerror: not Ready within 300ms: coder is Failed: gave up after 3 restarts: signal 9: Killed; "
        "more0 is Pending; more1 is Pending; 1 more\n"
        "hint: see why with: reconciler describe server coder\n"
    )
    assert time.monotonic() - began < 2


def test_one_that_never_comes(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.ready("coder")
    called = call("wait", "nope", "--for=create", "--timeout", "200ms")
    assert called.code == 1
    assert called.err.startswith("error: not there within 200ms: nope: there is no such server yet\n")
    called = call("wait", "nope", "--for=create", "--timeout", "0s")
    assert called.err.startswith("error: not there: nope: there is no such server yet\n")


def test_one_that_is_removed_is_waited_for_no_more(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.failed("coder")
    soon(lambda: remove(filling, "coder"))
    called = call("wait", "coder", "--timeout", "1m")
    assert called.code == 1
    assert called.err == (
        "error: not Ready: coder: there is no such server any more\n"
        "hint: see which there are with: reconciler get servers\n"
    )


def test_nobody_is_there_to_start_it(filling: Filling, call: Call) -> None:
    filling.ready("coder")
    called = call("wait", "coder", "--timeout", "0s")
    assert called.code == 1
    assert called.err.startswith("error: not Ready: coder is Unknown: no controller is running; pid ")
    assert called.err.endswith("hint: no controller is running; start one with: reconciler run\n")


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("codr",), 1, "no server 'codr', did you mean 'coder'?"),
        (("codr", "--for=condition=Ready=False"), 1, "no server 'codr'"),
        (("-l", "tier=gone"), 1, "no server has these labels"),
        ((), 2, "name the servers, or give -l or --all"),
        (("coder", "--all"), 2, "name the servers, or give -l or --all"),
        (("coder", "--for=condition=Raedy"), 2, "no condition 'Raedy'; there are: Ready, Progressing"),
        (("coder", "--for=condition=Ready=maybe"), 2, "a condition is True or False, not 'maybe'"),
        (("coder", "--for=phase=Nope"), 2, "no phase 'Nope'; there are: Ready, Pending"),
        (("coder", "--for=jsonpath={.x}=1"), 2, "is none of condition=Ready"),
        (("coder", "--timeout", "soon"), 2, "'soon'"),
    ],
)
def test_mistakes_are_answered_at_once(
    filling: Filling, controller: FakeController, call: Call, arguments: tuple[str, ...], code: int, error: str
) -> None:
    filling.ready("coder")
    called = call("wait", *arguments)
    assert (called.code, called.out) == (code, "")
    assert error in called.err


def test_data_is_printed_alone(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.ready("coder")
    filling.ready("chat")
    assert call("wait", "coder", "chat", "-o", "name") == (0, "server/chat\nserver/coder\n", "")
    found = json.loads(call("wait", "coder", "-o", "json").out)
    assert [item["metadata"]["name"] for item in found["items"]] == ["coder"]
    assert call("--quiet", "wait", "coder") == (0, "", "")


@pytest.mark.parametrize("text", ["", "Ready", "delete=1", "create=x", "condition", "phase"])
def test_goals_that_nobody_understands(text: str) -> None:
    with pytest.raises(ValueError, match=r"none of|no condition|no phase"):
        goal(text)


def test_a_terminal_shows_how_far_they_are(filling: Filling, controller: FakeController, root: Path) -> None:
    filling.document("coder")
    filling.record("coder", status(Phase.STARTING, "reading the model"))
    terminal = Terminal(root, "wait", "coder")
    eventually(lambda: "1 on their way" in terminal.text)
    filling.ready("coder")
    assert terminal.end() == 0
    assert "Starting: reading the model" in plain(terminal.text)
    assert "coder  Ready in " in plain(terminal.text)


def holds_database(pid: int) -> bool:
    found = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.add(each.readlink().name.partition(" ")[0])
    return "state.db" in found


def test_it_survives_a_database_that_is_made_anew(filling: Filling, controller: FakeController, root: Path) -> None:
    filling.document("coder")
    filling.record("coder", status(Phase.STARTING))
    waiting = subprocess.Popen([sys.executable, "-m", "reconciler", "wait", "coder", "-q"], cwd=root)
    eventually(lambda: holds_database(waiting.pid))
    filling.store.close()
    for path in filling.state.glob("state.db*"):
        path.unlink()
    eventually(lambda: not holds_database(waiting.pid))
    with Filling(root) as anew:
        anew.ready("coder")
        assert waiting.wait(15) == 0


LESS = "asked for ctx 8192; running ctx 2048"


@pytest.mark.parametrize("output", [(), ("-o", "json")])
def test_one_that_is_ready_with_less_is_told(
    filling: Filling, controller: FakeController, call: Call, output: tuple[str, ...]
) -> None:
    for name in ("coder", "chat"):
        filling.ready(name)
    filling.condition("coder", "Degraded", "ContextTooLarge", LESS, holds=True)
    called = call("wait", "coder", "chat", *output)
    assert called.code == 0
    assert called.err.startswith(f"✗ coder  Degraded: ContextTooLarge\n  What happened   {LESS}\n")
    assert "chat" not in called.err
    if output:
        items = {one["metadata"]["name"]: one["status"]["conditions"] for one in json.loads(called.out)["items"]}
        assert [one["status"] for one in items["coder"] if one["type"] == "Degraded"] == ["True"]


@pytest.mark.parametrize("words", [("--for=condition=Degraded",), ("--for=phase=Failed", "--timeout", "0s"), ("-q",)])
def test_who_waits_for_something_else_is_told_nothing_of_it(
    filling: Filling, controller: FakeController, call: Call, words: tuple[str, ...]
) -> None:
    filling.ready("coder")
    filling.condition("coder", "Degraded", "ContextTooLarge", LESS, holds=True)
    told = call("wait", "coder", *words).err
    assert ("✗" in told) is ("--timeout" in words)
