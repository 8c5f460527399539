import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from ruamel.yaml import YAML

from reconciler.core.model import Phase
from reconciler.core.source import Revision, SourceRecord
from reconciler.store.items import source_item
from reconciler.store.rows import SOURCE
from tests.cli.conftest import Call
from tests.cli.fake_controller import Answer, FakeController
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
    assert header.split() == ["NAME", "REVISION", "SUBJECT", "AGE", "LAST", "OK", "PENDING", "STATUS", "MESSAGE"]
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
        ({"suspended": True, "pending": WAITING}, ["99887766", "Suspended"], "reconciler resume source git"),
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


def test_on_a_terminal_messages_stand_whole_below_the_table(
    filling: Filling, controller: FakeController, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.cli.sources.width", lambda: 80)
    filling.source(**AWAY, applied=Revision(NEXT, "a subject that is rather long, as many are", START))
    header, row, *notes = call("get", "sources").out.splitlines()
    assert "MESSAGE" not in header
    assert row.rstrip().endswith("RemoteUnreachable")
    assert all(len(line) <= 80 for line in (header, row, *notes))
    assert " ".join(" ".join(notes).split()).endswith(": git.example cannot be reached; see the network")
    filling.source()
    assert len(call("get", "sources").out.splitlines()) == 2


def test_how_long_a_remote_is_away(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.source(**AWAY)
    assert "for " in call("get", "sources").out.partition("RemoteUnreachable")[2].partition("git.example")[0]


def test_wide_shows_where_it_comes_from(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.source(path="servers")
    header, row = call("get", "source", "git", "-o", "wide").out.splitlines()
    assert header.split()[8:] == ["URL", "REF", "PATH", "INTERVAL", "MESSAGE"]
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
    filling.document("much-more", file="git:servers/more.yaml", origin="git")
    filling.record("much-more", status(Phase.BLOCKED))
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
    assert lines[lines.index("Servers:") + 1 :][:3] == [
        "  NAME       PHASE    FILE",
        "  chat       Ready    git:servers/chat.yaml",
        "  much-more  Blocked  git:servers/more.yaml",
    ]
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


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("RefMissing", "push the branch or tag again, or set branch or tag under [source.git] in reconciler.toml"),
        ("AuthenticationFailed", "see the files under [source.git.auth] in reconciler.toml"),
        ("HostKeyUnknown", "known_hosts_file"),
        ("RepositoryMissing", "see url under [source.git] in reconciler.toml"),
        ("TooLarge", "max_mib"),
        ("GitMissing", "install git"),
    ],
)
def test_what_can_be_done_about_a_remote(
    filling: Filling, controller: FakeController, call: Call, reason: str, told: str
) -> None:
    filling.source(reason=reason, error="no", error_since=START)
    advice = call("describe", "source", "git").out.partition("What to do:")[2]
    assert told in advice
    assert advice.strip().endswith("reconciler sync")


def test_a_source_need_not_be_named(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.source()
    assert call("describe", "source").out.startswith("Name:            git\n")
    called = call("describe", "server")
    assert (called.code, "Missing argument 'NAME'" in called.err) == (2, True)


def test_events_of_an_unknown_source_are_told_as_such(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.source()
    assert call("get", "events", "source/git").code == 0
    assert call("get", "events", "source/gti").err.startswith("error: no source 'gti', did you mean 'git'?\n")


def test_without_a_controller_nobody_asks(filling: Filling, call: Call) -> None:
    filling.source()
    assert call("describe", "sources", "git").out.endswith("start one: reconciler run\n")


def test_what_cannot_be_described_is_told(call: Call) -> None:
    called = call("describe", "event", "x")
    assert (called.code, called.err.startswith("error: 'event' cannot be described\nhint: ")) == (2, True)
