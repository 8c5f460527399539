import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.controller import open_controller
from reconciler.cli.sync import leave
from reconciler.core.history import Condition, Status
from reconciler.core.model import Phase
from reconciler.core.source import Revision, SourceRecord
from tests.cli.conftest import Call, Called
from tests.cli.fake_controller import QUIET, Answer, FakeController
from tests.cli.filling import NEXT, START, Filling, status
from tests.cli.test_sources import AWAY, PROBLEMS, REFUSED, WAITING, answers

# ---------------------------------------------------------------- sync


def synced(filling: Filling, controller: FakeController, call: Call, record: SourceRecord, *options: str) -> Called:
    controller.on("/sync", answers(record))
    return call("sync", *options)


def test_a_new_revision_is_told(filling: Filling, controller: FakeController, call: Call) -> None:
    before = filling.source()
    after = replace(before, applied=Revision(NEXT, "larger\x1b[2J", START))
    assert synced(filling, controller, call, after) == (0, "git: applied 99887766 (larger\ufffd[2J)\n", "")
    assert controller.asked == [("/sync", {})]


def test_the_first_revision_is_told(filling: Filling, controller: FakeController, call: Call) -> None:
    before = filling.source(applied=None)
    after = replace(before, applied=Revision(NEXT))
    assert synced(filling, controller, call, after).out == "git: applied 99887766\n"


def test_what_is_in_force_already_is_told(filling: Filling, controller: FakeController, call: Call) -> None:
    called = synced(filling, controller, call, filling.source())
    assert called == (0, "git: 1a2b3c4d (more context) is already in force\n", "")


@pytest.mark.parametrize("options", [(), ("--wait",)])
def test_a_refused_revision_changes_nothing(
    filling: Filling, controller: FakeController, call: Call, options: tuple[str, ...]
) -> None:
    code, out, err = synced(filling, controller, call, filling.source(**REFUSED), *options)
    assert code == 2
    assert out == ("git: refused 99887766 (a \ufffd[2Jbad one): 2 errors; 1a2b3c4d (more context) stays in force\n")
    assert err == (
        f"{PROBLEMS[0]}\n{PROBLEMS[1]}\nhint: correct them and push; the next good revision is taken up by itself\n"
    )
    assert controller.asked == [("/sync", {})]


@pytest.mark.parametrize(
    ("applied", "stands"),
    [({}, "1a2b3c4d (more context) stays in force"), ({"applied": None}, "nothing of it is in force")],
)
def test_a_remote_that_is_away_is_told(
    filling: Filling, controller: FakeController, call: Call, applied: dict[str, Any], stands: str
) -> None:
    called = synced(filling, controller, call, filling.source(**AWAY, **applied), "--wait")
    assert called == (1, f"git: {stands}\n", "error: git.example cannot be reached; see the network\n")


@pytest.mark.parametrize(
    ("pending", "waits", "code"), [(WAITING, ", 99887766 (a \ufffd[2Jbad one) waits", 1), (None, "", 0)]
)
def test_a_suspended_source_stays_where_it_is(
    filling: Filling, controller: FakeController, call: Call, pending: Revision | None, waits: str, code: int
) -> None:
    called = synced(filling, controller, call, filling.source(suspended=True, pending=pending))
    stands = "1a2b3c4d (more context) stays in force"
    assert called == (code, f"git: suspended: {stands}{waits}; go on with: reconciler resume source git\n", "")


def test_waiting_is_for_the_servers_of_the_source(filling: Filling, controller: FakeController, call: Call) -> None:
    record = filling.source()
    filling.failed("local")
    filling.ready("same", origin="git")
    gone, moved = filling.ready("gone", origin="git"), filling.ready("moved", origin="git")

    def reconcile(_body: Any) -> Answer:
        filling.end(gone)
        filling.end(moved)
        with filling.store.transaction():
            filling.store.remove_document("gone")
            filling.store.forget("gone")
        filling.ready("moved")
        filling.ready("new", origin="git")
        return 200, QUIET

    controller.on("/reconcile", reconcile)
    code, out, err = synced(filling, controller, call, replace(record, applied=Revision(NEXT)), "--wait")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1:-1]] == ["gone", "moved", "new"]
    assert out.splitlines()[-1] == "1 started, 1 changed, 1 unchanged, 1 stopped, 0 failed"
    assert [path for path, _ in controller.asked] == ["/sync", "/reconcile"]


