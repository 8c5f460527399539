import json
import time
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from reconciler.core.history import Condition, Status
from reconciler.core.model import Phase
from reconciler.core.source import Revision, SourceRecord
from reconciler.store.items import source_item
from reconciler.store.rows import SOURCE
from tests.cli.conftest import Call, Called
from tests.cli.fake_controller import QUIET, Answer, FakeController
from tests.cli.filling import NEXT, START, Filling, status
from tests.docs.pages import ROOT, blocks

JSON = ROOT / "docs" / "reference" / "json.md"
WAITING = Revision(NEXT, "a \x1b[2Jbad one", START)
PROBLEMS = ("git:servers/a.yaml:4:9: spec.ctz: unknown field", "git:b.yaml: symbolic links are not followed")
REFUSED: dict[str, Any] = {"pending": WAITING, "problems": PROBLEMS}
AWAY: dict[str, Any] = {
    "reason": "RemoteUnreachable",
    "error": "git.example cannot be reached; see the network",
    "error_since": START,
}


def item(record: SourceRecord) -> dict[str, Any]:
    return source_item(json.loads(SOURCE.dump_json(record)))


def answers(record: SourceRecord) -> Callable[[Any], Answer]:
    return lambda _body: (200, {"source": item(record)})


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def outline(value: Any) -> Any:
    """Some JSON with its values taken out."""
    if isinstance(value, dict):
        return {key: outline(item) for key, item in value.items()}
    return [outline(item) for item in value] if isinstance(value, list) else None


# ---------------------------------------------------------------- get sources


