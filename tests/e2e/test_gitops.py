"""A Git repository as the source of the manifests, over real llama-servers and a real remote."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.following import INTERVAL, Following, settings
from tests.e2e.installation import Installation, document
from tests.gitops.remotes import BareRemote

pytestmark = pytest.mark.real


@pytest.fixture
def following(installation: Installation, tmp_path: Path) -> Following:
    remote = BareRemote(tmp_path / "remote.git")
    installation.manifests.rmdir()
    settings(installation, remote.url)
    return Following(installation, remote)


def test_the_servers_follow_the_commits(following: Following) -> None:
    installation = following.of
    first = following.push({"a": {}, "b": {}, "c": {}})
    installation.start()
    before = installation.wait_ready("a", "b", "c")
    assert following.in_force() == first

    # Within the interval, without a command; only what changed restarts.
    second = following.push({"a": {}, "b": {"ctx": 256}, "c": {"stop": {"gracePeriod": "3s"}}})
    installation.wait_for("b to be another process", lambda: installation.pids().get("b") not in (None, before["b"]))
    after = installation.wait_ready("a", "b", "c")
    assert {name for name in after if after[name] != before[name]} == {"b"}
    assert following.in_force() == second
    assert len(following.events("RevisionApplied")) == 2

    # A server killed by hand comes back.
    os.kill(after["a"], signal.SIGKILL)
    installation.wait_for("a to be back", lambda: installation.pids().get("a") not in (None, after["a"]))
    again = installation.wait_ready("a", "b", "c")
    assert {name for name in again if again[name] != after[name]} == {"a"}

    # One that is not declared any more is stopped.
    following.push({"a": {}, "b": {"ctx": 256}})
    installation.wait_for("c to be gone", lambda: set(installation.pids()) == {"a", "b"})
    assert "b" in following.of.cli("get", "servers")


def test_sync_does_not_wait_for_the_interval(following: Following) -> None:
    installation = following.of
    settings(installation, following.remote.url, interval=3600)
    following.push({"a": {}})
    installation.start()
    before = installation.wait_ready("a")
    following.push({"a": {"ctx": 256}, "b": {"suspend": True}})
    told = following.sync()
    begun = time.monotonic()
    installation.wait_for("another a to be started", lambda: installation.pids().get("a") not in (None, before["a"]))
    assert time.monotonic() - begun < 5
    assert following.in_force()[:8] in told
    installation.wait_ready("a")
    following.push({"a": {"ctx": 128}, "b": {"suspend": True}})
    installation.cli("sync", "--wait")
    assert installation.phases() == {"a": "Ready", "b": "Stopped"}
    assert len(installation.instances("a")) == 3


BROKEN = {
    "no YAML": "a: [",
    "unknown field": document("x", contxt=1),
    "refused flag": document("x", flags={"api-key": "secret"}),
    "a name twice": document("a", ctx=64),
    "a port twice": document("x", port=1) + "---\n" + document("y", port=1),
    "LFS pointer": "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 3\n",
}


def test_a_bad_commit_moves_nothing_and_the_next_good_one_does(following: Following) -> None:
    installation = following.of
    good = following.push({"a": {}, "b": {}})
    installation.start()
    before = installation.wait_ready("a", "b")
    for number, (kind, text) in enumerate(BROKEN.items(), start=1):
        bad = following.push({"a": {"ctx": 256}}, broken=text)
        told = following.sync(code=2)
        assert bad[:8] in told, kind
        assert "git:home/broken.yaml" in told, kind
        following.sync(code=2)  # reported once
        assert len(following.events("RevisionRejected")) == number, following.events("RevisionRejected")
        status = following.source()
        assert (status["revision"]["commit"], status["pending"]["commit"]) == (good, bad)
        degraded = next(one for one in status["conditions"] if one["type"] == "Degraded")
        assert degraded["status"] == "True"
        assert "git:home/broken.yaml" in degraded["message"]
    assert installation.pids() == before
    assert "warning: source git" in installation.cli("get", "servers")

    following.push({"a": {"ctx": 256}, "b": {}})
    following.sync()
    installation.wait_for("another a", lambda: installation.pids().get("a") not in (None, before["a"]))
    after = installation.wait_ready("a", "b")
    assert after["b"] == before["b"]
    assert following.source()["pending"] is None
    assert len(following.events("RevisionRejected")) == len(BROKEN)


def test_the_remote_goes_and_comes_back(following: Following) -> None:
    installation = following.of
    following.push({"a": {}, "b": {}})
    installation.start()
    before = installation.wait_ready("a", "b")
    away = following.remote.folder.with_name("away.git")
    following.remote.folder.rename(away)
    installation.wait_for("the loss to be told", lambda: following.source()["lastError"])
    error = following.source()["lastError"]
    assert "\n" not in error
    # Everything else goes on: restarts, and a controller that begins anew.
    os.kill(before["a"], signal.SIGKILL)
    installation.wait_for("a to be back", lambda: installation.pids().get("a") not in (None, before["a"]))
    assert installation.wait_ready("a", "b")["b"] == before["b"]
    installation.end()
    installation.start()
    installation.stays(lambda: installation.pids().get("b") == before["b"], 3 * INTERVAL)
    installation.wait_ready("a", "b")
    told = [reason for reason, _ in installation.events("source/git")]
    assert told.count("RepositoryMissing") == 1, told
    away.rename(following.remote.folder)
    following.push({"a": {}, "b": {"ctx": 256}})
    installation.wait_for("b to follow", lambda: installation.pids().get("b") not in (None, before["b"]))
    installation.wait_ready("a", "b")
    assert len(following.events("SourceRecovered")) == 1
    assert following.source()["lastError"] == ""


@pytest.mark.long
def test_a_controller_killed_at_any_moment_leaves_whole_revisions(following: Following) -> None:
    """Twenty suspended servers bear their revision's number: all of them must always say the same."""
    installation = following.of
    names = [f"s{number}" for number in range(20)]

    def push(number: int) -> str:
        texts = {name: document(name, labels={"revision": str(number)}, suspend=True) for name in names}
        return following.push({}, **texts)

    def declared() -> set[str]:
        return {json.loads(labels)["revision"] for (labels,) in installation.query("select labels from documents")}

    push(0)
    settings(installation, following.remote.url, interval=3600)
    installation.start()
    installation.wait_for("the first revision", lambda: declared() == {"0"})
    for number in range(1, 13):
        commit = push(number)
        installation.wait_for("the controller", installation.is_controlled)
        # It looks at the remote as soon as it is up: each time it dies a little later in that.
        installation.end(signal.SIGKILL)
        assert len(declared()) == 1
        installation.start()
        time.sleep(0.2 + 0.03 * number)
        installation.end(signal.SIGKILL)
        assert len(declared()) == 1, declared()
        current = installation.state / "git" / "current"
        held = {path.name: json.loads(path.read_text()) for path in current.glob("*.yaml")}
        assert set(held) == {f"{name}.yaml" for name in names}
        assert len({one["metadata"]["labels"]["revision"] for one in held.values()}) == 1
        installation.start()
        installation.wait_for(f"revision {number}", lambda commit=commit: following.in_force() == commit)  # type: ignore[misc]
        installation.wait_for("its documents", lambda number=number: declared() == {str(number)})  # type: ignore[misc]


