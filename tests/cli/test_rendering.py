"""What is told of a server that is not well: one rendering for describe, the verbs that wait, and programs."""

import json
import sys
from typing import Any

import pytest

from reconciler.core.history import Tried, Trigger
from reconciler.core.model import Exit, Phase
from reconciler.core.rendering import Facts, explanation
from reconciler.core.trouble import OnGpu
from reconciler.store import past, read
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import Filling, stamp, status
from tests.cli.pasted import parse
from tests.runtimes.test_gpu import GIB, Driver

EVIDENCE = "cudaMalloc failed: out of memory, allocating 5.2 GiB for the KV cache (ctx 32768 × 4 slots)"  # noqa: RUF001
FULL = f"""\
✗ coder  Degraded: GpuOutOfMemory
  What happened   {EVIDENCE}
  What I tried    1. gpuLayers 99, ctx 32768 → GpuOutOfMemory   2. ctx 16384 → GpuOutOfMemory   3. CPU only → Ready in \
41 s (running now)
  What you can do reconciler set server/coder spec.ctx=8192     or keep what runs: reconciler set server/coder \
spec.ctx=16384 spec.gpuLayers=0 spec.flags.device=none 'spec.env.CUDA_VISIBLE_DEVICES=""'     or stop what else uses \
the GPU; see it: nvidia-smi     or try again what was asked for, once there is room: reconciler restart coder --primary
"""


KEEP = """\
keep what runs: reconciler set server/coder spec.gpuLayers=0 spec.flags.device=none 'spec.env.CUDA_VISIBLE_DEVICES=""'\
"""


def told_by(out: str) -> str:
    return out[out.index("✗") :] if "✗" in out else ""


