"""Profiles over real servers: `profile use`, edits by hand, and what holds when they are wrong."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.following import Following, settings
from tests.e2e.installation import Installation
from tests.gitops.remotes import BareRemote

pytestmark = pytest.mark.real
PROFILE = """\
# The {name} shift.
apiVersion: llama.reconciler/v1alpha1
kind: Profile
metadata: {{name: {name}}}
spec:
  active: {active}  # by hand, or: reconciler profile use
{more}"""


def declare_profile(installation: Installation, name: str, more: str, *, active: bool = False) -> None:
    text = PROFILE.format(name=name, active=str(active).lower(), more=more)
    installation.write(installation.manifests / f"profile-{name}.yaml", text)


def shifts(installation: Installation, switch: str = "StopFirst") -> None:
    """`coder` runs by day and by night, `chat` by day, `batch` by night; it is day."""
    for name, labels in (("coder", {}), ("chat", {}), ("batch", {"shift": "night"})):
        installation.declare(name, labels=labels)
    declare_profile(installation, "day", "  servers: [coder, chat]\n", active=True)
    more = f"  servers: [coder]\n  selector: {{matchLabels: {{shift: night}}}}\n  switch: {switch}\n"
    declare_profile(installation, "night", more)


def profiles(installation: Installation) -> dict[str, Any]:
    found = json.loads(installation.cli("get", "profiles", "-o", "json"))
    return {item["metadata"]["name"]: item["status"] for item in found["items"]}


def test_a_switch_stops_and_starts_what_it_must_and_nothing_else(installation: Installation) -> None:
    shifts(installation)
    installation.start()
    before = installation.wait_ready("coder", "chat")
    assert installation.phases()["batch"] == "Stopped"
    assert profiles(installation)["day"]["selected"] == ["chat", "coder"]
    told = installation.cli("profile", "use", "night")
    assert "1 started, 0 changed, 1 unchanged, 1 stopped, 0 failed" in told
    after = installation.pids()
    assert after.keys() == {"coder", "batch"}
    assert after["coder"] == before["coder"]
    found = profiles(installation)
    assert (found["night"]["active"], found["night"]["ready"], found["night"]["total"]) == (True, 2, 2)
    assert not found["day"]["active"]
    night, day = ((installation.manifests / f"profile-{name}.yaml").read_text() for name in ("night", "day"))
    assert re.search(r"^  active: true +# by hand, or: reconciler profile use$", night, re.MULTILINE)
    assert re.search(r"^  active: false +# by hand, or: reconciler profile use$", day, re.MULTILINE)
    # The old one was gone before the new one began.
    [chat], [batch] = installation.instances("chat"), installation.instances("batch")
    assert chat["ended"]["monotonic"] <= batch["intent"]["monotonic"]
    assert chat["stop_reason"] == "NotInProfile"
    assert "NotInProfile" in installation.cli("describe", "server", "chat")
    assert "0 failed" in installation.cli("profile", "use", "--none")
    assert installation.pids().keys() == {"coder", "chat", "batch"}
    assert installation.pids()["coder"] == before["coder"]


def test_a_start_does_not_override_the_profile_and_a_restart_of_the_controller_keeps_it(
    installation: Installation,
) -> None:
    shifts(installation)
    installation.start()
    pids = installation.wait_ready("coder", "chat")
    told = installation.cli("start", "batch", code=1)
    assert "the active profile 'day' leaves it out" in told
    assert "reconciler profile use" in told
    installation.end()
    installation.start()
    installation.wait_for("a controller", installation.is_controlled)
    installation.reconcile()
    assert installation.pids() == pids


def test_without_a_controller_the_command_does_the_work(installation: Installation) -> None:
    shifts(installation)
    installation.cli("apply")
    assert installation.pids().keys() == {"coder", "chat"}
    told = installation.cli("profile", "use", "night")
    assert "no controller is running" in told
    assert installation.pids().keys() == {"coder", "batch"}
    assert "unchanged" in installation.cli("profile", "use", "night")
    installation.cli("profile", "use", "day", "--no-wait")
    installation.cli("apply")
    assert installation.pids().keys() == {"coder", "chat"}


def test_start_first_keeps_what_runs_until_the_new_ones_are_ready(installation: Installation) -> None:
    shifts(installation, "StartFirst")
    installation.declare("batch", labels={"shift": "night"}, model="other.gguf")
    installation.start()
    before = installation.wait_ready("coder", "chat")
    told = installation.cli("profile", "use", "night", code=1)
    assert "for 'batch' is Blocked (ModelMissing)" in told
    assert "reconciler stop chat" in told
    assert installation.pids() == before
    assert "SwitchHeld" in installation.cli("describe", "server", "chat")
    told = installation.cli("restart", "chat", code=1)
    assert "not restarted: the active profile 'night' leaves it out" in told
    installation.declare("batch", labels={"shift": "night"})
    after = installation.wait_ready("coder", "batch")
    assert after["coder"] == before["coder"]
    [chat], [batch] = installation.instances("chat"), installation.instances("batch")
    assert batch["first_ready"]["monotonic"] <= chat["stopping"]["monotonic"]


def test_two_active_ones_and_unknown_names_change_nothing(installation: Installation) -> None:
    shifts(installation)
    installation.start()
    before = installation.wait_ready("coder", "chat")
    declare_profile(installation, "night", "  servers: [batch]\n", active=True)
    installation.reconcile()
    assert installation.pids() == before
    told = installation.cli("validate", code=2)
    assert "at most one may be" in told
    declare_profile(installation, "night", "  servers: [batch]\n")
    declare_profile(installation, "day", "  servers: [coder, nobody]\n", active=True)
    installation.reconcile()
    assert installation.pids() == before
    assert "nobody" in installation.cli("validate", code=2)


def test_a_selector_that_selects_nothing_any_more_is_held_until_a_person_confirms_it(
    installation: Installation,
) -> None:
    installation.declare("batch", labels={"shift": "night"})
    declare_profile(installation, "night", "  selector: {matchLabels: {shift: night}}\n", active=True)
    installation.start()
    before = installation.wait_ready("batch")
    declare_profile(installation, "night", "  selector: {matchLabels: {shift: nigth}}\n", active=True)
    installation.reconcile()
    assert installation.pids() == before
    assert "reconciler profile use night" in installation.cli("get", "profiles")
    installation.cli("profile", "use", "night")
    assert not installation.pids()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nihgt"], 1, "did you mean 'night'"),
        ([], 2, "--none"),
        (["night", "--none"], 2, "--none"),
    ],
)
def test_what_cannot_be_used(installation: Installation, arguments: list[str], code: int, told: str) -> None:
    shifts(installation)
    assert told in installation.cli("profile", "use", *arguments, code=code)


def test_dry_run_tells_what_would_happen(installation: Installation) -> None:
    shifts(installation)
    installation.start()
    before = installation.wait_ready("coder", "chat")
    told = installation.cli("profile", "use", "night", "--dry-run")
    assert "chat  stop" in told
    assert "batch  start" in told
    assert installation.pids() == before
    assert profiles(installation)["day"]["active"]
    assert "reconciler get servers -w" in installation.cli("profile", "use", "profile/night", "--no-wait")
    installation.wait_ready("coder", "batch")


def test_where_only_so_many_may_run_a_place_is_made_at_once(installation: Installation) -> None:
    file = installation.root / "reconciler.toml"
    file.write_text(file.read_text() + "[policy.local]\nmax_servers = 2\n")
    shifts(installation, "StartFirst")
    installation.start()
    before = installation.wait_ready("coder", "chat")
    assert "0 failed" in installation.cli("profile", "use", "night")
    after = installation.wait_ready("coder", "batch")
    assert after["coder"] == before["coder"]
    [chat], [batch] = installation.instances("chat"), installation.instances("batch")
    assert chat["ended"]["monotonic"] <= batch["intent"]["monotonic"]
    assert "PolicyDenied" not in {reason for reason, _ in installation.events("batch")}


def test_one_port_for_two_profiles(installation: Installation) -> None:
    port = installation.ports.start
    for name in ("day", "night"):
        installation.declare(f"chat-{name}", port=port)
        declare_profile(installation, name, f"  servers: [chat-{name}]\n  switch: StartFirst\n", active=name == "day")
    installation.start()
    installation.wait_ready("chat-day")
    assert "0 failed" in installation.cli("profile", "use", "night")
    installation.wait_ready("chat-night")
    # All at once they cannot be had: what is in force stays.
    before = installation.pids()
    told = installation.cli("profile", "use", "--none", code=2)
    assert "wants port" in told
    assert installation.pids() == before


def test_what_git_declares_is_chosen_there(installation: Installation, tmp_path: Path) -> None:
    remote = BareRemote(tmp_path / "remote.git")
    installation.manifests.rmdir()
    settings(installation, remote.url)
    following = Following(installation, remote)
    day = PROFILE.format(name="day", active="true", more="  servers: [chat]\n")
    night = PROFILE.format(name="night", active="false", more="  servers: [batch]\n")
    following.push({"chat": {}, "batch": {}}, day=day, night=night)
    installation.start()
    before = installation.wait_ready("chat")
    for arguments in (["night"], ["--none"]):
        told = installation.cli("profile", "use", *arguments, code=2)
        assert "comes from Git; set spec.active to" in told
        assert "reconciler sync" in told
    assert installation.pids() == before
