"""A safer setting in place of what was asked for: when it is tried, how it is told, and how the way back goes."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.history import Tried
from reconciler.core.model import Exit, GateFacts, HealthState, Identity, Limits, Phase
from tests.core.states import SHUT, ready
from tests.core.worlds import Simulated, World, fingerprint_of, health_of

OOM = "GpuOutOfMemory"
GIB = "cudaMalloc failed: out of memory"


def server(**fields: Any) -> World:
    """One that starts as asked for, with a ladder of four steps of less ctx, and five with the GPUs hidden."""
    world = World()
    world.declare("a", **{"ctx": 32768, "gpuLayers": 0, "port": 8001, **fields})
    world.settle()
    return world


def dies(world: World, cause: str = OOM, evidence: str = GIB) -> None:
    process = world.process("a")
    process.evidence = evidence
    process.end(Exit(code=1), cause)
    world.settle()


def on_step(count: int = 1, **fields: Any) -> World:
    """One that became Ready on a step."""
    world = server(**fields)
    for _ in range(count):
        dies(world)
    world.advance(1.0)
    ready(world)
    return world


def begun(world: World) -> list[tuple[str, int]]:
    return [(str(start.trigger), start.step.number) for start in world.starts]


def degraded(world: World) -> tuple[bool, str, str]:
    found = next(one for one in world.status("a").conditions if one.type == "Degraded")
    return found.status, found.reason, found.message


# ---------------------------------------------------------------- down


def test_the_next_step_starts_at_once_and_counts_as_no_restart() -> None:
    world = server()
    dies(world)
    dies(world)
    assert begun(world) == [("Created", 0), ("Fallback", 1), ("Fallback", 2)]
    assert [start.delay for start in world.starts] == [0.0] * 3
    assert world.starts[-1].step.changes == {"ctx": 8192}
    assert (world.records["a"].n, world.records["a"].restarts) == (0, 0)
    assert world.now.monotonic == 1000.0
    [event, _] = world.told("Fallback")
    assert event == f"exit code 1: {OOM}: {GIB}; it is tried with ctx 16384"


def test_what_was_tried_is_remembered_with_its_results() -> None:
    world = on_step(2)
    assert world.records["a"].tried == (
        Tried(0, "gpuLayers 0, ctx 32768", OOM, GIB),
        Tried(1, "ctx 16384", OOM, GIB),
        Tried(2, "ctx 8192", "", "", 1.0),
    )
    record = world.records["a"]
    assert (record.step, record.ready_step, record.last_cause) == (2, 2, OOM)


def test_one_on_a_step_is_ready_and_degraded() -> None:
    world = server()
    dies(world)
    told = f"asked for ctx 32768; trying ctx 16384, for {OOM}; go back with: reconciler restart a --primary"
    assert degraded(world) == (True, OOM, told)
    ready(world)
    assert world.phase("a") is Phase.READY
    assert degraded(world) == (True, OOM, told.replace("trying", "running"))
    assert world.status("a").message == degraded(world)[2]
    assert world.reason("a", "Reconciled") == "AsDeclared"
    assert world.told("Degraded") == [degraded(world)[2]]


def test_the_row_says_what_runs_and_its_fingerprint_is_that_of_what_was_asked_for() -> None:
    world = on_step()
    instance = world.instances["a"]
    assert (instance.step, instance.step_told, instance.changes) == (1, "ctx 16384", {"ctx": 16384})
    assert instance.fingerprint == fingerprint_of(world.documents["a"].spec)
    assert instance.spec["ctx"] == 32768
    world.advance(1e6)
    assert not world.settle().actions
    assert len(world.starts) == 2


@pytest.mark.parametrize(
    "fields",
    [{"fallback": "off"}, {"restart": {"policy": "Never"}}, {"fallback": {"steps": [{"ctx": 512, "on": ["Hung"]}]}}],
)
def test_no_step_is_tried_where_none_is_wanted(fields: dict[str, Any]) -> None:
    world = server(**fields)
    dies(world)
    assert world.phase("a") is (Phase.FAILED if "restart" in fields else Phase.BACKOFF)
    assert not world.told("Fallback")


def test_the_settings_speak_for_specs_that_say_nothing() -> None:
    world = World(limits=Limits(fallback="off"))
    world.declare("a", ctx=32768)
    world.declare("b", ctx=32768, fallback="auto")
    world.settle()
    for name in ("a", "b"):
        world.process(name).end(Exit(code=1), OOM)
    world.settle()
    assert (world.phase("a"), world.phase("b")) == (Phase.BACKOFF, Phase.STARTING)


def test_a_ladder_at_its_end_counts_one_restart_and_begins_anew() -> None:
    world = server(restart={"maxRestarts": 1})
    for _ in range(6):
        dies(world)
    assert world.phase("a") is Phase.BACKOFF
    assert world.records["a"].n == 1
    assert [one.step for one in world.records["a"].tried] == [0, 1, 2, 3, 4, 9]
    world.advance(0.5)
    world.settle()
    assert begun(world)[-1] == ("Crashed", 0)
    for _ in range(6):
        dies(world)
    assert world.phase("a") is Phase.FAILED
    assert len(world.starts) == 12
    assert [one.step for one in world.records["a"].tried] == [0, 1, 2, 3, 4, 9]


def test_a_step_that_crashes_otherwise_is_started_again_until_the_restarts_are_used_up() -> None:
    world = on_step(restart={"maxRestarts": 2})
    for n in (1, 2):
        dies(world, "Crashed")
        assert (world.phase("a"), world.records["a"].n) == (Phase.BACKOFF, n)
        world.advance(10.0)
        world.settle()
        ready(world)
    dies(world, "Crashed")
    assert world.phase("a") is Phase.FAILED
    assert begun(world)[2:] == [("Crashed", 1), ("Crashed", 1)]


def test_after_the_last_step_the_last_ready_one_is_tried_and_none_twice() -> None:
    world = on_step(fallback={"steps": [{"ctx": 512}, {"ctx": 256}]})
    dies(world)
    assert begun(world)[-1] == ("Fallback", 2)
    dies(world)
    world.advance(0.5)
    world.settle()
    assert begun(world)[-1] == ("Crashed", 1)
    dies(world)
    assert (world.phase("a"), world.records["a"].n) == (Phase.BACKOFF, 2)


def test_a_stable_one_that_falls_forgets_earlier_restarts() -> None:
    world = server()
    dies(world, "Crashed")
    world.advance(0.5)
    world.settle()
    ready(world)
    world.advance(60.0)
    dies(world)
    assert (world.records["a"].n, begun(world)[-1]) == (0, ("Fallback", 1))


def test_a_step_with_a_fault_of_its_own_gives_way_to_the_next() -> None:
    world = server(fallback={"steps": [{"model": "gone.gguf"}, {"flags": {"x": 1}}, {"ctx": 256}]})
    dies(world)
    dies(world, "ModelMissing")
    dies(world, "InvalidFlag")
    assert begun(world)[1:] == [("Fallback", 1), ("Fallback", 2), ("Fallback", 3)]
    dies(world, "InvalidFlag")
    assert (world.phase("a"), world.records["a"].last_cause) == (Phase.BACKOFF, OOM)


def test_a_step_whose_model_is_missing_does_not_keep_the_server_waiting_for_it() -> None:
    world = server(fallback={"steps": [{"model": "gone.gguf"}]})
    dies(world)
    dies(world, "ModelMissing")
    assert (world.phase("a"), world.records["a"].n) == (Phase.BACKOFF, 1)
    world.advance(0.5)
    world.settle()
    assert begun(world)[-1] == ("Crashed", 0)


def test_a_hung_one_falls_back_where_a_step_answers_that() -> None:
    world = server(fallback={"steps": [{"ctx": 256, "on": ["Hung"]}]})
    ready(world)
    world.process("a").health = health_of(HealthState.FAILING, failures=6, message="no answer")
    world.settle()
    assert begun(world)[-1] == ("Fallback", 1)
    assert world.ended[-1].diagnosis == "Hung"


def test_with_a_look_at_the_model_the_ladder_knows_its_layers_and_context() -> None:
    world = World(gates={"a": GateFacts(identity="x", trained=4096, layers=32)})
    world.declare("a")
    world.settle()
    dies(world)
    dies(world)
    assert [start.step.told for start in world.starts[1:]] == ["ctx 2048", "ctx 2048, gpuLayers 16"]


# ---------------------------------------------------------------- back


def test_another_ctx_is_tried_as_asked_for_and_labels_restart_nothing() -> None:
    world = on_step()
    world.declare("a", ctx=32768, gpuLayers=0, port=8001, labels={"team": "x"})
    assert not [action for action in world.settle().actions if "Start" in type(action).__name__]
    assert len(world.starts) == 2
    world.declare("a", ctx=16000, gpuLayers=0, port=8001)
    world.settle()
    assert begun(world)[-1] == ("SpecChanged", 0)
    assert (world.records["a"].tried, world.records["a"].ready_step) == ((), 0)


def test_one_that_backs_off_on_a_step_is_tried_as_declared_now() -> None:
    world = on_step()
    dies(world, "Crashed")
    world.declare("a", ctx=16000, gpuLayers=0, port=8001)
    world.settle()
    assert (begun(world)[-1], world.records["a"].tried) == (("SpecChanged", 0), ())


def test_a_generation_that_changes_no_launch_is_a_way_back_too() -> None:
    world = on_step()
    world.declare("a", ctx=32768, gpuLayers=0, port=8001, fallback="off")
    world.settle()
    assert begun(world)[-1] == ("SpecChanged", 0)
    world = server(port=8001)
    ready(world)
    world.declare("a", ctx=32768, gpuLayers=0, port=8001, fallback="off")
    world.settle()
    assert len(world.starts) == 1


@pytest.mark.parametrize(
    ("kind", "expected"), [("restart", ("Requested", 1)), ("primary", ("Requested", 0))], ids=["same step", "as asked"]
)
def test_a_restart_keeps_the_step_unless_it_is_asked_for_as_asked(kind: str, expected: tuple[str, int]) -> None:
    world = on_step()
    world.ask(kind, "a")
    world.settle()
    assert begun(world)[-1] == expected
    assert not world.requests[kind]
    assert bool(world.records["a"].tried) == (kind == "restart")


@pytest.mark.parametrize("kind", ["restart", "primary"])
def test_of_a_failed_one_a_restart_begins_as_asked_for(kind: str) -> None:
    world = on_step(restart={"maxRestarts": 0})
    dies(world, "Crashed")
    assert world.phase("a") is Phase.FAILED
    world.ask(kind, "a")
    world.settle()
    assert begun(world)[-1] == ("Requested", 0)
    assert not world.requests[kind]


def test_one_that_backs_off_on_a_step_is_restarted_as_asked_for() -> None:
    world = on_step()
    dies(world, "Crashed")
    world.ask("primary", "a")
    world.settle()
    assert (begun(world)[-1], world.records["a"].n) == (("Requested", 0), 0)


def test_as_asked_for_restarts_what_runs_as_asked_for_too() -> None:
    world = server()
    ready(world)
    world.ask("primary", "a")
    world.settle()
    assert begun(world)[-1] == ("Requested", 0)


def test_it_stays_on_its_step_while_what_was_asked_for_could_not_start() -> None:
    world = on_step()
    world.gates["a"] = GateFacts("ModelMissing", "no file")
    world.ask("primary", "a")
    world.settle()
    assert world.reason("a", "Reconciled") == "GateShut"
    assert len(world.alive("a")) == 1
    world.gates.clear()
    world.settle()
    assert begun(world)[-1] == ("Requested", 0)


def test_another_boot_and_a_stop_begin_as_asked_for() -> None:
    world = on_step()
    world.reboot("boot-2")
    world.settle()
    assert (begun(world)[-1], world.records["a"].tried) == (("Rebooted", 0), ())
    world = on_step()
    world.ask("stop", "a")
    world.settle()
    world.requests["stop"].clear()
    world.settle()
    assert begun(world)[-1] == ("Resumed", 0)


def test_one_that_backs_off_begins_as_asked_for_after_another_boot() -> None:
    world = on_step()
    dies(world, "Crashed")
    world.reboot("boot-2")
    world.settle()
    assert begun(world)[-1] == ("Crashed", 0)


def test_a_failed_one_with_other_files_begins_as_asked_for() -> None:
    world = on_step(restart={"maxRestarts": 0})
    dies(world, "Crashed")
    world.gates["a"] = GateFacts(identity="other")
    world.settle()
    assert begun(world)[-1] == ("Retried", 0)


# ---------------------------------------------------------------- adoption, and the CPU alone


def test_an_orphan_on_a_step_stays_on_it() -> None:
    world = on_step(2)
    process = world.process("a")
    world.instances.clear()
    world.records.clear()
    world.new_controller()
    process.health = replace(process.health, verified=True)
    world.settle()
    instance = world.instances["a"]
    assert (instance.step, instance.step_told, instance.changes) == (2, "ctx 8192", {"ctx": 8192})
    world.let_happen()
    process.health = health_of()
    world.settle()
    assert (len(world.starts), world.records["a"].ready_step) == (3, 2)
    assert degraded(world)[:2] == (True, "Fallback")


def cpu_only(world: World, on: bool) -> None:
    world.limits = replace(world.limits, cpu_only=on)
    world.settle()


def test_the_cpu_alone_is_forced_on_all_and_given_up_again() -> None:
    world = server(gpuLayers=99)
    ready(world)
    cpu_only(world, on=True)
    ready(world)
    cpu_only(world, on=True)
    assert [start.step.hides_gpus for start in world.starts] == [False, True]
    why = "asked for gpuLayers 99; running on the CPU, for cpu_only is set (in the settings, or RECONCILER_CPU_ONLY)"
    assert degraded(world) == (True, "CpuOnly", why)
    assert (world.status("a").message, world.told("Degraded")) == (why, [why])
    cpu_only(world, on=False)
    assert [start.step.hides_gpus for start in world.starts] == [False, True, False]
    assert begun(world)[1:] == [("CpuOnly", 0)] * 2
    assert [one.stop_reason for one in world.ended] == ["CpuOnly"] * 2
    ready(world)
    assert degraded(world) == (False, "AsAsked", "")


def test_a_step_on_the_cpu_alone_says_so() -> None:
    world = World(limits=Limits(cpu_only=True))
    world.declare("a", ctx=32768, gpuLayers=99, port=8001)
    world.settle()
    dies(world, "HostOutOfMemory")
    world.advance(1.0)
    ready(world)
    assert "running ctx 16384 on the CPU (cpu_only is set), for HostOutOfMemory" in degraded(world)[2]


@pytest.mark.parametrize(
    ("layers", "has_gpus", "starts"), [(0, False, 1), (0, True, 3), (99, False, 3), (None, False, 3), (None, True, 3)]
)
def test_who_wants_no_gpu_is_left_alone_where_there_is_none(layers: int | None, has_gpus: bool, starts: int) -> None:
    world = World(limits=Limits(has_gpus=has_gpus))
    world.declare("a", port=8001, **({} if layers is None else {"gpuLayers": layers}))
    world.settle()
    ready(world)
    for on in (True, False):
        cpu_only(world, on=on)
        ready(world)
        assert degraded(world)[0] is (on and layers == 99)
    assert len(world.starts) == starts


def test_one_that_is_kept_although_the_gpus_are_back_says_so() -> None:
    world = server(gpuLayers=99)
    cpu_only(world, on=True)
    ready(world)
    world.gates["a"] = SHUT
    cpu_only(world, on=False)
    assert world.reason("a", "Reconciled") == "GateShut"
    assert "cpu_only was set (in the settings, or RECONCILER_CPU_ONLY) when it was started" in degraded(world)[2]


def test_who_hides_the_gpus_by_a_step_is_not_replaced_for_it() -> None:
    world = server()
    dies(world, "GpuUnavailable")
    ready(world)
    assert world.instances["a"].hides_gpus
    cpu_only(world, on=True)
    cpu_only(world, on=False)
    assert begun(world) == [("Created", 0), ("Fallback", 5)]


def test_an_orphan_that_hides_the_gpus_is_kept_where_all_must() -> None:
    world = World(limits=Limits(cpu_only=True))
    world.declare("a", port=8001)
    fingerprint = fingerprint_of(world.files["a"].spec)
    identity = Identity(world.now.boot, 7, 7)
    world.processes.append(Simulated("old", "a", identity, fingerprint, 8001, hides_gpus=True, health=health_of()))
    world.settle()
    assert (world.phase("a"), world.starts) == (Phase.READY, [])
