"""What people type, against real servers: with a controller and without one."""

import json
import os
import signal
import threading
import time
import urllib.request

import httpx
import pytest

from reconciler.demo.models import write_model
from tests.e2e.installation import Installation, document

pytestmark = pytest.mark.real


def test_apply_without_a_controller_converges_records_and_leaves(installation: Installation) -> None:
    installation.declare("one")
    installation.declare("two")
    assert "2 started, 0 changed, 0 unchanged, 0 stopped, 0 failed" in installation.cli("apply")
    before = installation.pids()
    assert set(before) == {"one", "two"}
    assert not installation.is_controlled()
    listed = json.loads(installation.cli("get", "servers", "-o", "json").partition("warning:")[0])
    assert {item["status"]["phase"] for item in listed["items"]} == {"Unknown"}

    draft = installation.root / "draft.yaml"
    draft.write_text(document("one", ctx=512))
    shown = installation.cli("apply", "-f", str(draft), "--dry-run", code=None)
    assert "ctx" in shown
    assert installation.pids() == before
    assert "0 started, 1 changed" in installation.cli("apply", "-f", str(draft))
    assert json.loads((installation.manifests / "one.yaml").read_text())["spec"]["ctx"] == 512
    after = installation.pids()
    assert after["two"] == before["two"]
    assert after["one"] != before["one"]
    assert "0 started, 0 changed, 2 unchanged" in installation.cli("apply")
    assert installation.pids() == after


def test_apply_reads_standard_input_and_refuses_the_bad_as_a_whole(installation: Installation) -> None:
    installation.start()
    installation.wait_for("a controller", installation.is_controlled)
    told = installation.cli("apply", "-f", "-", stdin=document("one") + "---\n" + document("two", port=0), code=2)
    assert "spec.port" in told
    assert list(installation.manifests.iterdir()) == []
    installation.cli("apply", "-f", "-", stdin=document("one"))
    assert (installation.manifests / "one.yaml").exists()
    assert set(installation.wait_ready("one")) == {"one"}


def test_apply_fails_when_a_server_does_not_come_up(installation: Installation) -> None:
    (installation.models / "broken.gguf").write_bytes(b"GGUF" + bytes(64))
    os.utime(installation.models / "broken.gguf", (0, 0))
    installation.declare("bad", model="broken.gguf", restart={"maxRestarts": 0})
    installation.declare("good")
    installation.declare("asleep", suspend=True)
    told = installation.cli("apply", "--timeout", "30s", code=1)
    assert "1 failed" in told
    assert "bad" in told
    assert set(installation.pids()) == {"good"}
    installation.cli("apply", "good", "asleep", code=0)


def test_requests_hold_over_ticks_and_controllers(installation: Installation) -> None:
    for name in ("one", "two"):
        installation.declare(name)
    installation.start(RECONCILER_TICK="1")
    before = installation.wait_ready("one", "two")
    installation.cli("stop", "one")
    assert set(installation.pids()) == {"two"}
    installation.stays(lambda: set(installation.pids()) == {"two"}, 2.5)
    installation.end(signal.SIGKILL)
    installation.start()
    installation.wait_for("a controller", installation.is_controlled)
    installation.reconcile()
    assert installation.pids() == {"two": before["two"]}
    installation.cli("start", "one")
    after = installation.wait_ready("one", "two")
    installation.cli("restart", "two")
    assert installation.wait_ready("one", "two")["two"] != after["two"]
    assert installation.instances("two")[-1]["trigger"] == "Requested"
    assert "nope" in installation.cli("stop", "nope", "one", code=1)
    assert set(installation.pids()) == {"one", "two"}


def test_stop_without_a_controller_acts_on_what_it_names(installation: Installation) -> None:
    for name in ("one", "two", "three"):
        installation.declare(name)
    installation.start()
    before = installation.wait_ready("one", "two", "three")
    installation.end()
    os.kill(before["three"], signal.SIGKILL)
    installation.cli("stop", "one")
    assert installation.pids() == {"two": before["two"]}
    installation.cli("stop", "--all")
    assert installation.pids() == {}
    installation.cli("start", "two")
    assert set(installation.pids()) == {"two"}


def test_diff_tells_what_would_happen_and_changes_nothing(installation: Installation) -> None:
    installation.declare("one")
    installation.declare("two", labels={"a": "b"})
    assert "one" in installation.cli("diff", code=1)
    installation.cli("apply")
    installation.cli("diff", code=0)
    before = installation.pids()
    installation.declare("one", ctx=512)
    installation.declare("two", labels={"a": "c"})
    installation.declare("three", model="none.gguf")
    told = installation.cli("diff", code=1)
    assert "spec.ctx: 128 → 512" in told
    assert "metadata.labels.a: b → c" in told
    assert "no file at" in told
    changes = {
        change["server"]: change["action"]
        for change in json.loads(installation.cli("diff", "-o", "json", code=1))["changes"]
    }
    assert changes == {"one": "restart", "two": "update", "three": "start"}
    installation.write(installation.manifests / "one.yaml", document("one", ctx="many"))
    assert "one.yaml:" in installation.cli("diff", code=2)
    assert installation.pids() == before


