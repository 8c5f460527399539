"""`get` of some, of several kinds, and what becomes of a selection that is watched."""

import json
from pathlib import Path

import pytest

from reconciler.cli.kinds import KINDS
from reconciler.cli.terminal import cells
from reconciler.core.kinds import DEFAULTS, PROFILE, other_document
from reconciler.core.model import Now, Phase
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import BOOT, START, Filling, eventually, status
from tests.cli.test_wait import holds_database
from tests.cli.test_watch import WIDTH, Piped, Terminal, plain


def fill(filling: Filling) -> None:
    filling.ready("coder", port=8001)
    filling.ready("chat", ctx=4096)
    filling.failed("embedder")
    filling.event("coder", "Started", "pid 7")
    filling.event("embedder", "Crashed", "signal 9", warning=True)
    filling.source()


def names(text: str) -> list[str]:
    return text.split()


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("srv", "-l", "tier=demo"), ["server/chat", "server/coder", "server/embedder"]),
        (("servers", "-l", "tier!=demo"), []),
        (("servers", "--field-selector", "phase=Failed"), ["server/embedder"]),
        (("servers", "--field-selector", "phase!=failed,spec.port!=8001"), ["server/chat"]),
        (("servers", "coder", "embedder", "--sort-by", "phase"), ["server/embedder", "server/coder"]),
        (("servers", "--sort-by", "-name"), ["server/embedder", "server/coder", "server/chat"]),
        (("server/coder", "src/git"), ["server/coder", "source/git"]),
        (("servers,events", "coder"), ["server/coder", "event/coder/Started"]),
        (("ev", "--field-selector", "type=Warning"), ["event/embedder/Crashed"]),
        (("ev", "-l", "tier=demo", "--field-selector", "reason=Started"), ["event/coder/Started"]),
        (("ev", "-l", "!tier"), []),
        (("all", "--sort-by", "phase"), ["server/embedder", "server/chat", "server/coder", "source/git"]),
        (("servers,events", "--field-selector", "reason=Started"), ["event/coder/Started"]),
        (("rs", "--field-selector", "diagnosis=Killed", "--limit", "1"), ["restart/embedder/uid6"]),
    ],
)
def test_some_of_all(
    filling: Filling, controller: FakeController, call: Call, arguments: tuple[str, ...], shown: list[str]
) -> None:
    fill(filling)
    called = call("get", *arguments, "-o", "name")
    assert (called.code, called.err) == (0, "")
    assert names(called.out) == shown


def test_all_is_what_there_is(filling: Filling, controller: FakeController, call: Call) -> None:
    fill(filling)
    assert names(call("get", "all", "-o", "name").out) == [
        "server/chat",
        "server/coder",
        "server/embedder",
        "source/git",
    ]


def test_several_kinds_are_one_list_of_things_that_say_what_they_are(
    filling: Filling, controller: FakeController, call: Call
) -> None:
    fill(filling)
    found = json.loads(call("get", "server/coder", "source/git", "event/coder", "-o", "json").out)
    assert found["kind"] == "List"
    assert [item["kind"] for item in found["items"]] == ["LlamaServer", "Source", "Event"]
    (alone,) = json.loads(call("get", "servers", "coder", "-o", "json").out)["items"]
    assert {"kind", *alone} == {*found["items"][0]}
    assert alone["metadata"] == found["items"][0]["metadata"]


def test_tables_stand_one_below_the_other(filling: Filling, controller: FakeController, call: Call) -> None:
    fill(filling)
    tables = call("get", "servers,events,restarts", "chat").out.split("\n\n")
    assert [table.split()[0] for table in tables] == ["NAME", "SERVER"]


def test_nothing_fits(filling: Filling, controller: FakeController, call: Call) -> None:
    fill(filling)
    called = call("get", "servers", "-l", "tier=gone")
    assert (called.code, called.out) == (0, "")
    assert called.err == "nothing fits what was asked for; see all with: reconciler get servers\n"
    assert call("--quiet", "get", "servers", "-l", "tier=gone") == (0, "", "")
    assert json.loads(call("get", "servers", "-l", "tier=gone", "-o", "json").out)["items"] == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("servers,events", "codr"), "no server 'codr', did you mean 'coder'?"),
        (("server/git", "source/git"), "no server 'git'"),
        (("servers,sources", "gti"), "no server 'gti'"),
    ],
)
def test_a_name_that_nothing_has(
    filling: Filling, controller: FakeController, call: Call, arguments: tuple[str, ...], error: str
) -> None:
    fill(filling)
    called = call("get", *arguments)
    assert (called.code, called.out) == (1, "")
    assert called.err.startswith(f"error: {error}")