def test_a_touched_file_is_put_right(following: Following) -> None:
    installation = following.of
    following.push({"a": {}, "b": {}})
    installation.start()
    before = installation.wait_ready("a", "b")
    file = installation.state / "git" / "current" / "a.yaml"
    text = file.read_text()
    installation.wait_for("the watch to be set", (installation.state / "git" / "revisions").is_dir)
    file.write_text(document("a", ctx=999))
    (file.parent / "mine.yaml").write_text(document("mine"))
    installation.wait_for(
        "both to be put right", lambda: file.read_text() == text and len(list(file.parent.iterdir())) == 2
    )
    installation.wait_for("it to be told", lambda: following.events("SyncedFilesRestored"))
    assert "a.yaml" in following.events("SyncedFilesRestored")[0]
    installation.stays(lambda: installation.pids() == before, 1.0)


def test_what_is_started_by_hand_is_ended(following: Following) -> None:
    installation = following.of
    following.push({"a": {}, "b": {"suspend": True}})
    installation.start()
    before = installation.wait_ready("a")
    process = psutil.Process(before["a"])
    environ, argv = process.environ(), process.cmdline()
    port = str(installation.ports.stop - 1)
    argv[argv.index("--port") + 1] = port
    # Somebody pastes the command line and environment of one server, for itself and for one that is suspended.
    for name in ("a", "b"):
        marked = {**environ, "RECONCILER_SERVER": name, "RECONCILER_UID": f"by-hand-{name}", "RECONCILER_PORT": port}
        started = psutil.Popen(
            argv, env=marked, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        installation.wait_for("its end", lambda: installation.reconcile() and started.poll() is not None)  # noqa: B023
        # SIGTERM for the one that is adopted first, which dies by it as long as it loads.
        assert started.wait(10) in (0, -signal.SIGTERM, -signal.SIGKILL)
    installation.stays(lambda: installation.pids() == before, 1.0)


def test_a_name_in_both_places_is_an_error_on_both(following: Following) -> None:
    installation = following.of
    installation.manifests.mkdir()
    installation.declare("local")
    installation.declare("twice", ctx=256)
    following.push({"a": {}, "b": {}})
    installation.start()
    before = installation.wait_ready("a", "b", "local", "twice")
    following.push({"a": {}, "b": {}, "twice": {"ctx": 512}})
    told = following.sync(code=2)
    assert "manifests/twice.yaml" in told
    # The other way round, both are errors and what runs goes on.
    following.push({"a": {}, "b": {}})
    following.sync()
    installation.declare("a", ctx=512)
    installation.reconcile()
    assert "git:home/a.yaml" in installation.problem("a")
    assert "manifests/a.yaml" in installation.problem("a")
    # That is no reason to refuse a commit which says nothing new about it.
    following.push({"a": {}, "b": {"labels": {"x": "y"}}})
    following.sync()
    installation.stays(lambda: installation.pids() == before, 1.0)


def test_suspend_and_resume(following: Following) -> None:
    installation = following.of
    first = following.push({"a": {}, "b": {}})
    installation.start()
    before = installation.wait_ready("a", "b")
    installation.cli("suspend", "source", "git")
    second = following.push({"a": {}, "b": {"ctx": 256}})
    installation.wait_for(
        "the new one to be seen", lambda: (following.source()["pending"] or {}).get("commit") == second
    )
    installation.end()
    installation.start()  # a request outlives the controller
    installation.stays(lambda: installation.pids() == before and following.in_force() == first, 2 * INTERVAL)
    following.sync(code=1)
    diff = installation.cli("diff", "--against", "main", code=1)
    assert "~ b  restart: ctx changed" in diff
    installation.cli("resume", "source", "git")
    installation.wait_for("b to follow", lambda: installation.pids().get("b") not in (None, before["b"]))
    assert following.in_force() == second
    assert "b" not in installation.cli("diff", "--against", first, code=1).partition("~ b")[0]


def test_rewritten_history_and_a_deleted_branch(following: Following) -> None:
    installation = following.of
    following.push({"a": {}, "b": {}})
    installation.start()
    before = installation.wait_ready("a", "b")
    following.remote.commit({"home/a.yaml": document("a"), "home/b.yaml": document("b", ctx=256)}, parent="")
    following.sync()
    installation.wait_for("b to follow", lambda: installation.pids().get("b") not in (None, before["b"]))
    assert len(following.events("HistoryRewritten")) == 1
    after = installation.wait_ready("a", "b")
    following.remote.git("update-ref", "-d", "refs/heads/main")
    following.sync(code=1)
    following.sync(code=1)
    assert len(following.events("RefMissing")) == 1
    installation.stays(lambda: installation.pids() == after, 1.0)


@pytest.mark.parametrize("damage", ["gone", "empty", "half"])
def test_a_lost_cache_is_made_anew(following: Following, damage: str) -> None:
    installation = following.of
    following.push({"a": {}, "b": {}})
    installation.start()
    before = installation.wait_ready("a", "b")
    installation.end()
    cache = installation.state / "git" / "cache.git"
    for path in sorted(cache.rglob("*"), reverse=True):
        if path.is_file() and (damage != "half" or path.suffix == ".pack"):
            path.chmod(0o600)
            path.write_bytes(b"") if damage != "gone" else path.unlink()
    away = following.remote.folder.with_name("away.git")
    following.remote.folder.rename(away)
    installation.start()
    installation.wait_for("the controller", installation.is_controlled)
    installation.stays(lambda: installation.pids() == before, 2.5)  # longer than a document needs to count as gone
    away.rename(following.remote.folder)
    following.push({"a": {}, "b": {"ctx": 256}})
    installation.wait_for("b to follow", lambda: installation.pids().get("b") not in (None, before["b"]))
    assert installation.wait_ready("a", "b")["a"] == before["a"]


def test_manifests_from_outside_are_held_to_the_policy(following: Following) -> None:
    installation = following.of
    following.push({"a": {}, "b": {}})
    installation.start()
    before = installation.wait_ready("a", "b")
    following.push({"a": {"flags": {"slot-save-path": "/tmp"}}, "b": {}, "c": {"flags": {"path": "/etc"}}})
    following.sync()
    installation.wait_phase("c", "Blocked")
    assert installation.conditions("c")["Ready"]["reason"] == "PolicyDenied"
    message = installation.conditions("c")["Ready"]["message"]
    assert "policy.git.flags" in message
    installation.stays(lambda: installation.pids() == before, 1.0)
    assert "slot-save-path" in installation.problem("a")
    # The same in the manifests folder is the machine's owner's own affair.
    installation.manifests.mkdir()
    installation.declare("own", flags={"slot-save-path": str(installation.root)})
    installation.wait_for("own to be Ready", lambda: installation.phases().get("own") == "Ready")