def test_logs_follow_over_a_restart(installation: Installation) -> None:
    installation.declare("one")
    installation.start()
    before = installation.wait_ready("one")
    assert "model loaded" in installation.cli("logs", "one")
    assert len(installation.cli("logs", "one", "--tail", "2").splitlines()) == 2
    os.kill(before["one"], signal.SIGKILL)
    installation.wait_for("a new process", lambda: installation.pids().get("one", before["one"]) != before["one"])
    installation.wait_ready("one")
    assert "model loaded" in installation.cli("logs", "one", "--previous")
    restarts = json.loads(installation.cli("get", "restarts", "one", "-o", "json"))["items"]
    assert {restart["trigger"] for restart in restarts} == {"Created", "Crashed"}
    assert 9 in [restart["signal"] for restart in restarts]


def test_a_drain_waits_for_the_request_in_flight(installation: Installation) -> None:
    write_model(installation.models / "slow.gguf", context=4096, layers=4, width=256, heads=4)
    installation.declare("one", model="slow.gguf", ctx=4096, stop={"drain": "60s", "gracePeriod": "1s"})
    installation.start()
    installation.wait_ready("one")
    port = installation.instances("one")[0]["port"]
    answers: list[httpx.Response] = []

    def ask() -> None:
        body = {"prompt": "a", "n_predict": 3000, "ignore_eos": True, "temperature": 1.0}
        answers.append(httpx.post(f"http://127.0.0.1:{port}/completion", json=body, timeout=60))

    asking = threading.Thread(target=ask)
    asking.start()
    url = f"http://127.0.0.1:{port}/slots"
    installation.wait_for("the slot to be busy", lambda: b'"is_processing":true' in urllib.request.urlopen(url).read())
    installation.cli("stop", "one", "--no-wait")
    installation.wait_phase("one", "Stopping")
    assert asking.is_alive()
    asking.join()
    installation.wait_for("its end", lambda: not installation.pids())
    assert answers[0].json()["tokens_predicted"] == 3000
    assert installation.pids() == {}


def test_a_log_as_json_and_a_hangup(installation: Installation) -> None:
    installation.declare("one")
    installation.start("--log-format", "json")
    before = installation.wait_ready("one")
    passes = installation.passes()
    assert installation.controller is not None
    installation.controller.send_signal(signal.SIGHUP)
    installation.wait_for("a further pass", lambda: installation.passes() > passes)
    installation.end()
    lines = [json.loads(line) for line in installation.log().splitlines()]
    assert ("one", "Ready") in [(line["server"], line["reason"]) for line in lines]
    assert installation.pids() == before


def test_run_waits_for_an_apply_to_end(installation: Installation) -> None:
    installation.declare("late", model="late.gguf")
    told: list[str] = []
    applying = threading.Thread(target=lambda: told.append(installation.cli("apply", "--timeout", "6s", code=None)))
    # An apply waits while a model is still being copied.
    (installation.models / "late.gguf").write_bytes(b"GGUF")
    stop = time.monotonic() + 3

    def touch() -> None:
        while time.monotonic() < stop:
            with (installation.models / "late.gguf").open("ab") as file:
                file.write(b"x")
            time.sleep(0.2)

    touching = threading.Thread(target=touch)
    touching.start()
    applying.start()
    installation.wait_for("the apply to be the controller", (installation.state / "holder.json").exists)
    installation.start()
    installation.wait_for("the run to wait", lambda: "waiting: `reconciler apply`" in installation.log())
    applying.join()
    touching.join()
    installation.wait_for("the run to be the controller", installation.is_controlled)


def test_nothing_but_run_and_apply_makes_a_state_folder(installation: Installation) -> None:
    for verb in (
        ["get", "servers"],
        ["diff"],
        ["stop", "--all"],
        ["logs", "x"],
        ["describe", "server", "x"],
        ["validate"],
    ):
        installation.cli(*verb, code=None)
        assert not installation.state.exists(), verb
    told = installation.cli("get", "servers", code=None)
    assert "reconciler run" in told


def test_the_state_is_its_owners_alone(installation: Installation) -> None:
    installation.start()
    installation.wait_for("a controller", installation.is_controlled)
    assert oct(installation.state.stat().st_mode)[-3:] == "700"
    assert oct((installation.state / "controller.sock").stat().st_mode)[-3:] == "600"


def test_a_lost_database_is_made_anew_and_what_runs_is_taken_over(installation: Installation) -> None:
    installation.declare("one", port=installation.ports.start)
    installation.start()
    before = installation.wait_ready("one")
    installation.end()
    for path in installation.state.glob("state.db*"):
        path.unlink()
    installation.start()
    installation.wait_ready("one")
    assert installation.pids() == before
