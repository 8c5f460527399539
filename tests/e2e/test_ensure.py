"""`ensure` before a script uses a server, against real servers."""

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any, NamedTuple

import httpx
import psutil
import pytest

from tests.e2e.installation import Installation

pytestmark = pytest.mark.real

SLOW = {"liveness": {"period": "30s", "timeout": "400ms"}}
"""The controller notices nothing by itself while a test runs."""


class Done(NamedTuple):
    code: int
    out: str
    err: str


def ensure(installation: Installation, *arguments: str) -> Done:
    done = begin(installation, *arguments)
    out, err = done.communicate(timeout=60)
    return Done(done.returncode, out, err)


def begin(installation: Installation, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "reconciler", "ensure", *arguments],
        cwd=installation.root,
        env=installation.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answers(url: str) -> bool:
    return httpx.get(f"{url.strip()}/v1/models", timeout=10).status_code == 200


def test_one_that_is_well_is_only_asked(installation: Installation) -> None:
    installation.declare("coder")
    installation.start()
    before = installation.wait_ready("coder")
    port = installation.instances("coder")[-1]["port"]
    assert ensure(installation, "server/coder", "--url") == (0, f"http://127.0.0.1:{port}\n", "")
    assert installation.pids() == before
    data = json.loads(ensure(installation, "coder", "-o", "json").out)
    assert data == {
        "name": "coder",
        "url": f"http://127.0.0.1:{port}",
        "model": str(installation.models / "tiny.gguf"),
        "ctx": 256,
        "slots": 1,
        "pid": before["coder"],
        "uid": installation.instances("coder")[-1]["uid"],
        "requested": None,
        "degraded": None,
    }


@pytest.mark.parametrize(
    ("spec", "below"),
    [
        ({"host": "0.0.0.0", "apiKeyFile": "keys"}, "http://127.0.0.1:{}"),
        ({"host": "::1", "flags": {"warmup": False, "api-prefix": "/llm"}}, "http://[::1]:{}/llm"),
        ({"apiKeyFile": "keys", "flags": {"warmup": False, "api-prefix": "/llm"}}, "http://127.0.0.1:{}/llm"),
    ],
    ids=["key", "prefix", "key-and-prefix"],
)
def test_it_stands_where_its_manifest_puts_it(installation: Installation, spec: dict[str, Any], below: str) -> None:
    (installation.models / "keys").write_text("secret\n")
    installation.declare("coder", **spec)
    installation.start()
    installation.wait_ready("coder")
    url = below.format(installation.instances("coder")[-1]["port"])
    assert ensure(installation, "coder", "--ctx", "100") == (0, f"{url}\n", "")


def test_one_that_hangs_is_restarted_whatever_its_status_says(installation: Installation) -> None:
    installation.declare("coder", probes=SLOW, stop={"gracePeriod": "200ms"})
    installation.start()
    before = installation.wait_ready("coder")
    os.kill(before["coder"], signal.SIGSTOP)
    done = ensure(installation, "coder")
    assert done.code == 0, done.err
    assert answers(done.out)
    assert done.err.splitlines()[0] == "coder  no answer within 400ms; restarting it"
    assert installation.pids()["coder"] != before["coder"]
    assert [one["trigger"] for one in installation.instances("coder")] == ["Created", "Requested"]


def test_several_at_once_restart_it_once(installation: Installation) -> None:
    installation.declare("coder", probes=SLOW, stop={"gracePeriod": "200ms"})
    installation.start()
    before = installation.wait_ready("coder")
    os.kill(before["coder"], signal.SIGSTOP)
    running = []
    for _ in range(6):
        # Some ask the hung one while the first has it restarted, and learn that it hangs only after that.
        running.append(begin(installation, "coder", "--url"))
        time.sleep(0.1)
    urls = {one.communicate(timeout=60)[0] for one in running}
    assert [one.returncode for one in running] == [0] * 6
    assert len(urls) == 1
    assert len(installation.instances("coder")) == 2


def test_several_servers_at_once_each_come_up_without_a_controller(installation: Installation) -> None:
    names = ["a", "b", "c", "d"]
    for name in names:
        installation.declare(name)
    installation.start()
    before = installation.wait_ready(*names)
    assert installation.end() == 0
    for pid in before.values():
        process = psutil.Process(pid)
        process.kill()
        psutil.wait_procs([process], timeout=10)
    running = [begin(installation, name, "--url", "--timeout", "30s") for name in names]
    said = [one.communicate(timeout=60) for one in running]
    assert [one.returncode for one in running] == [0] * 4, said
    assert all(answers(url) for url, _ in said)
    assert {name: len(installation.instances(name)) for name in names} == dict.fromkeys(names, 2)


def test_what_its_controller_did_is_not_told_as_asked_for(installation: Installation) -> None:
    installation.declare("coder", probes={"liveness": {"period": "30s", "timeout": "5s"}})
    installation.start()
    pid = installation.wait_ready("coder")["coder"]
    os.kill(pid, signal.SIGSTOP)
    running = begin(installation, "coder", "-o", "json")
    installation.wait_for(
        "it is asked", lambda: any(one.raddr for one in psutil.Process(running.pid).net_connections())
    )
    os.kill(pid, signal.SIGKILL)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    was_requested = "Requested" in [one["trigger"] for one in installation.instances("coder")]
    assert json.loads(out)["requested"] == ("restart" if was_requested else None)
    assert ("; restarting it" in err) == was_requested


