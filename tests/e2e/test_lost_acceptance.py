"""What tells many servers something is broken or gone, and nothing is known of before: who runs goes on."""

import json
import signal
from typing import Any

import pytest

from tests.e2e.installation import Installation

pytestmark = pytest.mark.real
HEAD = "apiVersion: llama.reconciler/v1alpha1\nkind: {}\nmetadata:\n  name: {}\nspec:\n"
DAY = HEAD.format("Profile", "day") + "  active: true\n  selector: {{matchLabels: {{tier: {}}}}}\n"
ALL = HEAD.format("LlamaServerDefaults", "all") + "  template: {{{}: {{verbosity: 1}}}}\n"


def declare(installation: Installation, tier: str, flags: str, folder: str = ".") -> None:
    (installation.manifests / folder).mkdir(exist_ok=True, parents=True)
    installation.write(installation.manifests / folder / "day.yaml", DAY.format(tier))
    installation.write(installation.manifests / folder / "all.yaml", ALL.format(flags))


def begun(installation: Installation, folder: str = ".") -> dict[str, int]:
    """`a` and `b` run, `c` is left out."""
    for name, tier in (("a", "x"), ("b", "x"), ("c", "z")):
        installation.declare(name, labels={"tier": tier})
    declare(installation, "x", "flags", folder)
    installation.start()
    return installation.wait_ready("a", "b")


def lose_the_database(installation: Installation) -> None:
    installation.end(signal.SIGKILL)
    for path in installation.state.glob("state.db*"):
        path.unlink()


def actions(installation: Installation) -> dict[str, str]:
    changes: list[dict[str, Any]] = json.loads(installation.cli("diff", "-o", "json", code=None))["changes"]
    return {change["server"]: change["action"] for change in changes if change["action"] != "unchanged"}


@pytest.mark.parametrize(
    ("tier", "flags", "reason"), [("nobody", "flags", "InvalidProfile"), ("x", "flagz", "InvalidDefaults")]
)
def test_after_the_loss_of_the_database_nobody_is_stopped_or_started(
    installation: Installation, tier: str, flags: str, reason: str
) -> None:
    before = begun(installation)
    lose_the_database(installation)
    declare(installation, tier, flags)
    installation.start()
    installation.wait_for("all to wait", lambda: installation.phases() == dict.fromkeys("abc", "Invalid"))
    assert {installation.reason(name) for name in "abc"} == {reason}
    assert {installation.conditions(name)["Reconciled"]["reason"] for name in "abc"} == {reason}
    assert actions(installation) == dict.fromkeys("abc", "hold")
    installation.stays(lambda: installation.pids() == before, 1.0)
    declare(installation, "x", "flags")
    installation.reconcile()
    assert installation.wait_ready("a", "b") == before
    installation.wait_phase("c", "Stopped")


def test_a_folder_of_shared_documents_that_is_gone_changes_nothing(installation: Installation) -> None:
    before = begun(installation, "shared")
    aside = installation.manifests / "shared"
    aside.rename(installation.root / "aside")
    installation.reconcile()
    assert actions(installation) == {}
    assert "its whole folder manifests/shared is gone" in installation.cli("get", "defaults")
    told = [message for reason, message in installation.events("") if reason == "PruneHeld"]
    assert [message.partition(":")[0] for message in sorted(told)] == ["LlamaServerDefaults 'all'", "Profile 'day'"]
    installation.stays(lambda: installation.pids() == before, 1.0)
