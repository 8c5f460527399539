"""What comes from Git has a history too, and is put back there."""

import json
from pathlib import Path

import pytest

from tests.e2e.following import Following, settings
from tests.e2e.installation import Installation
from tests.gitops.remotes import BareRemote

pytestmark = pytest.mark.real


def test_each_generation_names_its_commit(installation: Installation, tmp_path: Path) -> None:
    remote = BareRemote(tmp_path / "remote.git")
    installation.manifests.rmdir()
    settings(installation, remote.url)
    following = Following(installation, remote)
    first = following.push({"a": {"suspend": True}})
    installation.start()
    installation.wait_phase("a", "Stopped")
    second = following.push({"a": {"suspend": True, "ctx": 256}})
    following.sync()
    installation.wait_for("the change", lambda: installation.generation("a") == 2)
    items = json.loads(installation.cli("rollout", "history", "a", "-o", "json"))["items"]
    assert [(item["source"]["origin"], item["source"]["revision"]) for item in items] == [
        ("git", first),
        ("git", second),
    ]
    assert f"at {second[:8]}" in installation.cli("rollout", "history", "a")
    refused = installation.cli("rollback", "a", code=2)
    assert "server 'a' comes from Git; change it there: home/a.yaml" in refused
    assert remote.url in refused
