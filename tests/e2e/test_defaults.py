"""LlamaServerDefaults and Profile documents, over a controller and real servers."""

import json
from typing import Any

import httpx
import pytest

from tests.e2e.installation import Installation

pytestmark = pytest.mark.real


def other(kind: str, name: str, **spec: Any) -> str:
    metadata = {"name": name}
    content = {"apiVersion": "llama.reconciler/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
    return json.dumps(content, indent=2) + "\n"


def put(here: Installation, kind: str, name: str, **spec: Any) -> None:
    here.write(here.manifests / f"{kind.lower()}-{name}.yaml", other(kind, name, **spec))


def take_up(here: Installation) -> None:
    """Wait until a controller has looked at everything."""
    here.wait_for("a controller answers", here.is_controlled)
    here.reconcile()


def ask(here: Installation, kind: str, name: str) -> None:
    transport = httpx.HTTPTransport(uds=str(here.state / "controller.sock"))
    with httpx.Client(transport=transport, base_url="http://controller", timeout=30) as client:
        client.post("/requests", json={"kind": kind, "servers": [name]}).raise_for_status()


@pytest.fixture
def here(installation: Installation) -> Installation:
    installation.declare("a", labels={"tier": "day"})
    installation.declare("b", labels={"tier": "night"}, flags={"warmup": False, "temp": 0.5})
    return installation


def test_defaults_reach_the_servers_they_select_and_restart_only_those_they_change(here: Installation) -> None:
    put(here, "LlamaServerDefaults", "day", selector={"matchLabels": {"tier": "day"}}, template={"flags": {"top-k": 7}})
    here.start()
    before = here.wait_ready("a", "b")
    assert here.instances("a")[-1]["spec"]["flags"]["top-k"] == 7
    told = here.cli("describe", "server", "a")
    assert "top-k: 7   (from LlamaServerDefaults day)" in told

    put(here, "LlamaServerDefaults", "day", selector={"matchLabels": {"tier": "day"}}, template={"flags": {"top-k": 9}})
    here.wait_for("a runs anew", lambda: here.pids().get("a") not in (None, before["a"]))
    after = here.wait_ready("a", "b")
    assert after["b"] == before["b"]
    assert here.generation("a") == 2
    assert here.generation("b") == 1

    # Probes are in no fingerprint.
    put(here, "LlamaServerDefaults", "calm", template={"probes": {"liveness": {"period": "7s"}}})
    here.wait_for("both have it", lambda: (here.generation("a"), here.generation("b")) == (3, 2))
    assert here.pids() == after


def test_a_broken_one_changes_nothing_and_says_why(here: Installation) -> None:
    put(here, "LlamaServerDefaults", "all", template={"flags": {"top-k": 7}})
    here.start()
    before = here.wait_ready("a", "b")
    put(here, "LlamaServerDefaults", "all", template={"threads": 0})
    here.wait_for("it is told", lambda: any(reason == "InvalidManifest" for reason, _ in here.events("")))
    assert "spec.template.threads" in here.cli("get", "events")
    here.stays(lambda: here.pids() == before, 1.0)
    here.end()
    here.start()
    take_up(here)
    assert here.pids() == before
    assert here.instances("a")[-1]["spec"]["flags"]["top-k"] == 7


def test_defaults_that_are_gone_restart_whom_they_changed(here: Installation) -> None:
    put(here, "LlamaServerDefaults", "all", template={"flags": {"temp": 0.1}})
    here.start()
    before = here.wait_ready("a", "b")
    (here.manifests / "llamaserverdefaults-all.yaml").unlink()
    here.wait_for("a runs anew", lambda: here.pids().get("a") not in (None, before["a"]))
    assert here.wait_ready("a", "b")["b"] == before["b"]


def test_what_would_happen_is_told_with_where_it_comes_from(here: Installation) -> None:
    here.start()
    here.wait_ready("a", "b")
    cool = other("LlamaServerDefaults", "cool", template={"flags": {"temp": 0.1}})
    told = here.cli("diff", "-f", "-", code=1, stdin=cool)
    assert "~ a  restart: flags.temp changed (from LlamaServerDefaults cool)" in told
    assert "spec.flags.temp: (unset) → 0.1   (from LlamaServerDefaults cool)" in told
    assert "b  " not in told


def test_a_profile_that_comes_to_select_nobody_is_held_until_it_is_asked_for(here: Installation) -> None:
    put(here, "Profile", "day", selector={"matchLabels": {"tier": "day"}}, active=True)
    here.start()
    before = here.wait_ready("a")
    put(here, "Profile", "day", selector={"matchLabels": {"tier": "dya"}}, active=True)
    here.wait_for("it is told", lambda: any(reason == "ManifestsHeld" for reason, _ in here.events("")))
    here.stays(lambda: here.pids() == before, 1.0)
    here.end()
    here.start()
    take_up(here)
    here.stays(lambda: here.pids() == before, 0.5)
    assert "reconciler profile use day" in here.reconcile()["folderProblem"]
    ask(here, "profile", "day")
    here.wait_for("nobody runs", lambda: here.pids() == {})
    assert here.reconcile()["folderProblem"] == ""


def test_a_profile_is_applied_shown_beforehand_and_waited_for(here: Installation) -> None:
    here.start()
    before = here.wait_ready("a", "b")
    day = other("Profile", "day", servers=["a"], active=True)
    told = here.cli("diff", "-f", "-", code=1, stdin=day)
    assert "- b  stop: the active profile 'day' leaves it out" in told
    told = here.cli("apply", "-f", "-", stdin=day)
    assert "day  written to manifests/day.yaml" in told
    here.wait_for("b has ended", lambda: here.pids() == {"a": before["a"]})
    told = here.cli("diff", "-f", "-", code=1, stdin=other("Profile", "day", servers=["b"], active=True))
    assert "- a  stop: the active profile 'day' leaves it out" in told
    assert "+ b  start: the active profile wants it" in told
    told = here.cli("apply", "-f", "-", code=2, stdin=other("Profile", "day", servers=["x"], active=True))
    assert "spec.servers: no manifest declares 'x'" in told
    assert here.pids() == {"a": before["a"]}


def test_without_a_controller_apply_brings_profiles_and_defaults_in_force(here: Installation) -> None:
    put(here, "Profile", "day", servers=["a"], active=True)
    put(here, "LlamaServerDefaults", "all", template={"flags": {"top-k": 7}})
    here.cli("apply")
    assert set(here.pids()) == {"a"}
    assert here.instances("a")[-1]["spec"]["flags"]["top-k"] == 7
    assert "no changes" in here.cli("diff")
    told = here.cli("diff", "-f", "-", code=1, stdin=other("LlamaServerDefaults", "all", template={}))
    assert "~ a  restart: flags.top-k changed (from LlamaServerDefaults all)" in told