def test_one_on_a_fallback_step(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.degraded("coder")
    assert told_by(call("describe", "server", "coder").out) == FULL


def test_it_is_the_same_for_programs(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.degraded("coder")
    filling.ready("chat")
    (described,) = [json.loads(call("describe", "server", "coder", "-o", "json").out)]
    listed = {one["metadata"]["name"]: one for one in json.loads(call("get", "servers", "-o", "json").out)["items"]}
    found = listed["coder"]["status"]["explanation"]
    assert found == described["status"]["explanation"]
    assert listed["chat"]["status"]["explanation"] is None
    assert found["headline"] == FULL.splitlines()[0]
    assert found["tried"] == [
        "1. gpuLayers 99, ctx 32768 → GpuOutOfMemory",
        "2. ctx 16384 → GpuOutOfMemory",
        "3. CPU only → Ready in 41 s (running now)",
    ]
    assert (found["state"], found["reason"], found["happened"]) == ("Degraded", "GpuOutOfMemory", EVIDENCE)
    assert found["canDo"][0] == "reconciler set server/coder spec.ctx=8192"
    parse(found["canDo"][0].split()[1:])


def test_nothing_of_it_is_imported_for_a_server_that_is_well(
    filling: Filling, controller: FakeController, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    filling.ready("chat")
    for module in ("rendering", "ways_out", "trouble"):
        monkeypatch.setitem(sys.modules, f"reconciler.core.{module}", None)
    assert call("describe", "server", "chat").code == 0
    assert call("get", "servers", "-o", "json").code == 0


def test_servers_are_chosen_by_it(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.degraded("coder")
    filling.ready("chat")
    for output in ((), ("-o", "json")):
        chosen = call("get", "servers", "--field-selector", "explanation.reason=GpuOutOfMemory", *output)
        assert (chosen.code, "coder" in chosen.out, "chat" in chosen.out) == (0, True, False)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_it_fits_the_terminal(
    filling: Filling, controller: FakeController, call: Call, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    filling.degraded("coder")
    monkeypatch.setattr("reconciler.cli.explanations.width", lambda: columns)
    lines = told_by(call("describe", "server", "coder").out).splitlines()
    assert [line for line in lines if len(line) > columns] == []
    assert "2. ctx 16384 → GpuOutOfMemory" in " ".join(" ".join(lines).split())


def test_who_has_the_gpus_memory_is_named(
    filling: Filling, controller: FakeController, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = filling.degraded("coder")
    assert running.identity is not None
    driver = Driver({"compute": {1: int(9.8 * GIB), running.identity.pid: GIB, 2**30: GIB}})
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    told = told_by(call("describe", "server", "coder").out)
    assert "     or free the GPU: pid 1 " in told
    assert " holds 9.8 GiB     or " in told
    assert f"pid {running.identity.pid} " not in told, "it is itself"
    assert str(2**30) not in told, "no such process"
    assert driver.begun == 0


# ---------------------------------------------------------------- each way to stand


def looked(filling: Filling, name: str = "coder", **facts: Any) -> Any:
    with read.opened(filling.state) as db:
        (item,) = read.servers(db, [name], now=stamp(100).wall, controller=facts.get("controller", True))
        return explanation(item, past.restarts(db, [name]), Facts(**facts))


def test_a_server_of_this_installation_on_the_gpu_is_stopped_by_its_name(filling: Filling) -> None:
    filling.degraded("coder")
    holders = [OnGpu(7, "llama-server", 3 * GIB, "chat"), OnGpu(8, "llama-server", 9 * GIB, "coder")]
    ways = looked(filling, on_gpu=holders).can_do
    assert "free the GPU: reconciler stop chat   (it holds 3.0 GiB)" in ways
    assert not [way for way in ways if "stop coder" in way]


@pytest.mark.parametrize(
    ("changes", "spec", "told", "first"),
    [
        ({"ctx": 16384}, {"ctx": 32768}, "ctx 16384", "reconciler set server/coder spec.ctx=16384"),
        ({"ctx": 2048, "gpuLayers": 0}, {"ctx": 2048}, "CPU only", "reconciler set server/coder spec.ctx=1024"),
        ({"gpuLayers": 0}, {"ctx": 400}, "CPU only", KEEP),
        ({"ctx": 8192}, {"ctx": None}, "ctx 8192", "reconciler set server/coder spec.ctx=8192"),
    ],
)
def test_the_context_that_is_told_is_one_that_may_do(
    filling: Filling, changes: dict[str, Any], spec: dict[str, Any], told: str, first: str
) -> None:
    running = filling.degraded("coder", **spec)
    tried = (Tried(0, "as asked", "GpuOutOfMemory", EVIDENCE), Tried(1, told, "", ready_after=0.25))
    filling.save(running, step=1, step_told=told, changes=changes)
    filling.remember("coder", tried=tried, step=1)
    found = looked(filling)
    assert found.can_do[0] == first
    assert found.tried[-1] == f"2. {told} → Ready in 0.25 s (running now)"


def test_what_comes_from_git_is_changed_there(filling: Filling) -> None:
    filling.degraded("coder", file="git:a.yaml", origin="git")
    ways = looked(filling).can_do
    assert ways[0] == "write ctx: 8192 at git:a.yaml:1, commit and push"
    assert not [way for way in ways if "reconciler set" in way or "reconciler edit" in way]


def test_all_steps_were_tried_in_vain(filling: Filling) -> None:
    filling.document("coder", ctx=4096)
    filling.end(
        filling.instance("coder", step=1),
        exit=Exit(code=1),
        diagnosis="HostOutOfMemory",
        evidence="bad_alloc; more of it",
        log_tail="bye",
    )
    tried = (Tried(0, "ctx 4096", "HostOutOfMemory", "bad_alloc"), Tried(1, "ctx 2048", "HostOutOfMemory", "bad_alloc"))
    shown = status(Phase.FAILED, "gave up", "RestartsExhausted")
    filling.record("coder", shown, n=4, tried=tried, failed=stamp(30), last_cause="HostOutOfMemory")
    found = looked(filling)
    assert found.headline == "✗ coder  Failed: HostOutOfMemory"
    assert found.happened == "it ended after 5s (exit 1): bad_alloc"
    assert found.tried == ("1. ctx 4096 → HostOutOfMemory", "2. ctx 2048 → HostOutOfMemory")
    assert found.can_do[0] == "reconciler set server/coder spec.ctx=1024"
    assert found.can_do[-1] == "try again as it is: reconciler restart coder"


def test_while_a_step_starts_it_is_told_too(filling: Filling) -> None:
    filling.document("coder", ctx=8192)
    filling.end(filling.instance("coder"), exit=Exit(code=1), diagnosis="ContextTooLarge", evidence="no room")
    filling.instance("coder", step=1, step_told="ctx 4096", trigger=Trigger.FALLBACK)
    tried = (Tried(0, "ctx 8192", "ContextTooLarge", "no room"), Tried(1, "ctx 4096", ""))
    filling.record("coder", status(Phase.STARTING), tried=tried, step=1, last_cause="ContextTooLarge")
    found = looked(filling)
    assert (found.headline, found.happened) == ("✗ coder  Starting: ContextTooLarge", "no room")
    assert found.tried[-1] == "2. ctx 4096 → starting now"


@pytest.mark.parametrize(
    ("diagnosis", "tried", "ways"),
    [
        ("InvalidFlag", "nothing more: another try would end in the same way", ["reconciler edit coder"]),
        ("ModelBroken", "nothing more: another try would end in the same way", ["download the model again"]),
        ("Novel", "nothing more: restart.policy and restart.maxRestarts allow no restart", ["reconciler logs coder"]),
    ],
)
def test_a_cause_that_no_retry_mends(filling: Filling, diagnosis: str, tried: str, ways: list[str]) -> None:
    filling.document("coder")
    filling.end(filling.instance("coder"), exit=Exit(code=1), diagnosis=diagnosis, evidence="that line", log_tail="x")
    filling.record("coder", status(Phase.FAILED, "gave up", diagnosis), n=1, failed=stamp(5))
    found = looked(filling)
    assert found.headline == f"✗ coder  Failed: {diagnosis}"
    assert found.tried == (tried,)
    for way in ways:
        assert way in " ".join(found.can_do)


@pytest.mark.parametrize(
    ("phase", "reason", "reconciled", "headline"),
    [
        (Phase.BLOCKED, "PortInUse", "PortInUse", "✗ coder  Blocked: PortInUse"),
        (Phase.BLOCKED, "NoController", "PortInUse", "✗ coder  Blocked: PortInUse"),
        (Phase.UNHEALTHY, "LivenessFailed", "", "✗ coder  Unhealthy: LivenessFailed"),
        (Phase.READY, "Ready", "GateShut", "✗ coder  Ready, not as declared: GateShut"),
        (Phase.READY, "Ready", "", ""),
        (Phase.STARTING, "Loading", "", ""),
        (Phase.STOPPED, "StopRequested", "StopRequested", ""),
        (Phase.PENDING, "WaitingForTurn", "WaitingForTurn", ""),
    ],
)
def test_how_it_stands(filling: Filling, phase: Phase, reason: str, reconciled: str, headline: str) -> None:
    filling.document("coder")
    filling.record("coder", status(phase, "why it is so", reason, reconciled=reconciled))
    if phase is Phase.READY and reconciled:
        filling.condition("coder", "Reconciled", reconciled, "why it is so", holds=False)
    found = looked(filling)
    assert (found.headline if found else "") == headline
    if found:
        assert found.happened == "why it is so"
        assert found.can_do


def test_one_that_a_start_has_shown_to_be_blocked(filling: Filling) -> None:
    filling.document("coder", port=8001)
    filling.end(
        filling.instance("coder"), exit=Exit(code=1), diagnosis="PortInUse", evidence="couldn't bind", log_tail="x"
    )
    filling.record("coder", status(Phase.BLOCKED, "couldn't bind", "PortInUse", reconciled="PortInUse"))
    found = looked(filling)
    assert found.headline == "✗ coder  Blocked: PortInUse"
    assert found.tried[0].startswith("a start has shown it; it is tried again when that changes")
    assert "reconciler set server/coder spec.port=auto" in " ".join(found.can_do)


@pytest.mark.parametrize("kind", ["Slow", "ContextCapped"])
def test_a_condition_that_is_only_there_while_it_holds(filling: Filling, kind: str) -> None:
    filling.ready("coder")
    assert looked(filling) is None
    filling.condition("coder", kind, kind, "/health takes 3 s", holds=True)
    found = looked(filling)
    assert (found.headline, found.happened) == (f"✗ coder  Ready: {kind}", "/health takes 3 s")


def test_a_shortfall_without_a_step_is_told(filling: Filling) -> None:
    filling.ready("coder", gpuLayers=99)
    filling.condition("coder", "Degraded", "GpuUnavailable", "asked for 99 layers, 0/29 are on the GPU", holds=True)
    found = looked(filling)
    assert found.headline == "✗ coder  Degraded: GpuUnavailable"
    assert found.happened == "asked for 99 layers, 0/29 are on the GPU"
    assert not found.tried
    assert not [way for way in found.can_do if "--primary" in way]


# ---------------------------------------------------------------- behind verbs that have failed


def test_a_failed_wait_tells_of_each_that_is_not_well(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.failed("chat", "OomKilled")
    filling.ready("coder")
    called = call("wait", "--all", "--timeout", "0s")
    assert called.code == 1
    lines = called.err.splitlines()
    assert lines[0] == "✗ chat  Failed: OomKilled"
    assert [line[:18] for line in lines[1:4]] == ["  What happened   ", "  What I tried    ", "  What you can do "]
    assert lines[4].startswith("error: not Ready")
    assert len(lines) == 6


def test_one_that_came_up_degraded_is_never_passed_over_in_silence(
    filling: Filling, controller: FakeController, call: Call
) -> None:
    filling.degraded("coder")
    controller.on("/requests", lambda _body: (200, {"accepted": ["coder"]}))
    called = call("start", "coder")
    assert called.code == 0
    assert called.err == FULL


def test_many_are_not_all_told_of(filling: Filling, controller: FakeController, call: Call) -> None:
    for number in range(5):
        filling.failed(f"chat{number}", "OomKilled")
    called = call("wait", "--all", "--timeout", "0s")
    assert called.err.count("✗") == 3


def test_a_name_as_long_as_names_may_be_fits_too(
    filling: Filling, controller: FakeController, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a" * 63
    filling.failed(name, "OomKilled")
    monkeypatch.setattr("reconciler.cli.explanations.width", lambda: 80)
    assert told_by(call("describe", "server", name).out).splitlines()[:2] == [f"✗ {name}", "  Failed: OomKilled"]
