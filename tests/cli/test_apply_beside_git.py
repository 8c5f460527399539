"""`apply` where a Git source is followed too."""

from pathlib import Path

from reconciler.core.model import Phase
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import Filling, status
from tests.cli.test_apply_and_requests import manifests
from tests.cli.test_diff_and_validate import manifest

__all__ = ["manifests"]


def test_what_comes_from_git_is_not_written_into_the_folder(
    filling: Filling, controller: FakeController, root: Path, call: Call
) -> None:
    filling.source()
    filling.ready("chat", origin="git", file="git:home/chat.yaml")
    filling.ready("mine")
    (root / "new.yaml").write_text(manifest("mine") + "---\n" + manifest("chat"))
    code, out, err = call("apply", "-f", "new.yaml")
    assert (code, out) == (2, "")
    assert err == (
        "new.yaml:6:1: metadata.name: server 'chat' comes from Git; change it there: git:home/chat.yaml in "
        "https://git.example/fleet.git, branch main\n"
        "error: 1 error in the manifests; nothing was changed\nhint: correct them, and apply again\n"
    )
    assert not (root / "manifests").exists()
    assert controller.asked == []


def test_what_came_from_git_may_be_taken_over(
    filling: Filling, controller: FakeController, manifests: Path, call: Call
) -> None:
    """Its document is gone there, or the source is no longer followed."""
    filling.source()
    filling.ready("held", origin="git")
    filling.record("held", status(Phase.READY, reconciled="PruneHeld"))
    assert "held  written to manifests/held.yaml" in call("apply", "--no-wait", "-f", "-", stdin=manifest("held")).out
    with filling.store.transaction():
        filling.store.forget_source("git")
    filling.ready("left", origin="git")
    assert "left  written to manifests/left.yaml" in call("apply", "--no-wait", "-f", "-", stdin=manifest("left")).out


def test_beside_a_git_source_the_folder_may_be_missing(
    filling: Filling, controller: FakeController, root: Path, call: Call
) -> None:
    assert "does not exist" in call("apply").err
    filling.source()
    filling.ready("chat", origin="git")
    called = call("apply", "--prune")
    assert (called.code, called.err) == (0, "")
    assert called.out.endswith("0 started, 0 changed, 1 unchanged, 0 stopped, 0 failed\n")
