import json
import os
import time
from io import StringIO
from typing import Any

import pytest
from ruamel.yaml import YAML

from reconciler.cli import asked
from reconciler.core.model import Phase
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import Filling, stamp, status


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_servers_as_a_table(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.ready("coder", ctx=8192, parallel=4, port=8001)
    filling.failed("chat")
    code, out, err = call("get", "servers")
    assert (code, err) == (0, "")
    header, chat, coder, total = rows(out)
    assert header == ["NAME", "PHASE", "MODEL", "CTX", "NGL", "PORT", "PID", "RESTARTS", "UPTIME", "MESSAGE"]
    assert chat[:8] == ["chat", "Failed", "tiny.gguf", "auto", "auto", "auto", "-", "3"]
    assert chat[9:] == ["gave", "up", "after", "3", "restarts:", "signal", "9:", "Killed"]
    assert coder[:8] == ["coder", "Ready", "tiny.gguf", "4096", "12/12", "8001", str(os.getpid()), "0"]
    assert " ".join(total) == "2 total, 1 ready, 1 running, 1 failed"


@pytest.mark.parametrize("word", ["server", "servers"])
def test_one_server(filling: Filling, controller: FakeController, call: Call, word: str) -> None:
    filling.ready("coder")
    filling.ready("chat")
    assert [row[0] for row in rows(call("get", word, "chat").out)] == ["NAME", "chat", "1"]


def test_wide_shows_more_and_cuts_nothing(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.ready("coder", model="/a/long/path/model.gguf")
    header, row, _ = rows(call("get", "servers", "-o", "wide").out)
    assert header[9:] == ["SLOTS", "DEVICE", "GENERATION", "INSTANCE", "SOURCE", "MESSAGE"]
    assert row[2] == "/a/long/path/model.gguf"
    assert row[-5:] == ["4", "-", "1", "uid1", "manifests/coder.yaml:1"]


def test_json_is_the_same_list_as_yaml(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.failed("chat")
    found = json.loads(call("get", "servers", "-o", "json").out)
    assert set(found) == {"apiVersion", "kind", "items"}
    assert (found["apiVersion"], found["kind"]) == ("llama.reconciler/v1alpha1", "LlamaServerList")
    assert set(found["items"][0]) == {"metadata", "spec", "status"}
    assert YAML(typ="safe").load(StringIO(call("get", "servers", "-o", "yaml").out)) == found


def test_names_can_be_given_back(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.ready("coder")
    filling.ready("chat")
    names = call("get", "servers", "-o", "name").out.split()
    assert names == ["server/chat", "server/coder"]
    assert call("get", "servers", names[1], "-o", "name").out == "server/coder\n"


@pytest.mark.parametrize(
    ("spec", "effective", "shown"),
    [
        ({}, None, "auto"),
        ({"ctx": 4096}, None, "4096"),
        ({}, {"ctxPerSlot": 512}, "512"),
        ({"ctx": 128, "parallel": 1}, {"ctxPerSlot": 256}, "256"),
        ({"ctx": 4096, "parallel": 4}, {"ctxPerSlot": 1024}, "4096"),
        ({"ctx": 4096}, {"ctxPerSlot": 4096}, "4096"),
        ({"ctx": 4096}, {"ctxPerSlot": 512}, "512"),
        ({"parallel": 2}, {"ctxPerSlot": 512}, "1024"),
        ({"ctx": 4096, "parallel": 4}, {"ctxPerSlot": 4096}, "4096"),
    ],
)
def test_the_context_is_that_of_all_slots(spec: dict[str, Any], effective: dict[str, Any] | None, shown: str) -> None:
    assert asked.context_size(spec, effective) == shown


def test_a_back_off_is_counted_down(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.document("coder")
    ended = stamp(time.time() - stamp().wall)
    filling.record("coder", status(Phase.BACKOFF), n=2, restarts=3, ended=ended, delay=8.5)
    assert "3 (2/3 in 8" in call("get", "servers").out


def test_without_a_controller_it_says_so(filling: Filling, call: Call) -> None:
    filling.ready("coder")
    code, out, err = call("get", "servers")
    assert code == 0
    assert err == "warning: no controller is running; start one with: reconciler run\n"
    assert rows(out)[1][:2] == ["coder", "Unknown"]
    assert f"no controller is running; pid {os.getpid()} is alive, last seen Ready" in out
    assert out.endswith("1 total, 0 ready, 1 running\n")


def test_errors_of_no_server_are_warnings(filling: Filling, controller: FakeController, call: Call) -> None:
    problems = [f"manifests/{number}.yaml: junk\x1b[2J" for number in range(7)]
    filling.meta("manifests", json.dumps({"folderProblem": "no manifest is left", "problems": problems}))
    err = call("get", "servers").err.splitlines()
    assert err[0] == "warning: no manifest is left"
    assert err[1] == "warning: manifests/0.yaml: junk�[2J"
    assert err[6:] == [
        "warning: 2 more errors; see them with: reconciler validate",
        "no servers are declared; write a manifest into the manifests folder, or run: reconciler apply -f FILE",
    ]


def test_the_folders_problem_is_told_once(filling: Filling, controller: FakeController, call: Call) -> None:
    problem = "no manifest is left, but 2 were accepted: nothing is stopped"
    filling.meta("manifests", json.dumps({"folderProblem": problem, "problems": []}))
    for name in ("chat", "coder"):
        filling.ready(name)
        filling.record(name, status(Phase.READY, problem))
    called = call("get", "servers")
    assert called.err == f"warning: {problem}\n"
    assert [row[9:] for row in rows(called.out)[1:3]] == [["held,", "see", "the", "warning"]] * 2
    assert json.loads(call("get", "servers", "-o", "json").out)["items"][0]["status"]["message"] == problem


def test_the_row_shows_what_runs_and_not_what_is_declared(
    filling: Filling, controller: FakeController, call: Call
) -> None:
    filling.document("coder", model="/m/new.gguf", ctx=8192, gpuLayers=5, parallel=2)
    filling.instance("coder", spec={"model": "/m/old.gguf", "ctx": 512, "gpuLayers": 7, "parallel": 3})
    filling.record("coder", status(Phase.READY, "the running instance stays", reconciled="GateShut"))
    assert rows(call("get", "servers").out)[1][2:5] == ["old.gguf", "512", "7"]
    wide = rows(call("get", "servers", "-o", "wide").out)[1]
    assert " ".join(wide[2:10]) == "/m/old.gguf (asked /m/new.gguf) 512 (asked 8192) 7 (asked"
    assert " ".join(wide[15:19]) == "3 (asked 2) -"


@pytest.mark.parametrize(
    ("declared", "assigned", "shown"), [("auto", 8004, "8004"), ("auto", None, "auto"), (9000, 8004, "9000")]
)
def test_a_server_that_rests_shows_the_port_it_will_have(
    filling: Filling, controller: FakeController, call: Call, declared: int | str, assigned: int | None, shown: str
) -> None:
    filling.document("coder", port=declared)
    filling.record("coder", status(Phase.STOPPED, "stopped by request", "StopRequested"))
    if assigned:
        filling.assign("coder", assigned)
    assert rows(call("get", "servers").out)[1][5] == shown


def test_events(filling: Filling, call: Call) -> None:
    filling.event("coder", "Crashed", "signal 9: Killed\nagain", warning=True)
    filling.event("", "ManifestUnreadable", "junk")
    header, crashed, unreadable = rows(call("get", "events").out)
    assert header == ["LAST", "TYPE", "REASON", "SERVER", "COUNT", "MESSAGE"]
    assert crashed[2:] == ["Warning", "Crashed", "coder", "1", "signal", "9:", "Killed", "again"]
    assert unreadable[4] == "-"
    found = json.loads(call("get", "events", "coder", "-o", "json").out)
    assert (found["kind"], [item["reason"] for item in found["items"]]) == ("EventList", ["Crashed"])


def test_restarts(filling: Filling, call: Call) -> None:
    filling.failed("coder")
    out = rows(call("get", "restarts", "--limit", "2").out)
    assert [row[3:7] for row in out[1:]] == [
        ["Crashed", "2", "1s", str(os.getpid())],
        ["Crashed", "3", "2s", str(os.getpid())],
    ]
    assert out[2][7:10] == ["5s", "SIGKILL", "Killed"]
    found = json.loads(call("get", "restarts", "-o", "json").out)
    assert (found["kind"], len(found["items"])) == ("RestartList", 4)


def test_a_server_that_is_gone_has_a_history(filling: Filling, call: Call) -> None:
    filling.event("gone", "Removed", "its document is gone")
    assert call("get", "events", "gone").code == 0
    assert call("get", "servers", "gone").code == 1


@pytest.mark.parametrize(
    ("arguments", "code", "error", "hint"),
    [
        (("servers", "codr"), 1, "no server 'codr', did you mean 'coder'?", "reconciler get servers"),
        (("servers", "zzz"), 1, "no server 'zzz'", "reconciler get servers"),
        (
            ("serverz",),
            2,
            "no such list 'serverz', did you mean 'servers'?",
            "reconciler get servers, reconciler get ",
        ),
        (("servers", "-o", "xml"), 2, "'xml' is not one of 'wide', 'json', 'yaml', 'name'", "reconciler get --help"),
        ((), 2, "Missing argument", "reconciler get --help"),
    ],
)
def test_mistakes_are_answered(
    filling: Filling, call: Call, arguments: tuple[str, ...], code: int, error: str, hint: str
) -> None:
    filling.ready("coder")
    called = call("get", *arguments)
    first, second = called.err.splitlines()
    assert (called.code, called.out) == (code, "")
    assert first.startswith("error: ")
    assert error in first
    assert second.startswith("hint: ")
    assert hint in second
