"""What does not run as asked for runs with less, says so, and finds the way back; over the real llama-server."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from psutil import Process as OsProcess

from reconciler.demo.limits import write_limited_program
from reconciler.demo.models import write_demo_models
from reconciler.settings import load_settings
from tests.e2e.installation import Installation
from tests.e2e.limited import ASKED, LIMIT, SPEC, Limited

HALF = ASKED // 2
MANIFESTS = Path(__file__).parents[2] / "manifests"


@pytest.fixture
def limited(installation: Installation) -> Limited:
    """The memory of its servers is limited, so that half of the context is the most that fits."""
    return Limited(installation)


def degraded(installation: Installation, name: str = "coder") -> str:
    """Why it runs with less than was asked for; empty when it does not."""
    condition = installation.conditions(name)["Degraded"]
    return f"{condition['reason']}: {condition['message']}" if condition["status"] else ""


def starts(installation: Installation, name: str = "coder") -> list[tuple[str, str, str]]:
    """Trigger, step and result of every start so far."""
    return [(row["trigger"], row["step_told"], row["diagnosis"]) for row in installation.instances(name)]


def context(installation: Installation, name: str = "coder") -> int:
    """The context that the server itself tells of."""
    port = installation.instances(name)[-1]["port"]
    answer = httpx.get(f"http://127.0.0.1:{port}/props", timeout=10).json()
    return int(answer["default_generation_settings"]["n_ctx"])


@contextmanager
def long_completion(port: int) -> Iterator[Iterator[str]]:
    """What comes of a request that takes many seconds, line by line."""
    body = {"prompt": "a", "n_predict": 6000, "ignore_eos": True, "stream": True}
    with (
        httpx.Client(timeout=60) as client,
        client.stream("POST", f"http://127.0.0.1:{port}/completion", json=body) as answer,
    ):
        yield answer.iter_lines()


# ---------------------------------------------------------------- there and back


def test_the_demo_has_a_server_that_runs_with_less_than_was_asked_for(installation: Installation) -> None:
    write_demo_models(installation.models)
    program = write_limited_program(installation.models, installation.environ["LLAMA_SERVER"])
    settings = installation.root / "reconciler.toml"
    settings.write_text(f'binaries = ["models/{program.name}"]\n{settings.read_text()}')
    text = (MANIFESTS / "reader.yaml").read_text()
    installation.write(installation.manifests / "reader.yaml", text)
    installation.start()
    installation.wait_ready("reader")
    assert degraded(installation, "reader")
    assert context(installation, "reader") <= ASKED // 2


def test_too_much_context_ends_in_less_of_it_and_the_way_back_is_one_command(
    installation: Installation, limited: Limited
) -> None:
    limited.declare(installation)
    installation.start()
    installation.wait_ready("coder")
    assert context(installation) == HALF
    (first, second) = starts(installation)
    assert first[:2] == ("Created", "")
    assert first[2] in ("ContextTooLarge", "HostOutOfMemory")
    assert second == ("Fallback", f"ctx {HALF}", "")
    told = degraded(installation)
    assert told.startswith(first[2])
    assert f"ctx {ASKED}" in told
    assert f"ctx {HALF}" in told
    assert installation.reason("coder") == "AsDeclared"

    limited.limit(None)
    output = installation.cli("restart", "coder", "--primary")
    assert "coder  Ready in " in output
    assert context(installation) == ASKED
    assert degraded(installation) == ""
    assert starts(installation)[2] == ("Requested", "", "")


def test_as_asked_it_may_fail_again_and_the_command_says_so(installation: Installation, limited: Limited) -> None:
    limited.declare(installation)
    installation.start()
    installation.wait_ready("coder")
    output = installation.cli("restart", "coder", "--primary", code=1)
    assert f"Ready, but on a fallback step: ctx {HALF}" in output
    assert context(installation) == HALF
    assert len(starts(installation)) == 4


def test_a_plain_restart_keeps_the_step(installation: Installation, limited: Limited) -> None:
    limited.declare(installation)
    installation.start()
    installation.wait_ready("coder")
    installation.cli("restart", "coder")
    assert starts(installation)[2:] == [("Requested", f"ctx {HALF}", "")]


def test_several_steps_follow_each_other_at_once(installation: Installation, limited: Limited) -> None:
    limited.limit(135_000)
    limited.declare(installation)
    began = time.monotonic()
    installation.start()
    installation.wait_ready("coder")
    assert time.monotonic() - began < 10
    tried = [told for _, told, _ in starts(installation)]
    halves = [f"ctx {ASKED >> power}" for power in range(1, len(tried))]
    assert tried == ["", *halves]
    assert len(tried) > 3
    record = installation.query("select n, restarts from servers where name = 'coder'")
    assert record == [(0, 0)]


def test_off_is_off(installation: Installation, limited: Limited) -> None:
    limited.declare(installation, fallback="off", restart={"maxRestarts": 1, "initialBackoff": "10ms"})
    installation.start()
    installation.wait_phase("coder", "Failed")
    assert [told for _, told, _ in starts(installation)] == ["", ""]


def test_off_in_the_settings_is_off_where_nothing_is_said(installation: Installation, limited: Limited) -> None:
    settings = installation.root / "reconciler.toml"
    settings.write_text(f'fallback = "off"\n{settings.read_text()}')
    few = {"maxRestarts": 0}
    limited.declare(installation, "silent", restart=few)
    limited.declare(installation, "asking", restart=few, fallback="auto")
    installation.start()
    installation.wait_phase("silent", "Failed")
    installation.wait_phase("asking", "Ready")


def test_written_steps_may_take_another_model_and_flags(installation: Installation, limited: Limited) -> None:
    steps: list[dict[str, Any]] = [
        {"ctx": HALF, "on": ["Hung"]},
        {"model": "tiny.gguf", "ctx": 256, "flags": {"temp": 0.25, "ubatch-size": 16}},
    ]
    limited.declare(installation, fallback={"steps": steps})
    installation.start()
    installation.wait_ready("coder")
    assert context(installation) == 256
    assert "tiny.gguf" in starts(installation)[-1][1]
    argv = OsProcess(installation.pids()["coder"]).cmdline()
    assert argv[argv.index("--temp") + 1] == "0.25"
    assert argv[argv.index("--batch-size") + 1] == "32"
    assert argv[argv.index("--model") + 1] == str(installation.models / "tiny.gguf")
    assert len(starts(installation)) == 2
    limited.limit(None)
    installation.cli("restart", "coder", "--primary")
    assert context(installation) == ASKED


# ---------------------------------------------------------------- back by itself


def test_it_goes_back_by_itself_once_there_is_room(installation: Installation, limited: Limited) -> None:
    limited.declare(installation, restart={"retryPrimaryAfter": "1s"})
    installation.start()
    installation.wait_ready("coder")
    limited.limit(None)
    installation.wait_for("as asked", lambda: not degraded(installation) and installation.phases()["coder"] == "Ready")
    assert context(installation) == ASKED
    assert starts(installation)[-1] == ("PrimaryRetried", "", "")


def test_a_try_that_fails_goes_straight_back_to_the_step_that_ran(installation: Installation, limited: Limited) -> None:
    limited.limit(175_000)
    limited.declare(installation, restart={"retryPrimaryAfter": "1s"})
    installation.start()
    installation.wait_ready("coder")
    ladder = starts(installation)
    last = ladder[-1][1]
    installation.wait_for("two tries", lambda: _triggers(installation).count("PrimaryRetried") == 2)
    installation.wait_ready("coder")
    later = [(trigger, told) for trigger, told, _ in starts(installation)[len(ladder) :]]
    assert later[:4] == [("PrimaryRetried", ""), ("Fallback", last), ("PrimaryRetried", ""), ("Fallback", last)]
    first, second = (
        row["intent"]["wall"] for row in installation.instances("coder") if row["trigger"] == "PrimaryRetried"
    )
    assert second - first >= 2.0, "the second pause is twice the first"
    assert installation.query("select n, restarts from servers where name = 'coder'") == [(0, 0)]


@pytest.mark.parametrize(
    ("flags", "goes_back"), [({"sleep-idle-seconds": 2}, True), ({"slots": False}, False)], ids=["sleeps", "no slots"]
)
def test_the_way_back_of_one_whose_slots_cannot_be_looked_at(
    installation: Installation, limited: Limited, flags: dict[str, Any], goes_back: bool
) -> None:
    """While it sleeps nobody needs it; where it never tells, that is said."""
    liveness = {"liveness": {"period": "200ms"}}
    restart = {"retryPrimaryAfter": "1s"}
    limited.declare(installation, restart=restart, probes=liveness, flags={**SPEC["flags"], **flags})
    installation.start()
    installation.wait_ready("coder")
    limited.limit(None)
    if goes_back:
        installation.wait_for("the way back", lambda: _triggers(installation)[2:] == ["PrimaryRetried"])
    else:
        installation.wait_for("a word", lambda: "does not go back by itself" in degraded(installation))


def _triggers(installation: Installation) -> list[str]:
    return [row["trigger"] for row in installation.instances("coder")]


def test_it_does_not_go_back_while_a_request_is_processed(installation: Installation, limited: Limited) -> None:
    limited.declare(
        installation, restart={"retryPrimaryAfter": "1s"}, probes={"liveness": {"period": "100ms", "timeout": "5s"}}
    )
    installation.start()
    installation.wait_ready("coder")
    port = installation.instances("coder")[-1]["port"]
    limited.limit(None)
    with long_completion(port) as chunks:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert next(chunks, None) is not None, "the completion was too short for this test"
        assert len(_triggers(installation)) == 2
    installation.wait_for("the way back", lambda: _triggers(installation)[2:] == ["PrimaryRetried"])


def test_who_stands_still_when_it_is_asked_once_more_is_not_taken_for_idle(
    installation: Installation, limited: Limited
) -> None:
    """As while its memory is swapped: it was idle at the last look, has got a request since, and answers nobody."""
    limited.declare(
        installation, restart={"retryPrimaryAfter": "3s"}, probes={"liveness": {"period": "20s", "timeout": "10s"}}
    )
    installation.start()
    installation.wait_ready("coder")
    row, pid = installation.instances("coder")[-1], installation.pids()["coder"]
    limited.limit(None)
    due = row["ready"]["monotonic"] + 3.0
    with long_completion(row["port"]) as chunks:
        while time.monotonic() < due - 0.3:
            assert next(chunks, None) is not None, "the completion was too short for this test"
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(max(0.0, due + 1.2 - time.monotonic()))
        finally:
            os.kill(pid, signal.SIGCONT)
        for _ in range(200):
            assert next(chunks, None) is not None, "it was stopped while it processed a request"
        assert len(_triggers(installation)) == 2


# ---------------------------------------------------------------- the controller dies


def test_a_controller_that_is_killed_finds_the_step_again(installation: Installation, limited: Limited) -> None:
    limited.declare(installation)
    installation.start()
    pids = installation.wait_ready("coder")
    installation.end(signal.SIGKILL)
    installation.start()
    installation.wait_for("a look", installation.is_controlled)
    installation.reconcile()
    assert installation.wait_ready("coder") == pids
    installation.stays(lambda: installation.pids() == pids, 0.5)
    assert degraded(installation)
    assert len(starts(installation)) == 2


def test_without_its_database_it_is_known_by_its_mark(installation: Installation, limited: Limited) -> None:
    limited.declare(installation)
    installation.start()
    pids = installation.wait_ready("coder")
    installation.end(signal.SIGKILL)
    for path in installation.state.glob("state.db*"):
        path.unlink()
    installation.start()
    installation.wait_for("it is taken over", lambda: installation.phases().get("coder") == "Ready")
    assert installation.wait_ready("coder") == pids
    (row,) = installation.instances("coder")
    assert (row["step"], row["step_told"], row["changes"]) == (1, f"ctx {HALF}", {"ctx": HALF})
    assert degraded(installation)
    limited.limit(None)
    installation.cli("restart", "coder", "--primary")
    assert context(installation) == ASKED


@pytest.mark.parametrize("now", ["off", {"steps": [{"ctx": 1024}]}], ids=["no steps", "another step"])
def test_without_its_database_it_is_told_as_it_runs(installation: Installation, limited: Limited, now: Any) -> None:
    """The ladder of today may be another than that by which it was started."""
    limited.declare(installation, fallback={"steps": [{"ctx": HALF}]})
    installation.start()
    pids = installation.wait_ready("coder")
    installation.end(signal.SIGKILL)
    for path in installation.state.glob("state.db*"):
        path.unlink()
    limited.declare(installation, fallback=now)
    installation.start()
    installation.wait_for("it is taken over", lambda: installation.phases().get("coder") == "Ready")
    assert installation.wait_ready("coder") == pids
    assert degraded(installation).startswith(f"Fallback: asked for ctx {ASKED}; running ctx {HALF}; ")
    assert "ContextCapped" not in installation.conditions("coder")


@pytest.mark.parametrize("when", [0, 3, *(pytest.param(when, marks=pytest.mark.long) for when in (1, 2, 4, 5))])
def test_a_controller_killed_on_the_way_down_leaves_one_server_on_one_step(
    installation: Installation, limited: Limited, when: int
) -> None:
    """Each time a little later: on the first try, between two steps, and while one of them starts."""
    limited.limit(135_000)
    limited.declare(installation)
    installation.start()
    installation.wait_for("a start", lambda: len(installation.instances("coder")) > when // 2)
    time.sleep(0.03 * (when % 2))
    installation.end(signal.SIGKILL)
    installation.start()
    pids = installation.wait_ready("coder")
    installation.stays(lambda: installation.pids() == pids, 0.5)
    tried = [row["step"] for row in installation.instances("coder") if row["diagnosis"] != "NotStarted"]
    assert tried == list(range(len(tried)))
    assert degraded(installation)


# ---------------------------------------------------------------- no GPU for anybody


def test_where_no_gpu_may_be_used_who_asks_for_one_is_replaced_and_back_again(installation: Installation) -> None:
    installation.declare("chat", gpuLayers=99)
    installation.declare("small", gpuLayers=0)
    installation.start()
    before = installation.wait_ready("chat", "small")
    assert "none" not in OsProcess(before["chat"]).cmdline()
    installation.end()
    installation.start(RECONCILER_CPU_ONLY="1")
    installation.wait_for("on the CPU", lambda: installation.pids().get("chat") not in (None, before["chat"]))
    on_cpu = installation.wait_ready("chat", "small")
    running = OsProcess(on_cpu["chat"])
    argv, environ = running.cmdline(), running.environ()
    assert argv[argv.index("--device") + 1] == "none"
    assert argv[argv.index("--n-gpu-layers") + 1] == "0"
    assert environ["CUDA_VISIBLE_DEVICES"] == ""
    assert degraded(installation, "chat").startswith(
        "CpuOnly: asked for gpuLayers 99; running on the CPU, for cpu_only"
    )
    assert "✗ chat  Degraded: CpuOnly\n" in installation.cli("wait", "chat", "small")
    assert "✗ chat  Degraded: CpuOnly\n" in installation.cli("ensure", "chat", "--url")
    installation.end(signal.SIGKILL)
    installation.start(RECONCILER_CPU_ONLY="1")
    installation.wait_for("a look", installation.is_controlled)
    installation.reconcile()
    assert installation.wait_ready("chat", "small") == on_cpu
    installation.end()
    installation.start()
    installation.wait_for("as asked", lambda: installation.pids().get("chat") not in (None, on_cpu["chat"]))
    installation.wait_ready("chat", "small")
    rows = installation.instances("chat")
    assert [(row["trigger"], row["stop_reason"]) for row in rows] == [
        ("Created", "CpuOnly"),
        ("CpuOnly", "CpuOnly"),
        ("CpuOnly", None),
    ]
    assert len(installation.instances("small")) == (3 if load_settings({}, os.devnull).limits().has_gpus else 1)
    assert len({row["fingerprint"] for row in installation.instances("chat")}) == 1


# ---------------------------------------------------------------- killed by the kernel

CGROUP = Path("/sys/fs/cgroup/memory")
"""Version 1's; writable for root only."""


@pytest.mark.skipif(not (CGROUP / "memory.limit_in_bytes").exists(), reason="no memory cgroup of version 1 here")
def test_one_that_the_kernel_kills_for_its_memory_runs_with_less(installation: Installation, limited: Limited) -> None:
    group = CGROUP / f"reconciler-test-{installation.ports.start}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made: {error}")
    try:
        (group / "memory.limit_in_bytes").write_text(str(LIMIT * 1024 // 2))
        script = Path(limited.binary)
        joined = f"echo $$ > {group}/cgroup.procs || exit 9\nexec"
        script.write_text(script.read_text().replace("exec", joined))
        limited.limit(None)
        limited.declare(installation)
        installation.start()
        installation.wait_ready("coder")
        assert starts(installation)[0] == ("Created", "", "OomKilled")
        assert degraded(installation).startswith("OomKilled: ")
        assert context(installation) < ASKED
    finally:
        installation.close()
        installation.controller = None
        deadline = time.monotonic() + 5
        while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        group.rmdir()