def test_a_server_that_may_not_be_so_fails_the_waiting(
    filling: Filling, controller: FakeController, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.cli.follow.PATIENCE", 0.0)
    record = filling.source()
    filling.document("chat", origin="git")
    denied = Condition("Ready", status=False, reason="PolicyDenied", message="policy.git.flags", since=START)
    filling.record("chat", Status(Phase.BLOCKED, "policy.git.flags", (denied,)))
    code, out, err = synced(filling, controller, call, record, "--wait")
    assert (code, err.splitlines()[-1]) == (1, "hint: reconciler describe server chat")
    assert err.startswith("✗ chat  Blocked: PolicyDenied\n  What happened   policy.git.flags\n")
    assert "change the setting that the message names" in err
    assert err.splitlines()[-2].endswith("or edit manifests/chat.yaml:1, commit and push")
    assert "chat  Blocked: policy.git.flags" in out


@pytest.mark.parametrize(("verb", "path"), [(("sync",), "/sync"), (("resume", "source"), "/sources/git/resume")])
def test_a_removal_that_is_held_is_told(
    filling: Filling, controller: FakeController, call: Call, verb: tuple[str, ...], path: str
) -> None:
    record = filling.source()
    why = "held by the prune guard; if this is meant, confirm it with: reconciler apply --prune"
    stays = (Condition("Reconciled", status=False, reason="PruneHeld", message=why, since=START),)
    for name, origin in (("a", "git"), ("b", "git"), ("mine", "local")):
        filling.document(name, origin=origin)
        filling.record(name, Status(Phase.READY, why, stays))
    controller.on(path, answers(replace(record, applied=Revision(NEXT))))
    called = call(*verb)
    resumed = "resumed: " if verb[0] == "resume" else ""
    assert called == (1, f"git: {resumed}applied 99887766; still in force: a, b\n", f"held: {why}\n")
    controller.on(path, answers(replace(record, **AWAY)))
    called = call(*verb)
    assert called.out == f"git: {resumed}1a2b3c4d (more context) stays in force\n"
    assert called.err == f"held: {why}\nerror: {AWAY['error']}\n"


def test_the_others_are_waited_for_while_a_removal_is_held(
    filling: Filling, controller: FakeController, call: Call
) -> None:
    record = filling.source()
    stays = (Condition("Reconciled", status=False, reason="PruneHeld", message="why", since=START),)
    filling.document("stays", origin="git")
    filling.record("stays", Status(Phase.READY, "why", stays))
    filling.ready("same", origin="git")
    code, out, err = synced(filling, controller, call, record, "--wait")
    assert (code, err) == (1, "held: why\n")
    assert out.splitlines()[-1] == "0 started, 0 changed, 1 unchanged, 0 stopped, 0 failed"


@pytest.mark.parametrize(
    ("verb", "path", "answer"),
    [
        (("sync",), "/sync", None),
        (("resume", "source"), "/sources/git/resume", None),
        (("suspend", "source"), "/sources/git/suspend", None),
        (("diff", "--against", "v1"), "/preview", {"changes": [], "problems": [], "folderProblem": ""}),
    ],
    ids=str,
)
def test_a_look_at_the_remote_may_take_as_long_as_git_may(
    filling: Filling, controller: FakeController, call: Call, verb: tuple[str, ...], path: str, answer: Any
) -> None:
    record = filling.source()

    def slowly(body: Any) -> Answer:
        time.sleep(0.3)
        return (200, answer) if answer else answers(record)(body)

    controller.on(path, slowly)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reconciler.cli.controller.ANSWER_TIMEOUT", 0.1)
        assert call(*verb).code == 0


def test_an_error_of_the_controller_is_told(filling: Filling, controller: FakeController, call: Call) -> None:
    controller.on("/sync", lambda _body: (404, {"error": "no such source: git: none is configured"}))
    called = call("sync")
    assert called == (2, "", "error: no such source: git: none is configured\nhint: reconciler get sources\n")


@pytest.mark.parametrize(
    "command", [("sync",), ("suspend", "source"), ("resume", "source"), ("diff", "--against", "v1")]
)
def test_without_controller_and_source_nothing_is_begun(root: Path, call: Call, command: tuple[str, ...]) -> None:
    (root / "manifests").mkdir()
    called = call(*command)
    assert called.code == 2
    assert called.err.startswith("error: no such source: git: none is configured\nhint: set url under [source.git] in ")
    assert sorted(path.name for path in root.iterdir()) == ["manifests"]


def test_who_was_waited_for_is_not_told_again_when_a_command_ends(
    filling: Filling, controller: FakeController, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    filling.failed("local")
    filling.document("chat", origin="git")
    filling.record("chat", status(Phase.FAILED, "why"))
    for followed, told in ((False, ["chat", "local"]), (True, ["local"])):
        with open_controller(filling.state, lambda: pytest.fail("one runs"), "sync") as running:
            leave(running, {}, followed=followed)
        assert sorted(line.split()[0] for line in capsys.readouterr().out.splitlines()) == told


@pytest.mark.parametrize("verb", [("sync",), ("get", "sources"), ("describe", "source", "git")])
def test_settings_that_changed_since_the_controller_began_are_told(
    filling: Filling, controller: FakeController, call: Call, root: Path, verb: tuple[str, ...]
) -> None:
    controller.on("/sync", answers(filling.source()))
    settings = root / "reconciler.toml"
    settings.write_text("")
    os.utime(settings, (START, START))
    for began, told in ((START + 5, ""), (START - 5, f"warning: {settings} has changed since the controller began: ")):
        with filling.store.transaction():
            filling.store.set_meta("controller", json.dumps({"settings": str(settings), "startedAt": began}))
        called = call(*verb)
        assert (called.code, called.err.startswith(told), bool(called.err)) == (0, True, bool(told))


# ---------------------------------------------------------------- suspend, resume


def test_a_source_is_suspended(filling: Filling, controller: FakeController, call: Call) -> None:
    record = filling.source()
    controller.on("/sources/git/suspend", answers(replace(record, suspended=True)))
    words = "git: suspended: 1a2b3c4d (more context) stays in force; go on with: reconciler resume source git\n"
    for name in ((), ("git",), ("source/git",)):
        assert call("suspend", "source", *name) == (0, words, "")
    assert controller.asked == [("/sources/git/suspend", {})] * 3


def test_a_source_that_is_away_is_suspended_all_the_same(
    filling: Filling, controller: FakeController, call: Call
) -> None:
    record = filling.source(**AWAY)
    controller.on("/sources/git/suspend", answers(replace(record, suspended=True)))
    called = call("suspend", "source")
    assert (called.code, called.out.startswith("git: suspended: ")) == (0, True)
    assert called.err == f"warning: {AWAY['error']}\n"


@pytest.mark.parametrize(
    ("more", "code", "line"),
    [
        ({"applied": WAITING}, 0, "git: resumed: applied 99887766 (a \ufffd[2Jbad one)"),
        ({}, 0, "git: resumed: 1a2b3c4d (more context) is already in force"),
        (AWAY, 1, "git: resumed: 1a2b3c4d (more context) stays in force"),
        (
            REFUSED,
            2,
            "git: resumed: refused 99887766 (a \ufffd[2Jbad one): 2 errors; 1a2b3c4d (more context) stays in ",
        ),
    ],
)
def test_a_source_that_is_resumed_is_asked_at_once(
    filling: Filling, controller: FakeController, call: Call, more: dict[str, Any], code: int, line: str
) -> None:
    record = filling.source()
    controller.on("/sources/git/resume", answers(replace(record, **more)))
    called = call("resume", "source")
    assert (called.code, called.out.startswith(line)) == (code, True)


# ---------------------------------------------------------------- diff --against


def test_a_revision_is_previewed(filling: Filling, controller: FakeController, call: Call) -> None:
    assert call("diff", "--against", "v1").code == 0
    assert controller.asked == [("/preview", {"documents": [], "against": "v1"})]


def test_a_revision_that_would_be_refused_changes_nothing(
    filling: Filling, controller: FakeController, call: Call
) -> None:
    answer = {
        "changes": [],
        "problems": [{"text": text} for text in PROBLEMS],
        "folderProblem": "",
        "refused": "v1\x1b[2J would be refused, and nothing of it applied",
    }
    controller.on("/preview", lambda _body: (200, answer))
    code, out, err = call("diff", "--against", "v1")
    assert (code, out) == (2, "")
    assert err == (
        f"{PROBLEMS[0]}\n{PROBLEMS[1]}\nerror: v1\ufffd[2J would be refused, and nothing of it applied: 2 errors\n"
        "hint: correct what is named above, commit and push\n"
    )
    assert json.loads(call("diff", "--against", "v1", "-o", "json").out) == answer


def test_a_revision_that_is_not_there_is_told(filling: Filling, controller: FakeController, call: Call) -> None:
    controller.on("/preview", lambda _body: (400, {"error": "no revision 'v9'; name a branch, a tag or a commit"}))
    assert call("diff", "--against", "v9") == (2, "", "error: no revision 'v9'; name a branch, a tag or a commit\n")
