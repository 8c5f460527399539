"""What an edit restarts: the changed server, and no other."""

import pytest

from tests.e2e.installation import SMALL, Installation, document

pytestmark = pytest.mark.real
TEN = [f"s{number}" for number in range(10)]


def test_of_ten_servers_only_the_edited_one_restarts(installation: Installation) -> None:
    for name in TEN:
        installation.declare(name)
    installation.start()
    before = installation.wait_ready(*TEN)

    installation.declare("s3", ctx=512)
    installation.wait_for(
        "s3 to be another process", lambda: installation.pids().get("s3", before["s3"]) != before["s3"]
    )
    after = installation.wait_ready(*TEN)
    assert {name for name in TEN if after[name] != before[name]} == {"s3"}
    assert [row["trigger"] for row in installation.instances("s3")] == ["Created", "SpecChanged"]
    assert installation.instances("s3")[0]["diagnosis"] == "SpecChanged"

    # Labels, policies, probes, comments, order and the file's name are no reason to restart.
    installation.declare("s1", labels={"team": "search"})
    installation.declare("s2", restart={"maxRestarts": 7}, stop={"gracePeriod": "3s"})
    installation.declare("s4", probes={"liveness": {"period": "1s"}})
    path = installation.manifests / "s5.yaml"
    installation.write(path, "# a comment\n" + path.read_text())
    (installation.manifests / "s6.yaml").rename(installation.manifests / "renamed.yml")
    folder = installation.manifests / "below"
    folder.mkdir()
    (installation.manifests / "s7.yaml").rename(folder / "s7.yaml")
    both = document("s9") + "---\n" + document("s8")
    (installation.manifests / "s9.yaml").unlink()
    installation.write(installation.manifests / "s8.yaml", both)
    installation.reconcile()
    installation.stays(lambda: installation.pids() == after, 3.0)
    assert installation.query("select count(*) from instances where ended_at is null") == [(10,)]
    assert installation.generation("s1") == 2
    assert installation.generation("s6") == 1


def test_add_and_remove(installation: Installation) -> None:
    installation.declare("one")
    installation.start()
    before = installation.wait_ready("one")
    installation.declare("two")
    after = installation.wait_ready("one", "two")
    assert after["one"] == before["one"]
    (installation.manifests / "two.yaml").unlink()
    installation.wait_for("two to be gone", lambda: set(installation.pids()) == {"one"})
    assert installation.pids() == before


def test_the_only_server_renamed_is_replaced_without_the_prune_guard(installation: Installation) -> None:
    path = installation.declare("old")
    installation.start()
    installation.wait_ready("old")
    installation.write(path, document("new"))
    installation.wait_ready("new")
    assert ("old", "PruneHeld") not in installation.query("select server, reason from events")


def test_two_servers_swap_ports(installation: Installation) -> None:
    low, high = installation.ports.start, installation.ports.start + 1
    both = installation.manifests / "both.yaml"
    installation.write(both, document("left", port=low) + "---\n" + document("right", port=high))
    installation.start()
    before = installation.wait_ready("left", "right")
    installation.write(both, document("left", port=high) + "---\n" + document("right", port=low))
    installation.wait_for("new processes", lambda: not set(installation.pids().values()) & set(before.values()))
    installation.wait_ready("left", "right")
    assert [row["port"] for row in installation.instances("left")] == [low, high]
    assert [row["port"] for row in installation.instances("right")] == [high, low]


def test_one_edit_after_the_other_swaps_ports_too(installation: Installation) -> None:
    low, high = installation.ports.start, installation.ports.start + 1
    installation.declare("left", port=low)
    installation.declare("right", port=high)
    installation.start()
    before = installation.wait_ready("left", "right")
    installation.declare("left", port=high)
    installation.wait_for("the clash to be told", lambda: installation.reason("left") == "InvalidManifest")
    assert installation.reason("right") == "InvalidManifest"
    assert installation.pids() == before
    installation.declare("right", port=low)
    installation.wait_for("new processes", lambda: not set(installation.pids().values()) & set(before.values()))
    installation.wait_ready("left", "right")


def test_a_port_is_kept_over_restarts_and_suspension(installation: Installation) -> None:
    installation.declare("one")
    installation.declare("two")
    installation.start()
    installation.wait_ready("one", "two")
    (first,) = installation.instances("two")
    installation.declare("two", suspend=True)
    installation.wait_phase("two", "Stopped")
    installation.declare("two", ctx=512)
    installation.wait_ready("one", "two")
    assert installation.instances("two")[-1]["port"] == first["port"]


def test_a_typo_in_the_model_of_a_running_server_stops_nothing(installation: Installation) -> None:
    installation.declare("chat")
    installation.start()
    before = installation.wait_ready("chat")
    installation.declare("chat", model="tyni.gguf")
    installation.wait_for("the reason to be told", lambda: installation.reason("chat") == "GateShut")
    condition = installation.conditions("chat")["Reconciled"]
    assert condition["status"] is False
    assert "no file at" in condition["message"]
    assert "tyni.gguf" in condition["message"]
    installation.stays(lambda: installation.pids() == before, 1.5)
    assert installation.conditions("chat")["Ready"]["status"] is True
    installation.declare("chat")
    installation.wait_for("all to be well", lambda: installation.conditions("chat")["Reconciled"]["status"])
    assert installation.pids() == before


def test_an_edit_in_place_is_used_once_it_is_whole(installation: Installation) -> None:
    path = installation.declare("chat")
    installation.start()
    before = installation.wait_ready("chat")
    text = document("chat", ctx=512)
    with path.open("w") as file:
        for part in (text[:40], text[40:90], text[90:]):
            file.write(part)
            file.flush()
            installation.stays(lambda: installation.pids() == before, 0.2)
    installation.wait_for("a new process", lambda: installation.pids().get("chat", before["chat"]) != before["chat"])
    installation.wait_ready("chat")
    reasons = [reason for reason, _ in installation.events()]
    assert "InvalidManifest" not in reasons
    assert "ManifestUnreadable" not in reasons
    assert SMALL["ctx"] != 512
