"""Going back to what was accepted before, with real servers."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.installation import Installation

pytestmark = pytest.mark.real

MANIFEST = """\
# small, and quick to start
apiVersion: llama.reconciler/v1alpha1
kind: LlamaServer
metadata: {name: coder}
spec:
  model: tiny.gguf
  ctx: 128        # over all slots
  parallel: 1
  threads: 1
  flags: {warmup: false}
"""


def history(installation: Installation, name: str = "coder") -> list[dict[str, object]]:
    found = json.loads(installation.cli("rollout", "history", name, "-o", "json"))["items"]
    assert isinstance(found, list)
    return found


@pytest.fixture
def changed(installation: Installation) -> Installation:
    """A server that was changed, crashed and was restarted by request."""
    path = installation.manifests / "coder.yaml"
    installation.write(path, MANIFEST)
    installation.start()
    installation.wait_ready("coder")
    installation.cli("set", "coder", "ctx=256", "--wait")
    assert path.read_text() == MANIFEST.replace("128 ", "256 ")
    first = installation.wait_ready("coder")["coder"]
    for process in installation.processes():
        process.send_signal(signal.SIGKILL)
    installation.wait_for("another process", lambda: installation.pids().get("coder", first) != first)
    installation.wait_ready("coder")
    installation.cli("restart", "coder")
    installation.wait_ready("coder")
    return installation


def test_the_history_tells_what_was_changed_and_what_was_started(changed: Installation) -> None:
    first, second = history(changed)
    assert [start["trigger"] for start in first["starts"]] == ["Created"]  # type: ignore[attr-defined]
    assert second["changes"] == [{"path": "spec.ctx", "old": 128, "new": 256, "source": ""}]
    assert [(start["trigger"], start["because"]) for start in second["starts"]] == [  # type: ignore[attr-defined]
        ("SpecChanged", ""),
        ("Crashed", "KilledByUser"),
        ("Requested", ""),
    ]
    table = changed.cli("rollout", "history", "coder")
    assert "SpecChanged, Crashed (KilledByUser), Requested" in table
    assert "ctx 128→256" in table


def test_a_rollback_is_an_edit_that_restarts_once(changed: Installation) -> None:
    before, starts = changed.pids()["coder"], len(changed.instances("coder"))
    told = changed.cli("rollback", "coder", "--wait")
    assert "server/coder goes back to generation 1" in told
    assert "~ coder  restart: ctx changed" in told
    assert (changed.manifests / "coder.yaml").read_text() == MANIFEST
    assert changed.wait_ready("coder")["coder"] != before
    assert (changed.generation("coder"), len(changed.instances("coder"))) == (3, starts + 1)
    third = history(changed)[-1]
    assert (third["generation"], third["inForce"]) == (3, True)
    assert third["changes"] == [{"path": "spec.ctx", "old": 256, "new": 128, "source": ""}]


def test_generations_outlive_the_controller(changed: Installation) -> None:
    before = history(changed)
    changed.end(signal.SIGKILL)
    changed.start()
    changed.wait_for("a controller", changed.is_controlled)
    changed.reconcile()
    assert history(changed) == before


def test_a_deleted_server_comes_back(changed: Installation) -> None:
    changed.cli("delete", "server", "coder")
    assert changed.pids() == {}
    assert not (changed.manifests / "coder.yaml").exists()
    assert "nothing is known" not in changed.cli("rollout", "history", "coder")
    told = changed.cli("rollback", "coder", "--wait")
    assert "server/coder goes back to generation 2" in told
    changed.wait_ready("coder")
    assert [(item["generation"], item["inForce"]) for item in history(changed)] == [(1, False), (2, False), (3, True)]
    assert history(changed)[-1]["own"]["ctx"] == 256  # type: ignore[index]


def test_a_refused_edit_is_undone(changed: Installation) -> None:
    path, pids = changed.manifests / "coder.yaml", changed.pids()
    changed.write(path, MANIFEST.replace("ctx: 128", "ctx: plenty"))
    changed.wait_for("the refusal", lambda: changed.reason("coder") == "InvalidManifest")
    assert "generation 2" in changed.cli("rollback", "coder")
    changed.wait_for("the manifest in force", lambda: changed.reason("coder") != "InvalidManifest")
    assert path.read_text().split() == MANIFEST.replace("128", "256").split()
    assert (changed.pids(), changed.generation("coder")) == (pids, 2)


@pytest.fixture
def following(changed: Installation) -> Iterator["subprocess.Popen[bytes]"]:
    """`events -f` beside it."""
    command = [sys.executable, "-m", "reconciler", "events", "-f", "--for", "server/coder", "-o", "json"]
    with (changed.root / "events.txt").open("wb") as output:
        process = subprocess.Popen(command, cwd=changed.root, env=changed.environ, stdout=output)
    yield process
    process.kill()
    process.wait()


def test_events_are_followed_over_another_controller_and_another_database(
    changed: Installation, following: "subprocess.Popen[bytes]"
) -> None:
    def told() -> list[str]:
        lines = (changed.root / "events.txt").read_text().splitlines()
        return [f"{event['reason']} {event['message']} {event['lastAt']}" for event in map(json.loads, lines)]

    changed.wait_for("what happened before", lambda: any(line.startswith("Ready") for line in told()))
    changed.end()
    changed.start()
    changed.wait_for("a controller", changed.is_controlled)
    before = len(told())
    changed.cli("restart", "coder")
    changed.wait_for("its events", lambda: any(line.startswith("Ready") for line in told()[before:]))
    for path in changed.state.glob("state.db*"):
        path.unlink()
    changed.wait_for("another database", (changed.state / "state.db").exists)
    before = len(told())
    changed.cli("restart", "coder")
    changed.wait_for("its events", lambda: any(line.startswith("Ready") for line in told()[before:]))
    assert len(set(told())) == len(told())
    assert following.poll() is None