def test_sources_as_a_table(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.source()
    code, out, err = call("get", "sources")
    header, row = out.splitlines()
    assert (code, err) == (0, "")
    assert header.split() == ["NAME", "REVISION", "SUBJECT", "AGE", "CHECKED", "PENDING", "STATUS", "MESSAGE"]
    found = cells(row)
    assert found[:3] == ["git", "1a2b3c4d", "more context"]
    assert found[4].endswith(" ago")
    assert found[5:] == ["-", "UpToDate"]


@pytest.mark.parametrize(
    ("more", "columns", "message"),
    [
        (REFUSED, ["99887766", "RevisionRejected"], f"99887766 is refused: {PROBLEMS[0]}; 1 more"),
        ({**REFUSED, "problems": PROBLEMS[:1]}, ["99887766", "RevisionRejected"], f"is refused: {PROBLEMS[0]}"),
        (AWAY, ["-", "RemoteUnreachable"], "git.example cannot be reached; see the network"),
        ({"suspended": True, "pending": WAITING}, ["99887766", "Suspended"], ""),
        ({"applied": None, "applied_at": None, "checked_at": None}, ["-", "NotSyncedYet"], ""),
    ],
    ids=["refused", "one error", "away", "suspended", "new"],
)
def test_what_is_wrong_with_a_source(
    filling: Filling, controller: FakeController, call: Call, more: dict[str, Any], columns: list[str], message: str
) -> None:
    filling.source(**more)
    _, row = call("get", "sources").out.splitlines()
    after = cells(row)[5:]
    assert after[:2] == columns
    assert "".join(after[2:]).endswith(message)
    assert bool(after[2:]) == bool(message)


def test_how_long_a_remote_is_away(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.source(**AWAY)
    assert "for " in call("get", "sources").out.partition("RemoteUnreachable")[2].partition("git.example")[0]


def test_wide_shows_where_it_comes_from(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.source(path="servers")
    header, row = call("get", "source", "git", "-o", "wide").out.splitlines()
    assert header.split()[7:] == ["URL", "REF", "PATH", "INTERVAL", "MESSAGE"]
    assert cells(row)[7:] == ["https://git.example/fleet.git", "branch main", "servers", "1m"]


def test_sources_for_programs(filling: Filling, controller: FakeController, call: Call) -> None:
    record = filling.source(**REFUSED)
    found = json.loads(call("get", "sources", "-o", "json").out)
    assert found == {"apiVersion": "llama.reconciler/v1alpha1", "kind": "SourceList", "items": [item(record)]}
    assert YAML(typ="safe").load(StringIO(call("get", "sources", "-o", "yaml").out)) == found
    assert call("get", "sources", "-o", "name").out == "source/git\n"
    assert call("get", "sources", "source/git", "-o", "name").out == "source/git\n"


def test_the_documented_item_has_the_real_keys(filling: Filling, controller: FakeController, call: Call) -> None:
    (told,) = [json.loads(block.text) for block in blocks("json", JSON) if block.heading == "Sources"]
    filling.source(pending=None)
    assert outline(told) == outline(json.loads(call("get", "sources", "-o", "json").out))


def test_without_a_source_the_setting_is_told(filling: Filling, controller: FakeController, call: Call) -> None:
    code, out, err = call("get", "sources")
    assert (code, out) == (0, "")
    assert "[source.git] in reconciler.toml" in err


@pytest.mark.parametrize("command", [("get", "sources", "gti"), ("describe", "source", "gti")])
def test_an_unknown_source_is_told(
    filling: Filling, controller: FakeController, call: Call, command: tuple[str, ...]
) -> None:
    filling.source()
    called = call(*command)
    assert called.code == 1
    assert called.err.startswith("error: no source 'gti', did you mean 'git'?\nhint: ")


def test_events_of_a_source_are_asked_for_by_its_name(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.source()
    filling.event("source/git", "RevisionApplied", "1a2b3c4d (more context)")
    filling.event("chat", "Ready", "pid 1")
    assert [line.split()[3] for line in call("get", "events").out.splitlines()[1:]] == ["RevisionApplied", "Ready"]
    assert "Ready" not in call("get", "events", "source/git").out.replace("RevisionApplied", "")


@pytest.mark.parametrize(
    ("more", "told"), [(REFUSED, "RevisionRejected: 99887766 is refused: "), (AWAY, "RemoteUnreachable: for ")]
)
def test_who_lists_servers_is_warned_of_the_source(
    filling: Filling, controller: FakeController, call: Call, more: dict[str, Any], told: str
) -> None:
    filling.source(**more)
    filling.ready("chat")
    called = call("get", "servers")
    assert called.code == 0
    assert called.err.startswith(f"warning: source git: {told}")
    assert called.err.endswith("; more with: reconciler describe source git\n")


@pytest.mark.parametrize("more", [{}, {"suspended": True, "pending": WAITING}])
def test_nobody_is_warned_of_what_is_as_asked(
    filling: Filling, controller: FakeController, call: Call, more: dict[str, Any]
) -> None:
    filling.source(**more)
    filling.ready("chat")
    assert call("get", "servers").err == ""


# ---------------------------------------------------------------- describe source


def test_all_that_is_known_of_a_source(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.source(path="servers", **REFUSED)
    filling.document("chat", file="git:servers/chat.yaml", origin="git")
    filling.record("chat", status(Phase.READY))
    filling.ready("local")
    filling.event("source/git", "RevisionRejected", "99887766: 2 errors", warning=True)
    code, out, err = call("describe", "source", "git")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    shown = {line.partition(":")[0]: line.partition(":")[2].strip() for line in lines if not line.startswith(" ")}
    assert (shown["Name"], shown["Status"], shown["Folder"]) == ("git", "RevisionRejected", "servers")
    assert (shown["URL"], shown["Follows"], shown["Interval"]) == ("https://git.example/fleet.git", "branch main", "1m")
    assert shown["In force"].startswith(f"1a2b3c4d (more context), {'1a2b3c4d' * 5}, committed ")
    assert shown["Pending"].startswith(f"99887766 (a \ufffd[2Jbad one), {NEXT}, committed ")
    assert [line.strip() for line in lines if line.startswith("  git:")] == list(PROBLEMS)
    assert "  chat  Ready  git:servers/chat.yaml" in lines
    assert "local" not in out
    assert "RevisionRejected  source/git" in out
    assert shown["What to do"].endswith("reconciler sync")


@pytest.mark.parametrize(
    ("more", "advice"),
    [(AWAY, "reconciler sync"), ({"suspended": True}, "reconciler resume source git"), ({}, "")],
)
def test_what_can_be_done(
    filling: Filling, controller: FakeController, call: Call, more: dict[str, Any], advice: str
) -> None:
    filling.source(**more)
    assert call("describe", "source", "git").out.partition("What to do:")[2].strip().endswith(advice)


def test_without_a_controller_nobody_asks(filling: Filling, call: Call) -> None:
    filling.source()
    assert call("describe", "sources", "git").out.endswith("start one: reconciler run\n")


def test_what_cannot_be_described_is_told(call: Call) -> None:
    called = call("describe", "event", "x")
    assert (called.code, called.err.startswith("error: 'event' cannot be described\nhint: ")) == (2, True)


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
    assert [line.split()[0] for line in out.splitlines()[1:-1]] == ["new"]
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
    assert (code, err) == (1, "hint: reconciler describe server chat\n")
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
    assert called == (1, "git: applied 99887766; still in force: a, b\n", f"held: {why}\n")
    controller.on(path, answers(replace(record, **AWAY)))
    called = call(*verb)
    assert called.out == "git: 1a2b3c4d (more context) stays in force\n"
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
    ids=lambda part: str(part),
)
def test_a_look_at_the_remote_may_take_as_long_as_git_may(
    filling: Filling,
    controller: FakeController,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    verb: tuple[str, ...],
    path: str,
    answer: Any,
) -> None:
    record = filling.source()

    def slowly(body: Any) -> Answer:
        time.sleep(0.3)
        return (200, answer) if answer else answers(record)(body)

    monkeypatch.setattr("reconciler.cli.controller.ANSWER_TIMEOUT", 0.1)
    controller.on(path, slowly)
    assert call(*verb).code == 0


def test_an_error_of_the_controller_is_told(filling: Filling, controller: FakeController, call: Call) -> None:
    controller.on("/sync", lambda _body: (404, {"error": "no such source: git: none is configured"}))
    called = call("sync")
    assert called == (1, "", "error: no such source: git: none is configured\nhint: reconciler get sources\n")


@pytest.mark.parametrize(
    "command", [("sync",), ("suspend", "source"), ("resume", "source"), ("diff", "--against", "v1")]
)
def test_without_controller_and_source_nothing_is_begun(root: Path, call: Call, command: tuple[str, ...]) -> None:
    (root / "manifests").mkdir()
    called = call(*command)
    assert called.code == 2
    assert called.err.startswith("error: no such source: git: none is configured\nhint: set url under [source.git] in ")
    assert sorted(path.name for path in root.iterdir()) == ["manifests"]


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


@pytest.mark.parametrize(
    ("more", "code", "line"),
    [
        ({"applied": WAITING}, 0, "git: applied 99887766 (a \ufffd[2Jbad one)"),
        ({}, 0, "git: 1a2b3c4d (more context) is already in force"),
        (AWAY, 1, "git: 1a2b3c4d (more context) stays in force"),
        (REFUSED, 2, "git: refused 99887766 (a \ufffd[2Jbad one): 2 errors; 1a2b3c4d (more context) stays in force"),
    ],
)
def test_a_source_that_is_resumed_is_asked_at_once(
    filling: Filling, controller: FakeController, call: Call, more: dict[str, Any], code: int, line: str
) -> None:
    record = filling.source()
    controller.on("/sources/git/resume", answers(replace(record, **more)))
    called = call("resume", "source")
    assert (called.code, called.out) == (code, f"{line}\n")


@pytest.mark.parametrize("verb", ["suspend", "resume"])
def test_only_sources_can_be_suspended(filling: Filling, controller: FakeController, call: Call, verb: str) -> None:
    called = call(verb, "chat")
    assert called.code == 2
    assert called.err.startswith(f"error: there is no {verb} for 'chat'\nhint: only sources can: ")
    assert controller.asked == []


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
    )
    assert json.loads(call("diff", "--against", "v1", "-o", "json").out) == answer


def test_a_revision_that_is_not_there_is_told(filling: Filling, controller: FakeController, call: Call) -> None:
    controller.on("/preview", lambda _body: (400, {"error": "no revision 'v9'; name a branch, a tag or a commit"}))
    assert call("diff", "--against", "v9") == (2, "", "error: no revision 'v9'; name a branch, a tag or a commit\n")
