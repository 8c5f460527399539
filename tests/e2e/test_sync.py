"""The verbs for a Git source, with a controller and as one themselves."""

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.installation import Installation, document
from tests.e2e.test_without_a_controller import UNATTENDED
from tests.gitops.remotes import BareRemote

pytestmark = pytest.mark.real


@pytest.fixture
def remote(installation: Installation, tmp_path: Path) -> BareRemote:
    """A remote with the servers `one` and `two`, which the installation follows beside a server of its own."""
    remote = BareRemote(tmp_path / "remote.git")
    with (installation.root / "reconciler.toml").open("a") as settings:
        settings.write(f'[source.git]\nurl = "{remote.url}"\ninterval = "1h"\n')
    installation.declare("local")
    remote.commit({"one.yaml": document("one"), "two.yaml": document("two")}, "two servers")
    return remote


def test_a_sync_without_a_controller_leaves_all_as_declared(installation: Installation, remote: BareRemote) -> None:
    first = remote.head()
    told = installation.cli("sync", "--wait")
    assert f"git: applied {first[:8]} (two servers)" in told
    assert "2 started, 0 changed, 0 unchanged, 0 stopped, 0 failed" in told
    assert UNATTENDED in told
    before = installation.pids()
    assert set(before) == {"one", "two", "local"}
    assert f"git: {first[:8]} (two servers) is already in force" in installation.cli("sync")

    second = remote.commit({"one.yaml": document("one", ctx=256), "two.yaml": None}, "one is enough")
    assert f"git: applied {second[:8]} (one is enough)" in installation.cli("sync")
    after = installation.pids()
    assert set(after) == {"one", "local"}
    assert (after["local"], after["one"] == before["one"]) == (before["local"], False)


def test_a_revision_that_is_refused_or_held_moves_nothing(installation: Installation, remote: BareRemote) -> None:
    installation.cli("sync", "--wait")
    before, good = installation.pids(), remote.head()
    remote.commit({"one.yaml": document("one", ctx=256), "two.yaml": document("two", ctz=1)}, "a slip")
    told = installation.cli("sync", code=2)
    assert f"1 error; {good[:8]} (two servers) stays in force" in told
    assert "git:two.yaml:" in told
    assert installation.pids() == before
    told = installation.cli("diff", "--against", "main", code=2)
    assert told.startswith("git:two.yaml:")
    assert told.endswith("applied: 1 error\nhint: correct what is named above, commit and push\n")
    assert "one" not in told

    assert "git: suspended: " in installation.cli("suspend", "source")
    mended = remote.commit({"two.yaml": document("two")}, "mended")
    assert f"{mended[:8]} (mended) waits" in installation.cli("sync", code=1)
    assert "~ one  restart: ctx changed" in installation.cli("diff", "--against", "main", code=1)
    assert installation.pids() == before
    assert f"git: resumed: applied {mended[:8]} (mended)" in installation.cli("resume", "source")
    after = installation.pids()
    assert {name for name in after if after[name] != before.get(name)} == {"one"}


def test_what_comes_from_git_is_changed_there_alone(installation: Installation, remote: BareRemote) -> None:
    installation.cli("sync", "--wait")
    before, files = installation.pids(), sorted(installation.manifests.iterdir())
    told = f"server 'one' comes from Git; change it there: git:one.yaml in {remote.url}, branch main"

    def refused(stdin: str) -> None:
        for verb in (("apply",), ("apply", "--dry-run"), ("diff",)):
            assert told in installation.cli(*verb, "-f", "-", stdin=stdin, code=2)

    refused(document("one", ctx=256))
    installation.start()
    installation.wait_for("the controller", installation.is_controlled)
    refused(document("one", ctx=256) + "---\n" + document("new"))
    assert (installation.pids(), sorted(installation.manifests.iterdir())) == (before, files)


def test_all_servers_may_come_from_git(installation: Installation, remote: BareRemote) -> None:
    shutil.rmtree(installation.manifests)
    told = installation.cli("apply")
    assert "2 started, 0 changed, 0 unchanged, 0 stopped, 0 failed" in told
    assert set(installation.pids()) == {"one", "two"}
    assert "0 started, 0 changed, 2 unchanged, 0 stopped, 0 failed" in installation.cli("apply", "--prune")
    remote.commit({"one.yaml": None, "two.yaml": None}, "nothing")
    told = installation.cli("sync", code=1)
    assert "(nothing); still in force: one, two\n" in told
    assert "held: " in told
    assert "if this is meant, confirm it with: reconciler apply --prune" in told
    assert set(installation.pids()) == {"one", "two"}
    installation.cli("apply", "--prune")
    assert installation.pids() == {}
    assert "(nothing) is already in force" in installation.cli("sync")


def test_a_remote_that_is_away_is_told(installation: Installation, remote: BareRemote) -> None:
    installation.cli("sync", "--wait")
    before = installation.pids()
    remote.folder.rename(remote.folder.with_name("gone.git"))
    told = installation.cli("sync", code=1)
    assert "(two servers) stays in force" in told
    assert "error: " in told
    assert "warning: source git: " in installation.cli("get", "servers")
    assert installation.pids() == before


def test_waiting_is_for_a_controller_that_runs(installation: Installation, remote: BareRemote) -> None:
    installation.start()
    installation.wait_ready("one", "two", "local")
    remote.commit({"one.yaml": document("one", ctx=256), "two.yaml": document("two", flags={"slot-save-path": "/tmp"})})
    told = installation.cli("sync", "--wait", code=1)
    assert "0 started, 1 changed, 0 unchanged, 0 stopped, 1 failed" in told
    assert "policy.git.flags" in told
    assert "hint: reconciler describe server two" in told
    (source,) = json.loads(installation.cli("get", "sources", "-o", "json"))["items"]
    assert source["status"]["revision"]["commit"] == remote.head()
    assert set(installation.pids()) == {"one", "two", "local"}