def test_a_program_watches_several_kinds(filling: Filling, controller: FakeController, root: Path) -> None:
    filling.ready("coder")
    piped = Piped(root, "get", "servers,events", "coder", "-w", "-o", "json")
    eventually(lambda: len(piped.lines) == 1)
    filling.event("coder", "Started", "one")
    eventually(lambda: len(piped.lines) == 2)
    filling.record("coder", status(Phase.STOPPING))
    eventually(lambda: len(piped.lines) == 3)
    piped.process.terminate()
    piped.process.wait(10)
    assert [json.loads(line)["kind"] for line in piped.lines] == ["LlamaServer", "Event", "LlamaServer"]


def test_what_leaves_a_selection_need_not_be_gone(filling: Filling, controller: FakeController, root: Path) -> None:
    filling.ready("coder")
    piped = Piped(root, "get", "servers", "-w", "--field-selector", "phase=Ready")
    eventually(lambda: len(piped.lines) == 2)
    filling.record("coder", status(Phase.STOPPING))
    eventually(lambda: len(piped.lines) == 3)
    filling.ready("coder")
    eventually(lambda: len(piped.lines) == 4)
    piped.process.terminate()
    piped.process.wait(10)
    assert [line.split()[:2] for line in piped.lines[1:]] == [["coder", "Ready"], ["coder", "-"], ["coder", "Ready"]]
    assert piped.lines[2].endswith("removed, or not among these any more")


def test_a_field_that_nothing_has_yet_ends_no_watch(filling: Filling, controller: FakeController, root: Path) -> None:
    piped = Piped(root, "get", "events", "-w", "--field-selector", "nobody!=knows", "-o", "name")
    eventually(lambda: holds_database(piped.process.pid))
    filling.event("coder", "Started", "one")
    eventually(lambda: piped.lines == ["event/coder/Started"])
    assert piped.process.poll() is None
    piped.process.terminate()
    piped.process.wait(10)


def test_a_terminal_shows_several_kinds_and_no_line_is_too_wide(
    filling: Filling, controller: FakeController, root: Path
) -> None:
    filling.ready("coder")
    filling.source(error="could not resolve host: " + "x" * 100)
    terminal = Terminal(root, "get", "all", "-w")
    eventually(lambda: "REVISION" in terminal.text)
    filling.record("coder", status(Phase.UNHEALTHY, "3 probes failed: " + "x" * 100))
    eventually(lambda: "Unhealthy" in terminal.text)
    assert terminal.interrupt() == 130
    # What is on stderr are messages, whole and in one line.
    lines = [line for line in plain(terminal.text).splitlines() if not line.startswith("warning: ")]
    assert max(cells(line) for line in lines) <= WIDTH


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "servers"])
def test_no_table_is_too_wide(filling: Filling, controller: FakeController, root: Path, kind: str) -> None:
    fill(filling)
    long = {"file": f"manifests/{'x' * 80}.yaml", "line": 1}
    labels = {f"a-label-that-is-rather-long-{number}": "x" for number in range(3)}
    defaults = json.dumps({"selector": {"matchLabels": labels}, "template": {"ctx": 1, "parallel": 1, "threads": 1}})
    others = [
        other_document(DEFAULTS, defaults, name="d" * 63, **long),
        other_document(PROFILE, json.dumps({"servers": ["coder", "chat", "embedder"]}), name="p" * 63, **long),
    ]
    filling.event("coder", "Crashed", "signal 9 " * 20)
    with filling.store.transaction():
        for each in others:
            filling.store.save_other(each, Now(0, START, BOOT))
    terminal = Terminal(root, "get", kind)
    assert terminal.end() == 0
    lines = plain(terminal.text).splitlines()
    assert len(lines) > 1
    assert max(cells(line) for line in lines) <= WIDTH