def test_one_that_may_yet_answer_is_not_called_unwell(installation: Installation) -> None:
    installation.declare("coder", probes={"liveness": {"period": "30s", "timeout": "5s"}})
    installation.start()
    pid = installation.wait_ready("coder")["coder"]
    os.kill(pid, signal.SIGSTOP)
    try:
        done = ensure(installation, "coder", "--timeout", "500ms")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (done.code, done.out) == (1, "")
    why = "it has not answered, and may take up to 5s (spec.probes.liveness.timeout)"
    assert done.err == (
        f"error: whether coder is well is not known within 500ms: {why}\n"
        "hint: give it more time than that with --timeout, or restart it with: reconciler restart coder\n"
    )
    assert len(installation.instances("coder")) == 1


def test_one_that_has_failed_gets_another_try(installation: Installation) -> None:
    (installation.models / "late.gguf").write_bytes(b"GGUF" + bytes(64))
    os.utime(installation.models / "late.gguf", (0, 0))
    installation.declare("coder", model="late.gguf", restart={"maxRestarts": 0, "retryFailedAfter": "0s"})
    installation.start()
    installation.wait_phase("coder", "Failed")
    done = ensure(installation, "coder", "--url")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("✗ coder  Failed: ModelBroken\n")
    assert "\nerror: coder is not Ready: Failed: " in done.err
    assert done.err.endswith("hint: see why with: reconciler describe server coder\n")
    assert len(installation.instances("coder")) == 2


def test_without_a_controller_it_is_its_controller(installation: Installation) -> None:
    installation.declare("coder")
    installation.declare("chat")
    installation.start()
    before = installation.wait_ready("coder", "chat")
    assert installation.end() == 0
    assert ensure(installation, "coder", "--url").code == 0
    assert installation.pids() == before
    for pid in before.values():
        process = psutil.Process(pid)
        process.kill()
        psutil.wait_procs([process], timeout=10)
    done = ensure(installation, "coder")
    assert done.code == 0, done.err
    assert answers(done.out)
    assert "coder  it does not run; restarting it" in done.err
    assert "no controller is running: nobody restarts servers until: reconciler run" in done.err
    assert set(installation.pids()) == {"coder"}


def test_one_that_is_not_to_run_stays_so(installation: Installation) -> None:
    installation.declare("coder")
    installation.declare("asleep", suspend=True)
    installation.start()
    installation.wait_ready("coder")
    installation.cli("stop", "coder")
    stopped = ensure(installation, "coder")
    hint = "hint: start it with: reconciler start coder, or: reconciler ensure coder --start\n"
    assert stopped == (1, "", f"error: coder was stopped by request\n{hint}")
    hint = "hint: have it run again with: reconciler resume asleep\n"
    assert ensure(installation, "asleep") == (1, "", f"error: asleep is suspended by its manifest\n{hint}")
    assert installation.pids() == {}
    started = ensure(installation, "coder", "--start", "--url")
    assert started.code == 0, started.err
    assert answers(started.out)


def test_less_context_than_asked_for_is_an_error(installation: Installation) -> None:
    installation.declare("coder", ctx=256)
    installation.start()
    installation.wait_ready("coder")
    done = ensure(installation, "coder", "--ctx", "512")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "error: coder has a context of 256, not of 512\n"
        "hint: give it more with: reconciler set server/coder spec.ctx=512\n"
    )
    done = ensure(installation, "coder", "--ctx", "9999")
    assert "its model was trained for 512; declare another one with: reconciler edit server coder" in done.err


def test_less_context_because_a_change_is_held_back(installation: Installation) -> None:
    installation.declare("coder", ctx=256)
    installation.start()
    installation.wait_ready("coder")
    installation.declare("coder", ctx=512, model="missing.gguf")
    installation.wait_for("the change is seen", lambda: "stays" in installation.cli("describe", "server", "coder"))
    done = ensure(installation, "coder", "--ctx", "512")
    assert (done.code, done.out) == (1, "")
    held = "is not as declared: ModelMissing: no file at "
    assert done.err.startswith(f"error: coder has a context of 256, not of 512, and {held}")
    assert done.err.endswith("hint: see more with: reconciler describe server coder\n")


def test_one_that_loads_is_waited_for(installation: Installation) -> None:
    installation.declare("coder")
    began = time.monotonic()
    installation.start()
    installation.wait_for("a controller", installation.is_controlled)
    done = ensure(installation, "coder", "--url")
    assert done.code == 0, done.err
    assert answers(done.out)
    assert len(installation.instances("coder")) == 1
    assert time.monotonic() - began < 30


def test_the_time_is_bounded(installation: Installation) -> None:
    installation.declare("coder", model="missing.gguf")
    installation.start()
    installation.wait_phase("coder", "Blocked")
    began = time.monotonic()
    done = ensure(installation, "coder", "--timeout", "500ms")
    assert (done.code, done.out) == (1, "")
    assert "error: coder is not Ready: Blocked: " in done.err
    assert time.monotonic() - began < 5
